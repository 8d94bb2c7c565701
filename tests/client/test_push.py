"""Rows that are pushed: checked, written once for each key, and taken as any file."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pytest
import yaml
from laptop import Laptop
from storage_server import buckets

import featurestore
from featurestore.arrivals.files.overwrites import OVERWRITTEN
from featurestore.client.connection import Store
from featurestore.client.pushed_rows import MOST_ERRORS, RowsRefused, checked_rows
from featurestore.errors import NotFound, RequestError
from featurestore.failpoint import Step
from featurestore.resources.data_pipeline import PushedColumn
from featurestore.resources.value import ColumnType

RESOURCES = """
kind: DataPipeline
metadata: {name: clicks}
spec:
  source:
    uri: "PLACE/*.arrow"
    format: Arrow
    push:
      schema:
      - {name: user, type: string}
      - {name: at, type: timestamp}
      - {name: n, type: int64}
      - {name: score, type: float64}
      - {name: scores, type: list<float64>}
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
LATER = datetime(2100, 1, 1, tzinfo=UTC)
"""Files are old by then."""


def rows(*numbers: int) -> list[dict[str, Any]]:
    return [{"user": f"u{number}", "at": AT, "n": number} for number in numbers]


class Pushed:
    """A laptop, and its store as a program has it that pushes."""

    def __init__(self, folder: Path, place: str = "pushed") -> None:
        self.laptop = Laptop(folder, LATER)
        self.laptop.apply(*yaml.safe_load_all(RESOURCES.replace("PLACE", place)))
        self.store = self.laptop.store(LATER)

    def taken(self) -> list[int]:
        """The numbers that are in the dataset, after all that came has been taken."""
        self.laptop.run()
        return sorted(row["n"] for row in self.laptop.table("datasets/clicks"))


@pytest.fixture
def pushed(tmp_path: Path) -> Pushed:
    return Pushed(tmp_path)


@pytest.fixture
def store(pushed: Pushed) -> Store:
    return pushed.store


def test_what_is_pushed_is_read_online_and_each_key_counts_once(pushed: Pushed) -> None:
    first = pushed.store.push("clicks", rows(1, 2), idempotency_key="a")
    again = pushed.store.push("clicks", rows(1, 2), idempotency_key="a")
    pushed.store.push("clicks", rows(3), idempotency_key="b")
    assert (first.is_new, again.is_new, first.uri == again.uri) == (True, False, True)
    assert pushed.taken() == [1, 2, 3]
    assert pushed.store.get_features(["users:n"], [{"user": "u3"}]).to_dict()["n"] == [3]


def test_a_push_that_is_sent_again_after_its_file_was_taken_and_deleted_counts_once(
    pushed: Pushed, tmp_path: Path
) -> None:
    first = pushed.store.push("clicks", rows(1), idempotency_key="a")
    assert pushed.taken() == [1]
    (tmp_path / first.uri).unlink()
    assert pushed.store.push("clicks", rows(1), idempotency_key="a").is_new
    assert pushed.taken() == [1]
    assert pushed.laptop.ledger("clicks").last_batch() == 1


def test_other_rows_under_the_key_of_a_file_that_was_deleted_are_in_quarantine(
    pushed: Pushed, tmp_path: Path
) -> None:
    first = pushed.store.push("clicks", rows(1), idempotency_key="a")
    assert pushed.taken() == [1]
    (tmp_path / first.uri).unlink()
    pushed.store.push("clicks", rows(2), idempotency_key="a")
    assert pushed.taken() == [1]
    assert [row["rule"] for row in pushed.laptop.table("quarantine/pipelines/clicks")] == [OVERWRITTEN]


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


def test_the_same_rows_are_the_same_with_nan_in_them_and_in_other_bytes(store: Store) -> None:
    values = [None, math.nan, 1.0]
    table = pa.table({"n": pa.array([0, 1, 2]), "score": values, "scores": [values, None, []]})
    assert store.push("clicks", table, idempotency_key="a").is_new
    other = pa.table(
        {
            "scores": pa.array([[9.0], *table["scores"].to_pylist()]).slice(1),
            "score": pa.array([7.0, *values]).slice(1),
            "n": pa.chunked_array([[0], [1, 2]]),
        }
    )
    assert not store.push("clicks", other, idempotency_key="a").is_new
    with pytest.raises(RequestError, match="used for other rows"):
        store.push("clicks", table.set_column(1, "score", [[None, 0.0, 1.0]]), idempotency_key="a")


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
def test_a_push_that_is_killed_at_any_step_and_sent_again_counts_once(pushed: Pushed, step: Step) -> None:
    with pushed.laptop.killed_at(step):
        pushed.store.push("clicks", rows(1), idempotency_key="a")
        pytest.fail("it was not killed")
    pushed.store.push("clicks", rows(1), idempotency_key="a")
    assert pushed.taken() == [1]


def test_in_object_storage_one_of_many_that_push_with_one_key_writes(
    tmp_path: Path, monkeypatch: Any
) -> None:
    with buckets(tmp_path / "s3", "raw") as environ:
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        pushed = Pushed(tmp_path / "project", "s3://raw/pushed")
        news = [pushed.store.push("clicks", rows(1), idempotency_key="a").is_new for _ in range(3)]
        assert news == [True, False, False]
        assert pushed.taken() == [1]


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


def test_scalars_of_numpy_are_held_to_the_same_rules() -> None:
    schema = [PushedColumn(name="n", type=ColumnType.INT64), PushedColumn(name="x", type=ColumnType.FLOAT64)]
    taken = checked_rows("p", schema, [{"n": np.int8(4), "x": np.float32(0.5)}])
    assert taken.to_pylist() == [{"n": 4, "x": 0.5}]
    for wrong in (np.uint64(2**63), np.float64(1), np.bool_(True), np.timedelta64(1), np.datetime64(1, "ns")):
        with pytest.raises(RowsRefused):
            checked_rows("p", schema, [{"n": wrong}])


def test_a_million_wrong_values_are_counted_and_a_hundred_named() -> None:
    schema = [PushedColumn(name="n", type=ColumnType.INT64)]
    with pytest.raises(RowsRefused, match="at least") as refused:
        checked_rows("p", schema, [{"n": "x"}] * 10_000)
    assert len(refused.value.errors) == MOST_ERRORS


def test_no_rows_are_no_push() -> None:
    with pytest.raises(RequestError, match="no rows"):
        checked_rows("p", [PushedColumn(name="n", type=ColumnType.INT64)], [])
