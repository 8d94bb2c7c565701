"""Rows of data files, a piece at a time."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from examples import exhaustive

from featurestore.storage.delta import DataFile
from featurestore_transforms.tables.pieces import Piece, pieces, take
from featurestore_transforms.tables.row_changes import Rows

PLENTY = 2**30


def files(*rows: int) -> tuple[DataFile, ...]:
    return tuple(DataFile(f"{index}.parquet", 10 * count, count, {}) for index, count in enumerate(rows))


def numbers(first: int, count: int) -> pl.DataFrame:
    return pl.DataFrame({"n": range(first, first + count)}, schema={"n": pl.Int64})


def identity(rows: pl.LazyFrame) -> pl.LazyFrame:
    return rows.select("n")


def test_whole_files_are_taken_while_they_fit() -> None:
    a, b, c = files(3, 4, 5)
    assert take(Piece((a, b, c)), 7) == (Piece((a, b)), Piece((c,)))
    assert take(Piece((a, b, c)), 100) == (Piece((a, b, c)), Piece(()))


def test_a_file_that_is_too_large_is_taken_in_parts() -> None:
    a, b = files(5, 1)
    part, left = take(Piece((a, b)), 2)
    assert (part, part.rows) == (Piece((a,), 0, 2), 2)
    part, left = take(left, 2)
    assert part == Piece((a,), 2, 2)
    part, left = take(left, 2)
    assert (part, left) == (Piece((a,), 4, 1), Piece((b,)))


@pytest.mark.parametrize("memory_bytes", [1, 8 * 8 * 1000, PLENTY])
def test_pieces_hold_every_row_once(lake: Any, memory_bytes: int) -> None:
    for batch in range(3):
        lake.append(numbers(100 * batch, 100))
    # Of the least memory each row is a piece.
    count = 3_000 if memory_bytes > 1 or exhaustive() else 300
    lake.append(numbers(1000, count))
    told: list[int] = []
    found = list(pieces(Rows.all_of(lake.table), identity, memory_bytes, told.append))
    assert sorted(pl.concat(found)["n"]) == [*range(300), *range(1000, 1000 + count)]
    assert sum(told) == 300 + count


def test_pieces_are_small_beside_the_memory_and_as_few_as_that_allows(lake: Any) -> None:
    lake.append(numbers(0, 100_000))
    sizes = [
        frame.estimated_size() for frame in pieces(Rows.all_of(lake.table), identity, 2**21, lambda _: None)
    ]
    assert max(sizes) <= 2**21 / 8
    assert 4 <= len(sizes) <= 6
    assert len(list(pieces(Rows.all_of(lake.table), identity, PLENTY, lambda _: None))) == 1


def test_nothing_is_read_before_it_is_asked_for(lake: Any) -> None:
    lake.append(numbers(0, 100_000))
    told: list[int] = []
    found = pieces(Rows.all_of(lake.table), identity, 2**20, told.append)
    next(found)
    assert sum(told) < 50_000


def test_rows_of_a_file_that_does_not_say_how_many_it_has_are_all_there(lake: Any) -> None:
    lake.append(numbers(0, 5))
    table = lake.table
    [file] = table.files()
    silent = Rows(table, (DataFile(file.path, file.size_bytes, 0, {}),), pl.DataFrame(), lambda rows: rows)
    assert sum(frame.height for frame in pieces(silent, identity, PLENTY, lambda _: None)) == 5


def test_a_plan_that_leaves_nothing_makes_no_piece(lake: Any) -> None:
    lake.append(numbers(0, 5))
    nothing = pieces(Rows.all_of(lake.table), lambda rows: rows.filter(pl.lit(False)), PLENTY, lambda _: None)
    assert list(nothing) == []
