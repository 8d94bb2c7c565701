"""Rows of data files, a piece at a time, so that memory does not grow with the files.

A streaming plan would read ahead of a slow consumer, by more the wider the rows are. Here nothing is read
before it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, takewhile

import polars as pl

from featurestore.storage.delta import DataFile
from featurestore_transforms.tables.row_changes import IDENTITY, Rows, scan

_SHARE = 8
"""A piece takes this part of the memory: its source, its sorted copy and what Parquet makes of it are there too."""
_UNPACKED = 4
"""How much larger rows are in memory than in their file, more or less."""
_FIRST = 16_384
"""Rows that are looked at to learn how large they are."""
_FASTER = 8


@dataclass(frozen=True, slots=True)
class Piece:
    """All rows of some files; or of one file ``count`` rows, beginning at row ``first``."""

    files: tuple[DataFile, ...]
    first: int = 0
    count: int | None = None

    @property
    def rows(self) -> int:
        return sum(file.rows for file in self.files) if self.count is None else self.count


def pieces(
    rows: Rows,
    plan: Callable[[pl.LazyFrame], pl.LazyFrame],
    memory_bytes: int,
    advanced: Callable[[int], None],
) -> Iterator[pl.DataFrame]:
    """A plan's results for the inserted rows, in few frames that are small compared with ``memory_bytes``.

    The plan works row by row. ``advanced`` hears of rows of the files when they were looked at.
    """
    budget = max(memory_bytes // _SHARE, 1)
    waiting: list[pl.DataFrame] = []
    size = 0
    fixed_bytes = _fixed_bytes(scan(rows.table, ()).collect_schema())
    parts = [part for part in spans(rows.files, rows.span) if part.files]
    at_once = _FIRST
    while parts:
        left = parts.pop(0)
        packed_bytes = left.files[0].size_bytes / max(left.files[0].rows, 1)
        row_bytes = fixed_bytes or packed_bytes * _UNPACKED
        part, left = take(left, min(at_once, int(budget / row_bytes) + 1))
        if left.files:
            parts.insert(0, left)
        source = scan(rows.table, part.files)
        if part.count is not None:
            source = source.slice(part.first, part.count)
        frame = plan(rows.only(source)).collect(engine="streaming")
        at_once = max(1, min(at_once * _FASTER, int(budget * part.rows / max(frame.estimated_size(), 1))))
        advanced(part.rows)
        if waiting and size + frame.estimated_size() > budget:
            piece, waiting, size = pl.concat(waiting), [], 0
            yield piece
            del piece
        if frame.height:
            waiting.append(frame)
            size += int(frame.estimated_size())
        del frame
    if waiting:
        yield pl.concat(waiting)


def identity(rows: Rows, row: int) -> pl.DataFrame:
    """``frame[__batch, __file, __row]`` of one row of the files; empty if it is none of the inserted."""
    [piece] = spans(rows.files, (row, row + 1))
    identities = scan(rows.table, piece.files).slice(piece.first, 1).select(IDENTITY)
    return rows.only(identities).collect(engine="streaming")


def spans(files: Sequence[DataFile], span: tuple[int, int] | None) -> Iterator[Piece]:
    """The pieces that are these rows of the files, counted through all of them; None: all of each."""
    if span is None:
        yield Piece(tuple(files))
        return
    at = 0
    for file in files:
        first, stop = max(span[0] - at, 0), min(span[1] - at, file.rows)
        if first < stop:
            yield Piece((file,)) if stop - first == file.rows else Piece((file,), first, stop - first)
        at += file.rows


def take(left: Piece, limit: int) -> tuple[Piece, Piece]:
    """The next part, and what is left: as many whole files as ``limit`` rows allow, else so many rows of one."""
    first = left.files[0]
    if left.count is not None:
        if left.count <= limit:
            return left, Piece(())
        rest = Piece(left.files, left.first + limit, left.count - limit)
        return Piece(left.files, left.first, limit), rest
    rows = first.rows - left.first
    if left.first or rows > limit:
        if rows <= limit:
            return Piece((first,), left.first, rows), Piece(left.files[1:])
        return Piece((first,), left.first, limit), Piece(left.files, left.first + limit)
    totals = accumulate(file.rows for file in left.files)
    number = sum(1 for _ in takewhile(lambda total: total <= limit, totals))
    return Piece(left.files[:number]), Piece(left.files[number:])


def _fixed_bytes(schema: pl.Schema) -> int | None:
    """The bytes that a row takes in memory, if that is the same for all rows."""
    if all(dtype.is_numeric() or dtype.is_temporal() or dtype == pl.Boolean for dtype in schema.dtypes()):
        return 8 * len(schema)
    return None
