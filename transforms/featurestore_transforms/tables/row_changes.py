"""Rows of a dataset that were added and removed between two of its versions.

Data files come and go more often than rows do: a compaction rewrites files and changes no row, a
deduplicating batch rewrites a file to leave out one row. A row is ``(__batch, __file, __row)`` for ever, so
rows that stand in files of both sides have not changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import polars as pl

from featurestore.storage.delta import BATCH, FILE, ROW, SYSTEM_COLUMNS, Changes, DataFile, Table
from featurestore_transforms.tables.polars_credentials import access

GROUP = [BATCH, FILE]
IDENTITY = list(SYSTEM_COLUMNS)
NO_ROWS = pl.DataFrame(schema={BATCH: pl.Int64, FILE: pl.Int32, ROW: pl.Int64})
_BYTES_PER_ROW = 256
"""Bytes that one identity takes in all in a join of two sides."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Inserted rows are those in ``files`` that ``only`` lets through.

    ``deleted``: ``frame[__batch, __file, __row]``. ``only`` can be asked about any part of the files. ``span``: rows of
    the files, counted through all of them, that alone are meant; None: all.
    """

    table: Table
    files: tuple[DataFile, ...]
    deleted: pl.DataFrame
    only: Callable[[pl.LazyFrame], pl.LazyFrame]
    span: tuple[int, int] | None = None

    @classmethod
    def all_of(cls, table: Table) -> Rows:
        """All rows of the table, as if it had none before."""
        return cls(table, tuple(table.files()), NO_ROWS, lambda rows: rows)

    @property
    def count(self) -> int:
        """How many rows of the files are looked at."""
        return self.span[1] - self.span[0] if self.span else sum(file.rows for file in self.files)

    def in_order(self) -> Rows:
        """The same, with the files in an order that is the same for whoever looks."""
        return replace(self, files=tuple(sorted(self.files, key=lambda file: file.path)))

    def part(self, first: int, stop: int) -> Rows:
        """Rows ``first`` … ``stop - 1`` of the files."""
        return replace(self, span=(first, stop))

    def without(self, rows: pl.DataFrame) -> Rows:
        """The same without some rows. ``rows``: ``frame[__batch, __file, __row]``."""
        if rows.is_empty():
            return self
        return replace(self, only=lambda these: self.only(these).join(rows.lazy(), on=IDENTITY, how="anti"))

    @property
    def inserted(self) -> pl.LazyFrame:
        """``frame[<columns of the table>]``"""
        return self.only(scan(self.table, self.files))


class TooManyChanged(Exception):
    """The identities of removed rows would not fit into the memory that the caller allows."""


def scan(table: Table, files: Sequence[DataFile], path_column: str | None = None) -> pl.LazyFrame:
    """All columns of the table from some of its files; null where a file is older than a column or a field of it.

    ``frame[<columns of the table>, <path_column>: str]``, the last being where the row's file is.
    """
    schema = pl.Schema(table.schema)
    if not files:
        return pl.LazyFrame(schema={**schema, **({path_column: pl.String} if path_column else {})})
    return pl.scan_parquet(
        [table.storage.uri(f"{table.path}/{file.path}") for file in files],
        schema=schema,
        missing_columns="insert",
        extra_columns="ignore",
        cast_options=pl.ScanCastOptions(missing_struct_fields="insert"),
        include_file_paths=path_column,
        glob=False,
        hive_partitioning=False,
        **access(table.storage.root, table.storage.environ),
    )


def rows_changed(table: Table, changes: Changes, memory_bytes: int) -> Rows:
    """The rows that came and went with these files, which are the table's.

    Nothing went in the usual case, and then no row is looked at. Else the sides are compared by source file
    first, so that only source files with fewer or other rows than before are compared row by row.

    Raises:
        TooManyChanged: more rows went than fit into a part of ``memory_bytes``.
    """
    if not changes.removed:
        return Rows(table, changes.added, NO_ROWS, lambda rows: rows)
    limit = max(memory_bytes // _BYTES_PER_ROW, 1)
    before = scan(table, changes.removed).select(IDENTITY)
    after = scan(table, changes.added).select(IDENTITY)
    groups = _fingerprint(before).join(
        _fingerprint(after), on=GROUP, how="full", coalesce=True, suffix="_after"
    )
    differing = groups.filter(
        pl.col("rows").ne_missing(pl.col("rows_after")) | pl.col("mark").ne_missing(pl.col("mark_after"))
    ).collect(engine="streaming")
    new = differing.filter(pl.col("rows").is_null()).select(GROUP)
    touched = differing.filter(pl.col("rows").is_not_null())
    deleted, back = [NO_ROWS], [NO_ROWS]
    parts = -(-int(touched["rows"].sum()) // limit)
    for part in range(parts):
        here = pl.col(ROW) % parts == part
        keys = touched.lazy().select(GROUP)
        left = before.filter(here).join(keys, on=GROUP, how="semi").collect(engine="streaming")
        right = after.filter(here).join(keys, on=GROUP, how="semi").collect(engine="streaming")
        deleted.append(left.join(right, on=IDENTITY, how="anti"))
        back.append(right.join(left, on=IDENTITY, how="anti"))
        if sum(frame.height for frame in (*deleted, *back)) > limit:
            raise TooManyChanged
    returned = pl.concat(back)

    def only(rows: pl.LazyFrame) -> pl.LazyFrame:
        fresh = rows.join(new.lazy(), on=GROUP, how="semi")
        if returned.is_empty():
            return fresh
        return pl.concat([fresh, rows.join(returned.lazy(), on=IDENTITY, how="semi")])

    files = changes.added if new.height or returned.height else ()
    return Rows(table, files, pl.concat(deleted), only)


def _fingerprint(identities: pl.LazyFrame) -> pl.LazyFrame:
    """``frame[__batch, __file, rows, mark]``: equal marks mean equal sets of rows of one source file."""
    mark = (pl.col(ROW).hash() % 2**31).cast(pl.Int64).sum()
    return identities.group_by(GROUP).agg(rows=pl.len().cast(pl.Int64), mark=mark)
