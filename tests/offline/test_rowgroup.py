"""What a read leaves out, and what it never may."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featurestore.errors import StorageError
from featurestore.resources.outputs import EVENT_TIME
from featurestore.storage import paths
from featurestore.storage.delta import Table
from featurestore.storage.objects import Storage
from featurestore.storage.row_groups import Bounds, RowGroups
from featurestore.views.schema import view_schema

MakeCase = Callable[..., Any]
MakeRow = Callable[..., Any]


@pytest.fixture
def table(case: MakeCase, row: MakeRow) -> tuple[Any, Table]:
    """Keys a…d in two files of two row groups, one row each; events at 10, 20, 30 and 40."""
    view = case(row_group_rows=1)
    view.add(row(("a",), 10, {"x": 1}), row(("b",), 20, {"x": 2}))
    view.add(row(("c",), 30, {"x": 3}), row(("d",), 40, {"x": 4}))
    opened = Table.open(view.storage, paths.features("v", "d"))
    assert opened is not None
    return view, opened


def keys(groups: RowGroups) -> list[str]:
    return [
        key
        for part in groups.scan(["k"], ["k"], lambda _, rows: rows.column("k").to_pylist())
        for key in part
    ]


@pytest.mark.parametrize(
    ("bounds", "kept"),
    [
        ({}, "abcd"),
        ({"k": Bounds("b", "c")}, "bc"),
        ({"k": Bounds("b", "b")}, "b"),
        ({"k": Bounds("e", None)}, ""),
        ({EVENT_TIME: Bounds(None, 30)}, "abc"),
        ({EVENT_TIME: Bounds(20, 30)}, "bc"),
        ({EVENT_TIME: Bounds(None, 9)}, ""),
        ({"k": Bounds("c", None), EVENT_TIME: Bounds(None, 30)}, "c"),
        ({"unknown": Bounds(1, 1)}, "abcd"),
    ],
)
def test_only_row_groups_that_can_hold_rows_within_the_bounds_are_read(
    table: tuple[Any, Table], bounds: dict[str, Bounds], kept: str
) -> None:
    assert sorted(keys(RowGroups.of(table[1], bounds))) == list(kept)


def test_what_is_not_known_of_a_file_is_no_reason_to_leave_it_out() -> None:
    assert not Bounds(1, 2).exclude(None, None)
    assert Bounds(1, 2).exclude(3, None)
    assert Bounds(1, 2).exclude(None, 0)
    assert not Bounds(1, 2).exclude(2, 9)
    assert not Bounds(None, 0).exclude(datetime(1970, 1, 1, tzinfo=UTC), None)
    assert Bounds(None, -1).exclude(datetime(1970, 1, 1), None)


def test_rows_are_fetched_by_position_across_files_in_their_order(table: tuple[Any, Table]) -> None:
    view, opened = table
    groups = RowGroups.of(opened, {})
    schema = view_schema(view.spec)
    everything = groups.fetch(schema, np.arange(4))
    assert everything.schema.equals(schema)
    some = groups.fetch(schema, np.array([1, 3]))
    assert some.column("x").to_pylist() == [everything.column("x")[n].as_py() for n in (1, 3)]
    assert groups.fetch(schema, np.zeros(0, np.int64)).num_rows == 0


def test_a_data_file_that_is_gone_is_a_storage_error_and_not_an_empty_answer(
    table: tuple[Any, Table],
) -> None:
    view, opened = table
    groups = RowGroups.of(opened, {})
    Path(view.storage.uri(paths.features("v", "d") + "/2.parquet")).unlink()
    with pytest.raises(StorageError, match=r"a data file cannot be read: in .*/2\.parquet"):
        keys(groups)
    with pytest.raises(StorageError, match=r"a data file cannot be read: in .*/2\.parquet"):
        RowGroups.of(opened, {})


def test_a_view_in_object_storage_is_joined_as_one_on_disk(
    case: MakeCase, row: MakeRow, s3_root: str
) -> None:
    remote = case(ttl="10us")
    local_root = Path(remote.storage.uri("")).resolve()
    remote.add(row(("a",), 10, {"x": 1}), row(("b",), 20, {"x": 2}))
    labels = [(("b",), 25), (("a",), 5), (("a",), 25)]
    wanted = remote.ask(labels)
    remote.storage = upload(local_root, s3_root)
    assert remote.ask(labels) == wanted


def upload(folder: Path, root: str) -> Storage:
    storage = Storage(root)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            storage.replace(str(path.relative_to(folder)), path.read_bytes())
    shutil.rmtree(folder)
    return storage
