"""``featurestore doctor`` looks at all that stands in storage and online: each test damages a real part of a real store."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import redis
from laptop import Laptop

from featurestore.arrivals.ledger import Ledger
from featurestore.online.duckdb.generations import folder_of
from featurestore.registry.project import Project, open_project
from featurestore.resources import DataPipeline, FeatureView
from featurestore.storage import paths
from featurestore.views.builds import read_active_build

START = datetime(2024, 1, 1, tzinfo=UTC)
PIPELINE = {
    "kind": "DataPipeline",
    "metadata": {"name": "p"},
    "spec": {
        "source": {"uri": "raw/*", "format": "CSV"},
        "expectations": [{"name": "small", "that": "v < 100"}],
        "trigger": {"arrivals": {"maxWait": "0s"}},
    },
}
VIEW = {
    "kind": "FeatureView",
    "metadata": {"name": "f"},
    "spec": {
        "entity": {"name": "e", "joinKeys": [{"name": "k", "type": "string"}]},
        "source": {"pipeline": "p"},
        "timestampField": "ts",
        "features": [{"name": "v", "type": "int64"}],
    },
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of two batches, one view with three entities, and two rows in quarantine."""
    laptop = Laptop(tmp_path_factory.mktemp("made") / "store", START)
    laptop.apply(PIPELINE, VIEW)
    for day in (1, 2):
        moment = datetime(2023, 1, day, tzinfo=UTC)
        rows = [{"k": f"{k}", "ts": moment, "v": day, "w": 1.5} for k in "abc"]
        laptop.drop(f"{day}.csv", (*rows, {"k": "z", "ts": moment, "v": 1000, "w": 1.5}))
        laptop.run()
    laptop.ledger("p").checkpoint()
    return laptop.folder


@pytest.fixture
def store(made: Path, tmp_path: Path, featurestore: Any) -> Project:
    """A copy of it, in the folder where commands run."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return open_project(tmp_path, {}, tmp_path)


def only(folder: Path, glob: str) -> Path:
    return sorted(folder.glob(glob))[-1]


def test_a_store_in_which_nothing_is_damaged_is_sound(store: Project, featurestore: Any) -> None:
    said = featurestore("doctor")
    assert said.code == 0, said.out
    for line in (
        "✓ ledger of pipeline p: 2 batches committed, 0 to be run",
        "✓ dataset of pipeline p: 6 rows in 2 files",
        "✓ quarantine of pipeline p: 2 records in 2 files",
        "✓ rows of view f: 6 rows in 2 files",
        "✓ online values of view f: generation 2: 3 entities",
    ):
        assert line in said.out


def _manifest(root: Path) -> None:
    only(root, "ledger/p/manifests/*/*2.json").write_bytes(b"{")


def _checkpoint(root: Path) -> None:
    path = only(root, "ledger/p/checkpoints/*.gz")
    path.write_bytes(path.read_bytes()[:-20])


def _result(root: Path) -> None:
    only(root, "ledger/p/results/*/*2.json").write_bytes(b"{")


def _trial(root: Path) -> None:
    manifest = json.loads(only(root, "ledger/p/manifests/*/*2.json").read_bytes())
    folder = only(root, "ledger/p/manifests/*/*2.json").parent
    (folder / "000000000003.json").write_text(json.dumps({**manifest, "number": 3}))
    trials = root / "ledger/p/trials/000000/000000000003"
    trials.mkdir(parents=True)
    (trials / "000000.json").write_bytes(b"{")


def _spec_of_a_batch(root: Path) -> None:
    manifest = json.loads(only(root, "ledger/p/manifests/*/*2.json").read_bytes())
    folder = only(root, "ledger/p/manifests/*/*2.json").parent
    named = {key: "0123456789abcdef" if "spec" in key.lower() else value for key, value in manifest.items()}
    (folder / "000000000003.json").write_text(json.dumps({**named, "number": 3}))


def _schema(root: Path) -> None:
    only(root, "ledger/p/schemas/*/*.json").write_bytes(b"{")


def _rebuild(root: Path) -> None:
    (root / "ledger/p/rebuilds/000001").mkdir(parents=True)
    (root / "ledger/p/rebuilds/000001/intent.json").write_bytes(b"{")


def _dataset_gone(root: Path) -> None:
    only(root, "datasets/p/*.parquet").unlink()


def _dataset_cut(root: Path) -> None:
    for path in root.glob("datasets/p/*.parquet"):
        path.write_bytes(path.read_bytes()[:-8])


def _quarantine_gone(root: Path) -> None:
    only(root, "quarantine/pipelines/p/*.parquet").unlink()


def _feature_rows_gone(root: Path) -> None:
    only(root, "features/f/*/*.parquet").unlink()


def _generation_cut(root: Path) -> None:
    path = only(root, "online/f/*/*.duckdb")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _generation_gone(root: Path) -> None:
    only(root, "online/f/*/*.duckdb").unlink()


def _generation_old(root: Path) -> None:
    only(root, "online/f/*/*.duckdb").unlink()
    only(root, "online/f/*/*.json").unlink()


def _generation_pointer(root: Path) -> None:
    only(root, "online/f/*/*.json").write_bytes(b"{")


def _status(root: Path) -> None:
    (root / "registry/pipelines/p/status.json").write_bytes(b"{")


@pytest.mark.parametrize(
    ("damage", "told", "what_to_do"),
    [
        (
            _manifest,
            "✗ ledger of pipeline p: the manifest of a batch cannot be read",
            "Restore it from a backup",
        ),
        (_checkpoint, "✗ ledger of pipeline p: the ledger's checkpoint", "Delete it"),
        (_result, "✗ ledger of pipeline p: the result of a batch cannot be read", "Delete "),
        (_trial, "✗ ledger of pipeline p: ", "trial"),
        (
            _spec_of_a_batch,
            "✗ ledger of pipeline p: no DataPipeline 'p' has the digest",
            "Restore it from a backup",
        ),
        (_schema, "✗ ledger of pipeline p: the schema of a pipeline's source cannot be read", "Restore it"),
        (_rebuild, "✗ rebuild of pipeline p: the record of a rebuild cannot be read", "Restore it"),
        (
            _dataset_gone,
            "✗ dataset of pipeline p: data files are missing: ",
            "Restore datasets/p from a backup",
        ),
        (_dataset_cut, "✗ dataset of pipeline p: ", "Restore datasets/p from a backup"),
        (_quarantine_gone, "✗ quarantine of pipeline p: data files are missing", "Restore quarantine/"),
        (_feature_rows_gone, "✗ rows of view f: data files are missing", "`featurestore rebuild view f`"),
        (_generation_cut, "✗ online values of view f: ", "`featurestore run` publishes it again"),
        (_generation_gone, "✗ view f: offline is at version 2, online holds nothing", "`featurestore run`"),
        (_generation_old, "✗ view f: offline is at version 2, online holds version 1", "`featurestore run`"),
        (
            _generation_pointer,
            "✗ view f: offline is at version 2, online holds nothing",
            "`featurestore run`",
        ),
        (_status, "✗ status of pipeline p: the status of a resource cannot be read", "`featurestore run`"),
    ],
    ids=lambda value: value.__name__.strip("_") if callable(value) else "",
)
def test_what_is_damaged_is_told_with_what_to_do(
    store: Project, featurestore: Any, damage: Callable[[Path], None], told: str, what_to_do: str
) -> None:
    damage(store.folder / "root")
    said = featurestore("doctor")
    assert said.code == 1
    lines = said.out.splitlines()
    found = [n for n, line in enumerate(lines) if line.startswith(told)]
    assert found, said.out
    assert what_to_do in "\n".join(lines[found[0] : found[0] + 2])


@pytest.mark.parametrize("damage", [_generation_cut, _generation_gone, _generation_old, _generation_pointer])
def test_a_generation_is_published_again_as_the_hint_says(
    store: Project, featurestore: Any, damage: Callable[[Path], None]
) -> None:
    root = store.folder / "root"
    damage(root)
    if damage is _generation_cut:
        only(root, "online/f/*/*.duckdb").unlink()
    said = featurestore("run", "--once")
    assert said.code == 0, said.out + said.err
    assert featurestore("doctor").code == 0


def test_each_damaged_entry_of_the_registry_is_told_and_the_others_are_looked_at(
    store: Project, featurestore: Any
) -> None:
    other = {**PIPELINE, "metadata": {"name": "other"}}
    store.registry.accept(DataPipeline.model_validate(other))
    store.storage.replace(paths.pointer("pipelines", "other"), b"{")
    accepted = store.registry.current(FeatureView, "f")
    assert accepted is not None
    store.storage.replace(paths.accepted("views", "f", accepted.digest), b"{")
    said = featurestore("doctor")
    assert said.code == 1
    assert "✗ pipeline other: " in said.out
    assert "registry/pipelines/other/current.json" in said.out
    assert "✗ view f: " in said.out
    assert f"registry/views/f/{accepted.digest}.json" in said.out
    assert said.out.count("`featurestore apply -f FILE`") >= 2
    assert "✓ dataset of pipeline p: 6 rows" in said.out
    assert "✓ ledger of pipeline other: 0 batches committed" in said.out


def test_a_redis_that_lost_keys_or_all_of_them_is_told(
    store: Project, featurestore: Any, redis_url: str
) -> None:
    path = store.folder / "store.yaml"
    path.write_text(
        path.read_text().replace("{uri: root}", f"{{uri: root}}, online: {{redis: {{url: '{redis_url}'}}}}")
    )
    assert featurestore("apply", "-f", ".").code == 0
    assert featurestore("run", "--once").code == 0
    assert "✓ online values of view f: 3 entities" in featurestore("doctor").out
    serving = read_active_build(store.storage, "f")
    assert serving is not None
    client = redis.Redis.from_url(redis_url)
    held = f"fs:f:{serving.digest}"
    client.delete(next(iter(client.scan_iter(f"{json.loads(client.get(held))['prefix']}*"))))
    said = featurestore("doctor")
    assert said.code == 1
    assert "holds 2 of 3 entities" in said.out
    assert f"Delete the key {held}" in said.out
    client.delete(held)
    assert featurestore("run", "--once").code == 0
    assert featurestore("doctor").code == 0
    client.flushdb()
    said = featurestore("doctor")
    assert said.code == 1
    assert "✗ view f: offline is at version 2, online holds nothing" in said.out


def test_the_store_that_the_tests_damage_has_what_they_damage(store: Project) -> None:
    assert Ledger(store.storage, "p").last_batch() == 2
    serving = read_active_build(store.storage, "f")
    assert serving is not None
    assert store.storage.names(folder_of("f", serving.digest))
