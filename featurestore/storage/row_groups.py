"""The row groups of a table that can matter to a read, and rows of them by position.

A position counts the rows of the chosen row groups, one after the other. Data files never change, so a
position stays good as long as the :class:`RowGroups` does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby, pairwise
from typing import Any, Protocol, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from featurestore.arrays import Ints
from featurestore.storage.delta import DataFile, Table
from featurestore.storage.filesystem import answering
from featurestore.storage.objects import Storage
from featurestore.timestamps import to_us

T = TypeVar("T")
_THREADS = 8
"""Local reads keep two cores busy with fewer; reads from object storage mostly wait."""
AT_ONCE_BYTES = 1 << 30
_UNPACKED = 6
"""How much more decoding a row group takes than its bytes in the file, before compression."""
_LEAST_BYTES = 12
"""Of a value in memory: an encoding may leave nothing of equal ones in the file."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Rows with a value outside of ``low … high`` cannot matter. None: no bound. Times in microseconds."""

    low: Any = None
    high: Any = None

    def exclude(self, least: Any, greatest: Any) -> bool:
        """True if no value between ``least`` and ``greatest`` (None: unknown) is within the bounds."""
        above = self.high is not None and least is not None and _plain(least) > self.high
        below = self.low is not None and greatest is not None and _plain(greatest) < self.low
        return above or below


@dataclass(frozen=True, slots=True)
class _Group:
    path: str
    footer: pq.FileMetaData
    number: int
    start: int
    rows: int


class RowsByPosition(Protocol):
    """Rows that are read by column, all of them or those at some positions: see :class:`RowGroups`."""

    def scan(
        self, columns: Sequence[str], words: Sequence[str], use: Callable[[int, pa.Table], T]
    ) -> Iterator[T]: ...

    def fetch(self, schema: pa.Schema, positions: Ints) -> pa.Table: ...


class RowGroups:
    """Row groups of one version of a table.

    ``at_once_bytes``: so much may be decoded at once, but for one row group.
    """

    def __init__(
        self, storage: Storage, groups: Sequence[_Group], at_once_bytes: int = AT_ONCE_BYTES
    ) -> None:
        self._storage, self._groups, self._at_once_bytes = storage, groups, at_once_bytes

    @classmethod
    def of(
        cls,
        table: Table,
        bounds: Mapping[str, Bounds],
        files: Sequence[DataFile] | None = None,
        at_once_bytes: int = AT_ONCE_BYTES,
    ) -> RowGroups:
        """The row groups that may hold rows within the bounds, by the table's and the files' statistics.

        ``files``: of the table; else all of its version.

        Raises:
            StorageError: storage did not answer, or a data file is gone.
        """
        paths = [
            f"{table.path}/{file.path}"
            for file in (table.files() if files is None else files)
            if not _excluded(file, bounds)
        ]
        groups: list[_Group] = []
        start = 0
        with ThreadPoolExecutor(_THREADS) as threads:
            footers = threads.map(lambda path: _footer(table.storage, path), paths)
            for path, footer in zip(paths, footers, strict=True):
                for number in range(footer.num_row_groups):
                    if not _group_excluded(footer, number, bounds):
                        rows = footer.row_group(number).num_rows
                        groups.append(_Group(path, footer, number, start, rows))
                        start += rows
        return cls(table.storage, groups, at_once_bytes)

    def within(self, bounds: Mapping[str, Bounds]) -> RowGroups:
        """Those of them that may hold rows within the bounds; positions count anew."""
        groups: list[_Group] = []
        start = 0
        for group in self._groups:
            if not _group_excluded(group.footer, group.number, bounds):
                groups.append(_Group(group.path, group.footer, group.number, start, group.rows))
                start += group.rows
        return RowGroups(self._storage, groups, self._at_once_bytes)

    @property
    def rows(self) -> int:
        """How many rows there are: positions are less."""
        return sum(group.rows for group in self._groups)

    @property
    def count(self) -> int:
        """How many row groups there are."""
        return len(self._groups)

    def starts(self, column: str) -> list[tuple[Any, int]]:
        """Least values of row groups, each with its rows, of files that are sorted by this column as far as footers say."""
        starts: list[tuple[Any, int]] = []
        for _, groups in groupby(self._groups, lambda group: group.path):
            ends = [(*_column_ends(group, column), group.rows) for group in groups]
            known = all(least is not None and greatest is not None for least, greatest, _ in ends)
            if known and all(one[1] <= other[0] for one, other in pairwise(ends)):
                starts += [(least, rows) for least, _, rows in ends]
        return starts

    def scan(
        self, columns: Sequence[str], words: Sequence[str], use: Callable[[int, pa.Table], T]
    ) -> Iterator[T]:
        """What ``use(position of the first row, rows)`` makes of each row group; it runs in threads.

        ``words``: string columns to read as dictionaries, which spares building every string. Whoever does not go on
        leaves the rest unread.
        """
        return self._in_turn(
            columns, lambda group: use(group.start, self._read(group, columns, words)), self._groups
        )

    def fetch(self, schema: pa.Schema, positions: Ints) -> pa.Table:
        """The rows at the positions, which rise, as ``schema`` names and types them."""
        starts = np.array([group.start for group in self._groups], np.int64)
        cuts = np.append(np.searchsorted(positions, starts), len(positions))
        wanted = [group for n, group in enumerate(self._groups) if cuts[n] < cuts[n + 1]]

        def rows(group: _Group) -> pa.Table:
            table = self._read(group, schema.names, ())
            low, high = np.searchsorted(positions, (group.start, group.start + group.rows))
            if high - low < group.rows:
                table = table.take(pa.array(positions[low:high] - group.start))
            return table.cast(schema)

        parts = list(self._in_turn(schema.names, rows, wanted))
        return pa.concat_tables(parts) if parts else schema.empty_table()

    def _in_turn(
        self, columns: Sequence[str], use: Callable[[_Group], T], groups: Sequence[_Group]
    ) -> Iterator[T]:
        """What ``use`` makes of each group, in their order. Few are in memory at once: those being read, and their results."""
        most = max((_decoded_bytes(group, columns) for group in groups), default=1)
        workers = max(1, min(_THREADS, self._at_once_bytes // most))
        with ThreadPoolExecutor(workers) as threads:
            begun: deque[Future[T]] = deque()
            try:
                for group in groups:
                    if len(begun) > workers:
                        yield begun.popleft().result()
                    begun.append(threads.submit(use, group))
                while begun:
                    yield begun.popleft().result()
            finally:
                threads.shutdown(wait=True, cancel_futures=True)

    def _read(self, group: _Group, columns: Sequence[str], words: Sequence[str]) -> pa.Table:
        with _opened(self._storage, group.path) as file:
            parquet = pq.ParquetFile(
                file, metadata=group.footer, read_dictionary=list(words), pre_buffer=True
            )
            return parquet.read_row_group(group.number, columns=list(columns), use_threads=False)


def _decoded_bytes(group: _Group, columns: Sequence[str]) -> int:
    """What decoding these columns of a row group takes, more or less."""
    footer, wanted = group.footer.row_group(group.number), set(columns)
    packed: int = sum(
        column.total_uncompressed_size
        for column in map(footer.column, range(footer.num_columns))
        if column.path_in_schema.partition(".")[0] in wanted
    )
    return max(packed * _UNPACKED, group.rows * len(columns) * _LEAST_BYTES, 1)


def _footer(storage: Storage, path: str) -> pq.FileMetaData:
    with _opened(storage, path) as file:
        return pq.read_metadata(file)


@contextmanager
def _opened(storage: Storage, path: str) -> Iterator[Any]:
    """A data file.

    Raises:
        StorageError: storage did not answer, or the file is gone.
    """
    if not storage.is_local:
        with storage.opened(path) as file:
            yield file
        return
    # Arrow reads a local file without asking Python for each range.
    with answering("a data file cannot be read", storage.uri(path)), pa.OSFile(storage.uri(path)) as file:
        yield file


def _excluded(file: DataFile, bounds: Mapping[str, Bounds]) -> bool:
    least, greatest = file.stats["minValues"], file.stats["maxValues"]
    return not file.rows or any(
        bound.exclude(least.get(name), greatest.get(name)) for name, bound in bounds.items()
    )


def _group_excluded(footer: pq.FileMetaData, number: int, bounds: Mapping[str, Bounds]) -> bool:
    group = footer.row_group(number)
    for index in range(group.num_columns):
        column = group.column(index)
        bound = bounds.get(column.path_in_schema)
        if bound is not None and bound.exclude(*_ends(column.statistics)):
            return True
    return False


def _column_ends(group: _Group, name: str) -> tuple[Any, Any]:
    """Least and greatest value of a column, None if the footer does not say."""
    footer = group.footer.row_group(group.number)
    for column in map(footer.column, range(footer.num_columns)):
        if column.path_in_schema == name:
            return _ends(column.statistics)
    return None, None


def _ends(statistics: pq.Statistics | None) -> tuple[Any, Any]:
    if statistics is None or not statistics.has_min_max:
        return None, None
    try:
        return statistics.min, statistics.max
    except (OverflowError, ValueError):  # a time outside of Python's years 1 to 9999
        return None, None


def _plain(value: Any) -> Any:
    return to_us(value) if isinstance(value, datetime) else value
