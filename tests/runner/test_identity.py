"""Moving, copying, pointing elsewhere, deleting and creating again: nothing is doubled, lost or frozen."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from examples import exhaustive
from laptop import Laptop

from featurestore.cli.delete import delete
from featurestore.quarantine.replay import replay
from featurestore.registry.project import open_project
from featurestore.resources import DataPipeline, FeatureView
from featurestore.storage import paths

START = datetime(2024, 3, 30, 9, tzinfo=UTC)
ROWS = ({"k": "a", "ts": START - timedelta(hours=2), "v": 1, "w": 0.5},)
MORE = ({"k": "b", "ts": START - timedelta(hours=1), "v": 2, "w": 1.5},)


def pipeline(name: str = "p", source: str = "raw/*.parquet", **spec: Any) -> dict[str, Any]:
    wanted = {"source": {"uri": source, "format": "Parquet", **spec}}
    return {"kind": "DataPipeline", "metadata": {"name": name}, "spec": wanted}


def view(source: str = "p", name: str = "view") -> dict[str, Any]:
    return {
        "kind": "FeatureView",
        "metadata": {"name": name},
        "spec": {
            "entity": {"name": "e", "joinKeys": [{"name": "k", "type": "string"}]},
            "source": {"pipeline": source},
            "timestampField": "ts",
            "online": {"sampleEntities": 0},
            "features": [{"name": "v", "type": "int64", "column": "v"}],
        },
    }


@pytest.fixture
def laptop(tmp_path: Path) -> Laptop:
    laptop = Laptop(tmp_path / "project", START)
    laptop.drop("a.parquet", ROWS)
    return laptop


def again(laptop: Laptop, folder: Path) -> Laptop:
    """The same project, found in another folder."""
    found = object.__new__(Laptop)
    found.__dict__.update(laptop.__dict__)
    found.folder = folder
    found.project = open_project(folder, {}, folder)
    found.storage = found.project.storage
    return found


def rows(laptop: Laptop, name: str = "p") -> list[int]:
    return sorted(row["v"] for row in laptop.table(paths.dataset(name)))


def value(laptop: Laptop, key: str = "a") -> Any:
    store = laptop.store(laptop.now)
    return store.get_features(["view:v"], entities={"k": [key]}).to_dict()["v"][0]


@pytest.mark.parametrize("on_overwrite", ["Reject", "Append", "Replace"])
def test_a_project_that_is_moved_keeps_its_files_and_takes_only_new_ones(
    laptop: Laptop, tmp_path: Path, on_overwrite: str
) -> None:
    laptop.apply(pipeline(onOverwrite=on_overwrite), view())
    laptop.run()
    moved = again(laptop, laptop.folder.rename(tmp_path / "moved"))
    moved.run()
    assert rows(moved) == [1]
    moved.drop("b.parquet", MORE)
    moved.run()
    assert rows(moved) == [1, 2]
    assert value(moved, "b") == 2


def test_a_copied_project_keeps_its_files(laptop: Laptop, tmp_path: Path) -> None:
    laptop.apply(pipeline(onOverwrite="Append"), view())
    laptop.run()
    copied = again(laptop, Path(shutil.copytree(laptop.folder, tmp_path / "copied")))
    copied.run()
    assert rows(copied) == [1]
    assert value(copied) == 1


POLICIES = ["Reject", "Append", "Replace"]


def touch(laptop: Laptop, name: str) -> None:
    """Another time, the same bytes."""
    path = laptop.folder / "raw" / name
    modified_ns = path.stat().st_mtime_ns + 1_000_000
    os.utime(path, ns=(modified_ns, modified_ns))


def versions(laptop: Laptop) -> list[str]:
    """What each batch did with what."""
    ledger = laptop.ledger("p")
    manifests = (ledger.manifest(n + 1) for n in range(ledger.last_batch()))
    return [f"{entry.action} {entry.arrival.uri}" for manifest in manifests for entry in manifest.entries]


@pytest.mark.parametrize("on_overwrite", POLICIES)
def test_a_copy_whose_files_have_new_times_keeps_them_and_takes_only_new_and_changed_ones(
    laptop: Laptop, tmp_path: Path, on_overwrite: str
) -> None:
    laptop.drop("b.parquet", MORE)
    laptop.apply(pipeline(onOverwrite=on_overwrite), view())
    laptop.run()
    folder = shutil.copytree(laptop.folder, tmp_path / "copied", copy_function=shutil.copyfile)
    copied = again(laptop, Path(folder))
    for name in ("a.parquet", "b.parquet"):
        touch(copied, name)
    copied.run()
    assert len(versions(copied)) == 2
    copied.drop("c.parquet", ({**ROWS[0], "v": 3},))
    copied.drop("b.parquet", ({**MORE[0], "v": 4},))
    copied.run()
    assert rows(copied) == {"Reject": [1, 2, 3], "Append": [1, 2, 3, 4], "Replace": [1, 3, 4]}[on_overwrite]
    assert versions(copied)[2:] == ["Take raw/c.parquet", f"{TAKEN[on_overwrite]} raw/b.parquet"]
    assert rows(laptop) == [1, 2]


TAKEN = {"Reject": "Reject", "Append": "Take", "Replace": "Replace"}


@pytest.mark.parametrize("on_overwrite", POLICIES)
def test_a_file_of_the_same_size_with_other_content_is_overwritten(laptop: Laptop, on_overwrite: str) -> None:
    laptop.apply(pipeline(source="raw/*.csv", format="CSV", onOverwrite=on_overwrite))
    laptop.remove("a.parquet")
    sizes = set()
    for number in range(1, 4):
        laptop.drop("a.csv", ({**ROWS[0], "v": number},))
        touch(laptop, "a.csv")
        sizes.add((laptop.folder / "raw" / "a.csv").stat().st_size)
        laptop.run()
        touch(laptop, "a.csv")
        laptop.run()
    assert len(sizes) == 1
    assert versions(laptop) == ["Take raw/a.csv", *2 * [f"{TAKEN[on_overwrite]} raw/a.csv"]]
    assert rows(laptop) == {"Reject": [1], "Append": [1, 2, 3], "Replace": [3]}[on_overwrite]


def test_content_that_was_replaced_and_comes_back_with_a_new_time_replaces(laptop: Laptop) -> None:
    laptop.apply(pipeline(onOverwrite="Replace"))
    for number in (1, 2, 1):
        laptop.drop("a.parquet", ({**ROWS[0], "v": number},))
        laptop.run()
        assert rows(laptop) == [number]


def test_content_that_was_taken_and_is_put_back_over_a_refused_one_needs_nothing(laptop: Laptop) -> None:
    laptop.apply(pipeline(onOverwrite="Reject"))
    for number in (1, 2, 1):
        laptop.drop("a.parquet", ({**ROWS[0], "v": number},))
        laptop.run()
    assert versions(laptop) == ["Take raw/a.parquet", "Reject raw/a.parquet"]


@pytest.mark.parametrize("on_overwrite", POLICIES)
@pytest.mark.parametrize("step", ["after-manifest", "after-dataset-commit", "after-result"])
def test_a_file_touched_while_its_batch_is_under_way_is_taken_once(
    laptop: Laptop, on_overwrite: str, step: str
) -> None:
    laptop.apply(pipeline(onOverwrite=on_overwrite))
    with laptop.killed_at(step):
        laptop.run()
    touch(laptop, "a.parquet")
    laptop.run()
    assert rows(laptop) == [1]
    assert versions(laptop) == ["Take raw/a.parquet"]


def test_what_waits_in_quarantine_is_run_again_though_its_file_was_copied(laptop: Laptop) -> None:
    rule = {"name": "small", "that": "v < 1"}
    spec = pipeline()
    spec["spec"]["expectations"] = [rule]
    laptop.apply(spec)
    laptop.run()
    assert rows(laptop) == []
    touch(laptop, "a.parquet")
    laptop.apply(pipeline())
    replay(laptop.storage, "p", now_us=laptop.clock(), base=str(laptop.folder))
    laptop.run()
    assert rows(laptop) == [1]
    touch(laptop, "a.parquet")
    laptop.run()
    assert versions(laptop) == ["Take raw/a.parquet", "Replay raw/a.parquet"]


def test_the_files_of_a_source_beside_the_project_are_known_by_their_way_there(
    laptop: Laptop, tmp_path: Path
) -> None:
    laptop.apply(pipeline(source="../shared/*.parquet"))
    (laptop.folder / "raw").rename(tmp_path / "shared")
    laptop.run()
    assert rows(laptop) == [1]
    assert laptop.ledger("p").manifest(1).entries[0].arrival.uri == "../shared/a.parquet"


def test_a_view_pointed_at_another_pipeline_goes_live_whatever_the_commits_of_both(laptop: Laptop) -> None:
    laptop.apply(pipeline(), pipeline("q", "other/*.parquet"), view())
    laptop.run()
    for number in range(2, 5):
        laptop.drop(f"{number}.parquet", ({**ROWS[0], "v": number},))
        laptop.run()
    (laptop.folder / "other").mkdir()
    shutil.copy2(laptop.folder / "raw" / "4.parquet", laptop.folder / "other" / "x.parquet")
    laptop.apply(view("q"))
    laptop.run()
    assert laptop.project.registry.all(FeatureView)["view"].resource.spec.source.pipeline == "q"
    assert value(laptop) == 4
    laptop.drop("9.parquet", ({**ROWS[0], "v": 9},))
    laptop.run()
    assert value(laptop) == 4


def test_a_pipeline_deleted_with_its_data_and_created_again_takes_its_files_anew(laptop: Laptop) -> None:
    laptop.apply(pipeline(), view())
    laptop.run()
    laptop.drop("b.parquet", MORE)
    laptop.run()
    delete(laptop.project, "view", "view", data=True)
    delete(laptop.project, "pipeline", "p", data=True)
    laptop.remove("b.parquet")
    laptop.apply(pipeline(), view())
    laptop.run()
    assert rows(laptop) == [1]
    assert value(laptop) == 1
    assert value(laptop, "b") is None


def test_a_view_stays_and_follows_its_pipeline_that_was_deleted_and_created_again(laptop: Laptop) -> None:
    laptop.apply(pipeline(), view())
    for number in range(3):
        laptop.drop(f"{number}.parquet", ({**ROWS[0], "v": number},))
        laptop.run()
    laptop.project.registry.remove(DataPipeline, "p")
    laptop.project.registry.delete_data(DataPipeline, "p")
    for number in range(3):
        laptop.remove(f"{number}.parquet")
    laptop.apply(pipeline())
    laptop.run()
    assert rows(laptop) == [1]
    assert value(laptop) == 1


def test_a_deletion_that_was_cut_off_is_done_before_the_name_is_used_again(laptop: Laptop) -> None:
    laptop.apply(pipeline())
    laptop.run()
    for times in (1, 2, 3):
        with laptop.killed_at("before-delete", times):
            delete(laptop.project, "pipeline", "p", data=True)
        laptop.apply(pipeline())
        laptop.run()
        assert rows(laptop) == [1]
        assert laptop.ledger("p").last_batch() == 1


def test_a_batch_under_way_while_its_pipeline_is_deleted_with_its_data_commits_nothing(
    laptop: Laptop, monkeypatch: pytest.MonkeyPatch
) -> None:
    from featurestore_transforms.batch import batch

    laptop.apply(pipeline())
    run, deleted = batch.commit, []

    def late(*arguments: Any) -> Any:
        if not deleted:
            deleted.append(delete(laptop.project, "pipeline", "p", data=True))
        return run(*arguments)

    monkeypatch.setattr(batch, "commit", late)
    laptop.run()
    assert deleted
    assert laptop.table(paths.dataset("p")) == []
    laptop.apply(pipeline())
    laptop.run()
    assert rows(laptop) == [1]


FOLDERS = ["a[x]b", "a{b}", "a b*c", "[", "%", "ü", ".hidden", "~x"]


# Each by itself where everything is tried, else one in another.
@pytest.mark.parametrize("folder", FOLDERS if exhaustive() else ["/".join(FOLDERS)])
def test_a_project_finds_its_files_whatever_its_folder_is_called(tmp_path: Path, folder: str) -> None:
    laptop = Laptop(tmp_path / folder, START)
    laptop.drop("a.parquet", ROWS)
    laptop.apply(pipeline(source="raw/**/*.parquet"), view())
    laptop.run()
    assert rows(laptop) == [1]
    assert value(laptop) == 1
