"""Rows that are pushed: checked, written once for each key, and taken as any file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, get_args

import polars as pl
import pyarrow as pa
import pytest
from storage_server import buckets

import featurestore
from featurestore.arrivals.files.overwrites import OVERWRITTEN
from featurestore.arrivals.ledger import Ledger
from featurestore.client.connection import Store
from featurestore.client.pushed_rows import MOST_ERRORS, RowsRefused, checked_rows
from featurestore.errors import NotFound, RequestError
from featurestore.failpoint import Step
from featurestore.resources.data_pipeline import PushedColumn
from featurestore.resources.value import ColumnType
from featurestore.storage.delta import Table
from featurestore.storage.objects import Storage

RESOURCES = """
kind: FeatureStore
metadata: {name: default}
spec: {offline: {uri: root}}
---
kind: DataPipeline
metadata: {name: clicks}
spec:
  source:
    uri: "PLACE/*.arrow"
    format: Arrow
    push: {schema: [{name: user, type: string}, {name: at, type: timestamp}, {name: n, type: int64}]}
  trigger: {arrivals: {maxWait: 0s}}
---
kind: DataPipeline
metadata: {name: files}
spec: {source: {uri: "files/*.csv", format: CSV}}
---
kind: FeatureView
metadata: {name: users}
spec:
  entity: {name: user, joinKeys: [{name: user, type: string}]}
  source: {pipeline: clicks}
  timestampField: at
  features: [{name: n, type: int64, column: n}]
"""
AT = datetime(2024, 1, 1, tzinfo=UTC)


def rows(*numbers: int) -> list[dict[str, Any]]:
    return [{"user": f"u{number}", "at": AT, "n": number} for number in numbers]


def command(folder: Path, *arguments: str, code: int = 0) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "featurestore.cli", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == code, done.stdout + done.stderr


def project(folder: Path, place: str = "pushed") -> Store:
    folder.mkdir(exist_ok=True)
    (folder / "store.yaml").write_text(RESOURCES.replace("PLACE", place))
    command(folder, "apply", "-f", "store.yaml")
    return featurestore.connect(folder)


def taken(folder: Path) -> list[int]:
    table = Table.open(Storage(str(folder / "root")), "datasets/clicks")
    return [] if table is None or not table.uris() else pl.read_parquet(table.uris())["n"].sort().to_list()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return project(tmp_path)


def test_what_is_pushed_is_read_online_and_each_key_counts_once(store: Store, tmp_path: Path) -> None:
    first = store.push("clicks", rows(1, 2), idempotency_key="a")
    again = store.push("clicks", rows(1, 2), idempotency_key="a")
    store.push("clicks", rows(3), idempotency_key="b")
    assert (first.is_new, again.is_new, first.uri == again.uri) == (True, False, True)
    command(tmp_path, "run", "--once")
    assert taken(tmp_path) == [1, 2, 3]
    assert store.get_features(["users:n"], [{"user": "u3"}]).to_dict()["n"] == [3]


def test_a_push_that_is_sent_again_after_its_file_was_taken_and_deleted_counts_once(
    store: Store, tmp_path: Path
) -> None:
    pushed = store.push("clicks", rows(1), idempotency_key="a")
    command(tmp_path, "run", "--once")
    (tmp_path / pushed.uri).unlink()
    assert store.push("clicks", rows(1), idempotency_key="a").is_new
    command(tmp_path, "run", "--once")
    assert taken(tmp_path) == [1]
    assert Ledger(Storage(str(tmp_path / "root")), "clicks").last_batch() == 1


def test_other_rows_under_the_key_of_a_file_that_was_deleted_are_in_quarantine(
    store: Store, tmp_path: Path
) -> None:
    pushed = store.push("clicks", rows(1), idempotency_key="a")
    command(tmp_path, "run", "--once")
    (tmp_path / pushed.uri).unlink()
    store.push("clicks", rows(2), idempotency_key="a")
    command(tmp_path, "run", "--once", code=4)
    assert taken(tmp_path) == [1]
    quarantine = Table.open(Storage(str(tmp_path / "root")), "quarantine/pipelines/clicks")
    assert quarantine is not None
    assert pl.read_parquet(quarantine.uris())["rule"].to_list() == [OVERWRITTEN]


def test_a_folder_is_not_pushed_to_from_where_it_may_be_another(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    with pytest.raises(RequestError, match="folder of a machine"):
        featurestore.connect(tmp_path / "root").push("clicks", rows(1))


def test_a_key_that_was_used_for_other_rows_is_refused(store: Store, tmp_path: Path) -> None:
    store.push("clicks", rows(1), idempotency_key="a")
    with pytest.raises(RequestError, match="used for other rows"):
        store.push("clicks", rows(2), idempotency_key="a")
    store.push("clicks", rows(2))
    store.push("clicks", rows(2))
    assert len(list((tmp_path / "pushed").glob("*.arrow"))) == 3


@pytest.mark.parametrize("key", ["", "x" * 256, "a\nb"])
def test_a_key_that_is_none_is_refused(store: Store, key: str) -> None:
    with pytest.raises(RequestError, match="idempotency key"):
        store.push("clicks", rows(1), idempotency_key=key)


def test_only_pipelines_that_say_so_are_pushed_to(store: Store) -> None:
    with pytest.raises(RequestError, match=r"spec\.source\.push"):
        store.push("files", rows(1))
    with pytest.raises(NotFound, match="clicks"):
        store.push("click", rows(1))


@pytest.mark.parametrize("step", [step for step in get_args(Step) if step.endswith("push")])
def test_a_push_that_is_killed_at_any_step_and_sent_again_counts_once(
    store: Store, tmp_path: Path, step: Step
) -> None:
    code = (
        "import datetime, featurestore\n"
        "at = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)\n"
        "featurestore.connect('.').push('clicks', [{'user': 'u1', 'at': at, 'n': 1}], idempotency_key='a')\n"
    )
    killed = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "FEATURESTORE_KILL_AT": step},
        timeout=600,
    )
    assert killed.returncode == -signal.SIGKILL
    store.push("clicks", rows(1), idempotency_key="a")
    command(tmp_path, "run", "--once")
    assert taken(tmp_path) == [1]


def test_in_object_storage_one_of_many_that_push_with_one_key_writes(
    tmp_path: Path, monkeypatch: Any
) -> None:
    with buckets(tmp_path / "s3", "raw") as environ:
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        store = project(tmp_path / "project", "s3://raw/pushed")
        news = [store.push("clicks", rows(1), idempotency_key="a").is_new for _ in range(3)]
        assert news == [True, False, False]
        command(tmp_path / "project", "run", "--once")
        assert taken(tmp_path / "project") == [1]


GOOD: dict[str, tuple[Any, Any]] = {
    "string": ("ü", "ü"),
    "bytes": ("AAE=", b"\x00\x01"),
    "bool": (True, True),
    "int8": (-128, -128),
    "int16": (1, 1),
    "int32": (2**31 - 1, 2**31 - 1),
    "int64": (-(2**63), -(2**63)),
    "float32": (0.5, 0.5),
    "float64": (2**53, float(2**53)),
    "date": ("2024-02-29", date(2024, 2, 29)),
    "timestamp": ("2024-01-01T01:00:00.000001+01:00", datetime(2024, 1, 1, 0, 0, 0, 1, tzinfo=UTC)),
    "list<string>": (["a", None], ["a", None]),
    "list<int64>": ([1], [1]),
    "list<float32>": ([0.5], [0.5]),
    "list<float64>": ([1, 0.1], [1.0, 0.1]),
}
BAD: dict[str, list[Any]] = {
    "string": [1, "\ud800", b"a"],
    "bytes": ["%", 1],
    "bool": [1, "true"],
    "int8": [128, True, 1.0, "1"],
    "int16": [2**15],
    "int32": [-(2**31) - 1],
    "int64": [2**63, 1.0, "1"],
    "float32": [1e39, True],
    "float64": [2**53 + 1, "1", True],
    "date": ["2024-02-30", "20240101", "2024-01-01T00:00:00", 1],
    "timestamp": ["2024-01-01", "2024-01-01T00:00:00.0000001", "soon", 1],
    "list<string>": ["a", [1]],
    "list<int64>": [[1.5]],
    "list<float32>": [[1e39]],
    "list<float64>": [["x"]],
}


@pytest.mark.parametrize("kind", [kind.value for kind in ColumnType])
def test_a_value_that_its_type_gives_back_is_taken_and_every_other_is_named(kind: str) -> None:
    schema = [PushedColumn(name="a", type=ColumnType(kind)), PushedColumn(name="b", type=ColumnType.STRING)]
    sent, wanted = GOOD[kind]
    assert checked_rows("p", schema, [{"a": sent}, {"a": None}, {}])["a"].to_pylist() == [wanted, None, None]
    for bad in BAD[kind]:
        with pytest.raises(RowsRefused) as refused:
            checked_rows("p", schema, [{"a": sent}, {"a": bad, "c": 1}])
        assert [(it.row, it.field) for it in refused.value.errors] == [(1, "c"), (1, "a")]


def test_a_table_is_held_to_the_same_rules() -> None:
    schema = [
        PushedColumn(name="n", type=ColumnType.INT64),
        PushedColumn(name="at", type=ColumnType.TIMESTAMP),
    ]
    narrow = pa.table({"n": pa.array([1, None], pa.int8()), "at": pa.array([0, 1000], pa.timestamp("ns"))})
    assert checked_rows("p", schema, narrow).to_pylist()[1] == {
        "n": None,
        "at": datetime(1970, 1, 1, 0, 0, 0, 1, UTC),
    }
    for column, row in (
        (pa.array([1.0, 1.5]), 0),
        (pa.array(["1", "2"]), 0),
        (pa.array([0, 2**63], pa.uint64()), 1),
    ):
        with pytest.raises(RowsRefused) as refused:
            checked_rows("p", schema, pa.table({"n": column}))
        assert (refused.value.errors[0].row, refused.value.errors[0].field) == (row, "n")
    finer = pa.table({"at": pa.array([1], pa.timestamp("ns"))})
    for table in (finer, pa.table({"other": [1]}), pa.table([[1], [1]], names=["n", "n"])):
        with pytest.raises(RowsRefused):
            checked_rows("p", schema, table)


def test_a_million_wrong_values_are_counted_and_a_hundred_named() -> None:
    schema = [PushedColumn(name="n", type=ColumnType.INT64)]
    with pytest.raises(RowsRefused, match="at least") as refused:
        checked_rows("p", schema, [{"n": "x"}] * 10_000)
    assert len(refused.value.errors) == MOST_ERRORS


def test_no_rows_are_no_push() -> None:
    with pytest.raises(RequestError, match="no rows"):
        checked_rows("p", [PushedColumn(name="n", type=ColumnType.INT64)], [])
