"""Statistics of a view's table, kept with each of its commits: the last ones and the new rows, or all rows where some went."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from featurestore.arrays import arrow_flags, numbers
from featurestore.errors import Damaged, StorageError
from featurestore.profiles.column_statistics import ProfiledColumn
from featurestore.profiles.table_profile import TableProfile
from featurestore.resources.feature_view import FeatureViewSpec
from featurestore.storage import paths
from featurestore.storage.delta import BATCH, SYSTEM_COLUMNS, DataFile, Table
from featurestore.storage.objects import Storage
from featurestore.views.view_statistics import (
    KEPT,
    RECENT_ROWS,
    RecentRows,
    RowStatistics,
    ViewStatistics,
    profiled_columns,
    read_statistics,
)

_PIECE_ROWS, _VALUE_BYTES, _SHARE = 65_536, 64, 8
_UNREADABLE = (StorageError, Damaged, ValueError, KeyError, pa.ArrowException)
"""What is raised of a profile that cannot be read."""
_UNPACKED = 4
"""How much larger rows are in memory than in their file, more or less."""


@dataclass(frozen=True, slots=True)
class _Recent:
    """Batches from ``first`` to ``last`` are what came last, and stand in ``files``; ``whole``: in these alone."""

    first: int
    last: int
    files: tuple[DataFile, ...]
    whole: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Begun:
    """Profiles of all rows of an earlier version and of its batches from ``first`` on (None: unknown); ``added``: files since."""

    every: TableProfile
    first: int | None
    last: TableProfile
    added: Sequence[DataFile]


def keep_statistics(
    table: Table, view: str, digest: str, commit: int, spec: FeatureViewSpec
) -> ViewStatistics:
    """The statistics of this version of the table, which are kept. Repeating it changes nothing.

    Raises:
        StorageError: storage did not answer.
    """
    storage = table.storage
    known = read_statistics(storage, view, digest, table.version)
    if known is not None:
        return known
    columns = profiled_columns(spec)
    files = table.files()
    recent = _recent(table, files)
    begun = _begun(table, view, digest, files, tuple(columns.values()))
    profile, added = begun.every, {file.path for file in begun.added}
    # Of a window that begins where the one before began, the rows from before stand in its profile.
    goes_on = recent is not None and recent.first == begun.first
    newest = begun.last if goes_on else TableProfile(SYSTEM_COLUMNS, profile.columns)
    again = [] if goes_on or recent is None else [file for file in recent.files if file.path not in added]
    for file in [*begun.added, *again]:
        every, last = _of_file(table, file, profile.columns, spec.resources.memory, recent)
        if file.path in added:
            profile.merge(every)
        newest.merge(last)
    statistics = ViewStatistics(
        view=view,
        digest=digest,
        version=table.version,
        commit=commit,
        every=RowStatistics(rows=profile.rows, features=_named(profile, columns)),
        recent=RecentRows(
            rows=newest.rows,
            features=_named(newest, columns),
            first=recent.first,
            last=recent.last,
        )
        if recent is not None
        else None,
    )
    storage.replace(paths.recent_profile(view, digest, table.version), newest.to_bytes())
    storage.replace(paths.statistics_profile(view, digest, table.version), profile.to_bytes())
    record = statistics.model_dump_json(by_alias=True).encode()
    storage.replace(paths.statistics_record(view, digest, table.version), record)
    now = Table.open(storage, table.path)
    if now is None or {file.path for file in files} - {file.path for file in now.files()}:
        # Rows went meanwhile, perhaps because they were erased: whoever took them looked for records before this one was there.
        storage.delete(paths.statistics_record(view, digest, table.version))
        storage.delete(paths.statistics_profile(view, digest, table.version))
        storage.delete(paths.recent_profile(view, digest, table.version))
    else:
        _forget(table, view, digest)
    return statistics


def _of_file(
    table: Table, file: DataFile, columns: Sequence[str], memory_bytes: int, recent: _Recent | None
) -> tuple[TableProfile, TableProfile]:
    """Of all rows of a file, and of those that came last."""
    is_whole = recent is not None and file.path in recent.whole
    first = recent.first if recent is not None and file in recent.files else None
    every, last = (TableProfile(SYSTEM_COLUMNS, columns) for _ in range(2))
    for rows in _pieces(table, file, columns, memory_bytes):
        every.add(rows)
        if first is not None and not is_whole:
            last.add(pc.filter(rows, arrow_flags(numbers(rows.column(BATCH)) >= first)))
    return every, every if is_whole else last


def _named(profile: TableProfile, columns: dict[str, str]) -> dict[str, ProfiledColumn]:
    every = profile.statistics()
    return {name: every[column] for name, column in columns.items()}


def _begun(
    table: Table, view: str, digest: str, files: Sequence[DataFile], columns: tuple[str, ...]
) -> _Begun:
    """What an earlier version has that nothing was taken from since, and the files that came; else nothing, and all."""
    storage, folder = table.storage, paths.view_statistics(view, digest)
    names = [name for name in storage.names(folder) if name.endswith(".parquet")]
    versions = [int(name.removesuffix(".parquet")) for name in names]
    for version in sorted((version for version in versions if version < table.version), reverse=True)[:1]:
        # What cannot be read of an earlier version is found in the files.
        with suppress(*_UNREADABLE):
            changes = table.changes(version)
            path = paths.statistics_profile(view, digest, version)
            profile = None if changes.removed else _profile(storage, path, columns)
            if profile is not None:
                first, last = _kept_window(storage, view, digest, version, columns)
                return _Begun(profile, first, last, changes.added)
    empty, none = (TableProfile(SYSTEM_COLUMNS, columns) for _ in range(2))
    return _Begun(empty, None, none, files)


def _kept_window(
    storage: Storage, view: str, digest: str, version: int, columns: tuple[str, ...]
) -> tuple[int | None, TableProfile]:
    """The first of the batches that came last to a version, and their profile; None and an empty one if it is not kept."""
    with suppress(*_UNREADABLE):
        known = read_statistics(storage, view, digest, version)
        recent = known.recent if known is not None else None
        profile = _profile(storage, paths.recent_profile(view, digest, version), columns)
        if recent is not None and profile is not None and profile.rows == recent.rows:
            return recent.first, profile
    return None, TableProfile(SYSTEM_COLUMNS, columns)


def _profile(storage: Storage, path: str, columns: tuple[str, ...]) -> TableProfile | None:
    """The profile that is kept there, if it is one of these columns."""
    data = storage.find(path)
    profile = TableProfile.from_bytes(data) if data else None
    return profile if profile is not None and profile.columns == columns else None


def _recent(table: Table, files: Sequence[DataFile]) -> _Recent | None:
    """The newest batches that have enough rows between them."""
    batches: dict[str, Counter[int]] = {}
    bounds = {file.path: _bounds(table, file, batches) for file in files if file.rows}
    left = sorted((file for file in files if file.rows), key=lambda file: (-bounds[file.path][1], file.path))
    rows: Counter[int] = Counter()
    for at, file in enumerate(left):
        low, high = bounds[file.path]
        if low == high:
            rows[low] += file.rows
        else:
            rows.update(batches.get(file.path) or _batches(table, file))
        # Files that follow may have more of the batches up to this one.
        following = bounds[left[at + 1].path][1] if at + 1 < len(left) else -1
        if sum(count for batch, count in rows.items() if batch > following) >= RECENT_ROWS:
            break
    if not rows:
        return None
    total, first = 0, max(rows)
    for batch in sorted(rows, reverse=True):
        first = batch
        total += rows[batch]
        if total >= RECENT_ROWS:
            break
    recent = tuple(file for file in left if bounds[file.path][1] >= first)
    whole = frozenset(file.path for file in recent if bounds[file.path][0] >= first)
    return _Recent(first, max(rows), recent, whole)


def _bounds(table: Table, file: DataFile, batches: dict[str, Counter[int]]) -> tuple[int, int]:
    """Least and greatest batch in a file: from its statistics, or from the rows where they lack them."""
    low, high = (file.stats.get(which, {}).get(BATCH) for which in ("minValues", "maxValues"))
    if low is None or high is None:
        numbers = batches[file.path] = _batches(table, file)
        return min(numbers), max(numbers)
    return int(low), int(high)


def _batches(table: Table, file: DataFile) -> Counter[int]:
    counts: Counter[int] = Counter()
    with table.storage.opened(f"{table.path}/{file.path}") as opened:
        for piece in pq.ParquetFile(opened).iter_batches(batch_size=_PIECE_ROWS, columns=[BATCH]):
            for one in piece.column(0).value_counts().to_pylist():
                counts[one["values"]] += one["counts"]
    return counts


def _pieces(table: Table, file: DataFile, columns: Sequence[str], memory_bytes: int) -> Iterator[pa.Table]:
    """Rows of a file, so many at once that they take a small part of the memory."""
    packed_bytes = file.size_bytes // max(file.rows, 1)
    row_bytes = max(_VALUE_BYTES * (len(columns) + len(SYSTEM_COLUMNS)), _UNPACKED * packed_bytes)
    rows = max(1, min(_PIECE_ROWS, memory_bytes // _SHARE // row_bytes))
    with table.storage.opened(f"{table.path}/{file.path}") as opened:
        for piece in pq.ParquetFile(opened).iter_batches(
            batch_size=rows, columns=[*SYSTEM_COLUMNS, *columns]
        ):
            yield pa.Table.from_batches([piece])


def _forget(table: Table, view: str, digest: str) -> None:
    """Of earlier versions only so many records are kept, and no profile."""
    folder, now = paths.view_statistics(view, digest), table.version
    names = sorted(table.storage.names(folder))
    records = [name for name in names if name.endswith(".json") and name != "drift.json"]
    profiles = [
        name for name in names if name.endswith((".parquet", ".recent")) and int(name.partition(".")[0]) < now
    ]
    for name in [*records[:-KEPT], *profiles]:
        table.storage.delete(f"{folder}/{name}")
