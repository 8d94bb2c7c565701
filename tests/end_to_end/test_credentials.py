"""Files of one S3 account become features in another; each process has in its environment what a pod has, and no more.

Of processes that are forked, what tells how Python and libraries start is in it as well, such as ``HOME``.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import storage_server
from cluster.binaries import MissingError
from examples import exhaustive, sample
from forked_process import as_imported
from job_request import batch_job
from unavailable import unavailable

from featurestore.arrivals.backlog import Backlog
from featurestore.arrivals.ledger import Ledger
from featurestore.arrivals.manifest import Manifest
from featurestore.arrivals.source_kinds import open_source
from featurestore.failure import Failure
from featurestore.registry.registry import Registry
from featurestore.resources import DataPipeline, FeatureStore, FeatureView
from featurestore.storage.filesystem import filesystem
from featurestore.storage.objects import Storage

NOW_US = 1_700_000_000_000_000
ROOT, RAW = "s3://features/root", "s3://raw/events"
ROWS = pl.DataFrame({"k": ["a", "b"], "ts": [datetime(2024, 1, 1, tzinfo=UTC)] * 2, "v": [1, 2]})
VIEW = {
    "entity": {"name": "thing", "joinKeys": [{"name": "k", "type": "string"}]},
    "source": {"pipeline": "events"},
    "timestampField": "ts",
    "features": [{"name": "v", "type": "int64", "column": "v"}],
}


def _written(write: Callable[[pl.DataFrame, io.BytesIO], Any]) -> Callable[[pl.DataFrame], bytes]:
    def content(frame: pl.DataFrame) -> bytes:
        buffer = io.BytesIO()
        write(frame, buffer)
        return buffer.getvalue()

    return content


WRITERS = {
    "Parquet": _written(pl.DataFrame.write_parquet),
    "CSV": _written(pl.DataFrame.write_csv),
    "JSON": _written(pl.DataFrame.write_ndjson),
    "Arrow": _written(pl.DataFrame.write_ipc),
}
READER = """
import featurestore, json
store = featurestore.connect()
online = store.get_features(["things:v"], {"k": ["a", "b", "c"]}).to_dict()
labels = {"k": ["b"], "t": ["2024-01-02T00:00:00Z"]}
offline = store.get_features(["things:v"], labels, timestamp_column="t").to_dict()
print(json.dumps([online["v"], offline["v"]]))
"""


def _python(*arguments: str, folder: Path = Path("/"), **environ: str) -> subprocess.CompletedProcess[str]:
    """Python in a process that has nothing in its environment but what is said."""
    clean = {"PATH": os.environ["PATH"], **environ}
    return subprocess.run(
        [sys.executable, *arguments],
        env=clean,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=600,
    )


@dataclass
class Accounts:
    """Where the store is and where its source is: two S3 servers that do not know each other's keys.

    ``kept``: what processes have in their environment of this one's; those that have nothing start slowly.
    """

    store: dict[str, str]
    source: dict[str, str]
    log: Path
    kept: dict[str, str] = field(default_factory=as_imported)
    redis: dict[str, str] = field(default_factory=dict)

    @property
    def storage(self) -> Storage:
        return Storage(ROOT, self.store)

    def drop(self, name: str, content: bytes) -> None:
        fs, path = filesystem(f"{RAW}/{name}", self.source)
        fs.pipe_file(path, content)

    def accept(self, source: Mapping[str, str], online: Mapping[str, Any]) -> None:
        registry = Registry(self.storage)
        for kind, name, spec in (
            (FeatureStore, "default", {"offline": {"uri": ROOT}, "online": online}),
            (DataPipeline, "events", {"source": source}),
            (FeatureView, "things", VIEW),
        ):
            registry.accept(kind.model_validate({"metadata": {"name": name}, "spec": spec}))

    def close(self, keys: Mapping[str, str]) -> Manifest:
        """The next batch, of what is found at the source with these keys, as a controller closes it."""
        accepted = Registry(self.storage).all(DataPipeline)["events"]
        ledger = Ledger(self.storage, "events")
        spec = accepted.resource.spec
        backlog = Backlog(ledger, open_source(spec.source, "/", keys), spec.trigger)
        backlog.look(NOW_US)
        assert backlog.failure is None, backlog.failure
        return backlog.close(ledger.last_batch() + 1, accepted.digest, NOW_US)

    def job(self, number: int, **environ: str) -> subprocess.CompletedProcess[str]:
        """A Job's pod: the store's keys as they are, and what else is said."""
        request = batch_job(ROOT, "events", number)
        keys = {**self.store, **self.redis, **environ}
        more = {"FEATURESTORE_TERMINATION_LOG": str(self.log), **self.kept, **keys}
        return _python("-m", "featurestore_transforms", "--job", request.model_dump_json(), **more)

    def rows(self, number: int) -> int | None:
        """How many rows the batch committed; None if it is not done."""
        result = Ledger(self.storage, "events").result(number)
        return result.rows_committed if result else None

    def read(self) -> Any:
        """What a pod is answered online and offline that has the root and the store's keys."""
        done = _python("-c", READER, FEATURESTORE_URI=ROOT, **self.kept, **self.store, **self.redis)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


def prefixed(keys: Mapping[str, str]) -> dict[str, str]:
    return {f"FEATURESTORE_SOURCE_{name}": text for name, text in keys.items()}


@pytest.fixture
def accounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Accounts]:
    """Two servers. This process has credentials of neither, as a controller has none."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "REDIS_"))]:
        monkeypatch.delenv(name)
    folders = tmp_path / "store", tmp_path / "source"
    for folder in folders:
        folder.mkdir()
    try:
        with (
            storage_server.s3(folders[0], account="store") as store,
            storage_server.s3(folders[1], account="source") as source,
        ):
            filesystem("s3://features", store)[0].call_s3("create_bucket", Bucket="features")
            filesystem("s3://raw", source)[0].call_s3("create_bucket", Bucket="raw")
            yield Accounts(store, source, tmp_path / "termination-log")
    except MissingError as missing:
        unavailable(missing)


@pytest.fixture(params=["duckdb", "redis"])
def online(request: pytest.FixtureRequest, tmp_path: Path, accounts: Accounts) -> Iterator[dict[str, Any]]:
    """The spec of an online store. The Redis asks for a password, which pods have in their environment."""
    if request.param == "duckdb":
        yield {"duckdb": {}}
        return
    try:
        with storage_server.redis(tmp_path / "source", password="s3cret") as url:
            accounts.redis = {"REDIS_PASSWORD": "s3cret"}
            yield {"redis": {"url": url}}
    except MissingError as missing:
        unavailable(missing)


@pytest.mark.slow
def test_a_pod_needs_the_root_and_the_usual_credentials_and_nothing_else(
    accounts: Accounts, online: dict[str, Any]
) -> None:
    if "duckdb" in online or exhaustive():
        accounts.kept = {}
    accounts.accept({"uri": f"{RAW}/*.parquet", "format": "Parquet"}, online)
    accounts.drop("a.parquet", WRITERS["Parquet"](ROWS))
    accounts.close(accounts.source)
    done = accounts.job(1, **prefixed(accounts.source))
    assert done.returncode == 0, done.stderr
    assert accounts.read() == [[1, 2, None], [2]]


@pytest.mark.slow
@pytest.mark.parametrize("kind", sample(["CSV", "JSON", "Arrow"], 2))
def test_files_of_every_format_are_read_with_the_keys_of_the_source(accounts: Accounts, kind: str) -> None:
    accounts.accept({"uri": f"{RAW}/*", "format": kind}, {"duckdb": {}})
    accounts.drop("a", WRITERS[kind](ROWS))
    accounts.close(accounts.source)
    done = accounts.job(1, **prefixed(accounts.source))
    assert done.returncode == 0, done.stderr
    assert accounts.rows(1) == 2


@pytest.mark.slow
def test_on_a_laptop_a_source_may_have_keys_of_its_own_too(accounts: Accounts) -> None:
    accounts.accept({"uri": f"{RAW}/*.parquet", "format": "Parquet"}, {"duckdb": {}})
    accounts.drop("a.parquet", WRITERS["Parquet"](ROWS))
    keys = {**accounts.kept, **accounts.store, **prefixed(accounts.source)}
    command = ["-m", "featurestore.cli", "run", "--once"]
    done = _python(*command, folder=accounts.log.parent, FEATURESTORE_URI=ROOT, **keys)
    assert done.returncode == 0, done.stdout + done.stderr
    assert accounts.rows(1) == 2


@pytest.mark.slow
def test_without_keys_of_its_own_a_source_is_read_with_those_of_the_store(accounts: Accounts) -> None:
    accounts.accept({"uri": "s3://features/raw/*.parquet", "format": "Parquet"}, {"duckdb": {}})
    fs, path = filesystem("s3://features/raw/a.parquet", accounts.store)
    fs.pipe_file(path, WRITERS["Parquet"](ROWS))
    accounts.close(accounts.store)
    done = accounts.job(1)
    assert done.returncode == 0, done.stderr
    assert accounts.rows(1) == 2


@pytest.mark.slow
def test_a_job_with_wrong_keys_of_its_source_says_so_and_may_be_tried_again(accounts: Accounts) -> None:
    accounts.accept({"uri": f"{RAW}/*.parquet", "format": "Parquet"}, {"duckdb": {}})
    accounts.drop("a.parquet", WRITERS["Parquet"](ROWS))
    accounts.close(accounts.source)
    for wrong in (
        prefixed({**accounts.source, "AWS_SECRET_ACCESS_KEY": "wrong"}),
        prefixed({name: text for name, text in accounts.source.items() if "SECRET" not in name}),
        {},
    ):
        done = accounts.job(1, **wrong)
        failure = Failure.model_validate_json(accounts.log.read_text())
        assert (done.returncode, failure.retryable, failure.type) == (75, True, "StorageError"), done.stderr
        assert failure.where.startswith(RAW)
    assert accounts.rows(1) is None
    assert accounts.job(1, **prefixed(accounts.source)).returncode == 0
    assert accounts.rows(1) == 2
