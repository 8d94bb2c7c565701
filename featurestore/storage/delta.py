"""A Delta table with exactly-once commits: the number of a batch is committed with its rows or not at all.

Rows of every table carry three system columns, which identify a row for ever:
``__batch: int64`` (number of the batch), ``__file: int32`` (index of the arrival in its manifest) and
``__row: int64`` (row within the file; of the file's rows after ``sql`` and ``python`` steps).
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from featurestore.errors import Conflict, StorageError
from featurestore.storage.objects import Storage

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import DeltaTable

_COMMIT = re.compile(r"[0-9]{20}\.json")
_KEPT = 16
"""So many versions of a storage's tables are kept open."""
_NEWEST = 2
"""Of one table: the newest, and the one before, which its readers have got to. Each holds the whole log of its table."""
_FEW = 1_000
"""Of a version with more data files, these are asked for again: each takes a kilobyte."""
BATCH, FILE, ROW = "__batch", "__file", "__row"
SYSTEM_COLUMNS = (BATCH, FILE, ROW)
_CONFIGURATION = {
    # Each look at a table reads all commits since its last checkpoint, and a batch takes some ten looks.
    "delta.checkpointInterval": "10",
    # Else statistics are read of the first 32 columns only, and ``__batch`` stands last.
    "delta.dataSkippingNumIndexedCols": "-1",
    # Else commits are forgotten after 30 days: what each row was made of, and what a view that slept has missed.
    "delta.enableExpiredLogCleanup": "false",
}


@dataclass(frozen=True, slots=True)
class DataFile:
    """A Parquet file of the table. ``path`` is relative to it; ``stats`` are Delta's statistics."""

    path: str
    size_bytes: int
    rows: int
    stats: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Changes:
    """Data files that were added and removed between two versions. A row that is in both has not changed."""

    added: tuple[DataFile, ...]
    removed: tuple[DataFile, ...]


class Table:
    """One version of a Delta table below a storage root."""

    def __init__(
        self,
        storage: Storage,
        path: str,
        delta: DeltaTable,
        answers: _Answers | None = None,
    ) -> None:
        self.storage = storage
        self.path = path
        self._delta = delta
        self._planned: pa.Schema | None = None
        self._answers = answers or _Answers()

    @classmethod
    def open(cls, storage: Storage, path: str, version: int | None = None) -> Table | None:
        """The table at a version (else its newest), or None if there is no table.

        If it was opened in this storage and nothing was committed since, one listing tells that, and it is not read again.

        Raises:
            StorageError: storage did not answer, or the version is gone.
        """
        known = _Kept.find(storage, path, version)
        if known is not None:
            return known
        table = cls._read(storage, path, version)
        if table is not None:
            _Kept.keep(table)
        return table

    @classmethod
    def _read(cls, storage: Storage, path: str, version: int | None = None) -> Table | None:
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError, TableNotFoundError

        try:
            options = storage.delta_options
            return cls(storage, path, DeltaTable(storage.uri(path), version=version, storage_options=options))
        except TableNotFoundError as error:
            # Said also of a version that is gone, and of a folder that must not be read.
            if not storage.names(f"{path}/_delta_log"):
                return None
            raise StorageError(
                "the table's version cannot be read",
                where=storage.uri(path),
                wanted="the newest" if version is None else str(version),
                got=str(error),
            ) from error
        except (DeltaError, OSError) as error:
            raise StorageError("the table cannot be read", where=storage.uri(path), got=str(error)) from error

    @classmethod
    def create(cls, storage: Storage, path: str, schema: pa.Schema) -> Table:
        """The newest version of the table; it is created with this schema if there is none."""
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError

        table = cls.open(storage, path)
        if table is None:
            try:
                DeltaTable.create(
                    storage.uri(path),
                    schema=schema,
                    mode="ignore",
                    configuration=_CONFIGURATION,
                    storage_options=storage.delta_options,
                )
            except (DeltaError, OSError) as error:
                raise StorageError(
                    "the table cannot be created", where=storage.uri(path), got=str(error)
                ) from error
            table = cls.open(storage, path)
        if table is None:
            raise StorageError("the table was created, but it cannot be found", where=storage.uri(path))
        return table

    @property
    def version(self) -> int:
        return self._delta.version()

    @property
    def schema(self) -> pa.Schema:
        """Arrow schema: strings as ``string``, times as ``timestamp[us, UTC]``."""
        import pyarrow as pa

        return self._planned or pa.schema(self._delta.schema().to_arrow())

    @property
    def identity(self) -> str:
        """Names the table for ever: another one at the same place has another."""
        return str(self._delta.metadata().id)

    @property
    def reader_features(self) -> tuple[str, ...]:
        """What a reader of its files has to know besides Parquet."""
        protocol = self._delta.protocol()
        named = tuple(protocol.reader_features or ())
        return ("columnMapping", *named) if protocol.min_reader_version == 2 else named

    def partitions(self) -> dict[str, dict[str, Any]]:
        """Path of each file to its values of the columns that the table is partitioned by: files do not have them."""
        return {unquote(action["path"]): action.get("partition") or {} for action in self._actions()}

    def planned(self, schema: pa.Schema) -> Table:
        """The table as if it had this schema: for data files that are written before the commit that brings it."""
        table = Table(self.storage, self.path, self._delta, self._answers)
        table._planned = schema
        return table

    def committed(self, app_id: str) -> int:
        """The greatest batch number that this application committed; 0 if none."""
        known = self._answers.committed
        if app_id not in known:
            with self._reading():
                known[app_id] = self._delta.transaction_version(app_id) or 0
        return known[app_id]

    def files(self) -> list[DataFile]:
        """The data files of this version."""
        if self._answers.files is not None:
            return list(self._answers.files)
        files = [_data_file(action) for action in self._actions()]
        if len(files) <= _FEW:
            known = _Kept.files(self.storage, self.path)
            files = [known[file.path] if known.get(file.path) == file else file for file in files]
            self._answers.files = tuple(files)
        return files

    def uris(self) -> list[str]:
        """What Polars, pyarrow and DuckDB open to read this version."""
        return [self.storage.uri(f"{self.path}/{file.path}") for file in self.files()]

    def changes(self, since: int | None) -> Changes:
        """Files that came and went after version ``since`` (None: all of this version came).

        Raises:
            StorageError: version ``since`` cannot be read any more.
        """
        now = {file.path: file for file in self.files()}
        if since is None:
            return Changes(tuple(now.values()), ())
        then = Table.open(self.storage, self.path, since)
        if then is None:
            raise StorageError("the table is gone", where=self.storage.uri(self.path))
        before = {file.path: file for file in then.files()}
        return Changes(
            added=tuple(file for path, file in now.items() if path not in before),
            removed=tuple(file for path, file in before.items() if path not in now),
        )

    def add_columns(self, schema: pa.Schema) -> Table:
        """The table with those columns, and fields of structs, of ``schema`` that it lacked, all nullable.

        Repeating it does nothing.
        """
        import pyarrow as pa
        from deltalake import Schema
        from deltalake.exceptions import DeltaError

        known = {field.name: field.type for field in self.schema}
        missing = [
            field
            for field in schema
            if field.name not in known or (pa.types.is_nested(field.type) and field.type != known[field.name])
        ]
        if not missing:
            return self
        # It changes the handle, which others may have.
        own = self._read(self.storage, self.path, self.version)
        if own is None:
            raise StorageError("the table is gone", where=self.storage.uri(self.path))
        try:
            own._delta.alter.add_columns(list(Schema.from_arrow(pa.schema(missing)).fields))
        except DeltaError as error:
            raise Conflict("another writer changed the table", where=self.path, got=str(error)) from error
        return self._newest()

    def commit(
        self,
        *,
        app_id: str,
        number: int,
        add: Sequence[DataFile] = (),
        remove: Sequence[DataFile] = (),
        metadata: Mapping[str, str],
        also: Iterable[tuple[str, int]] = (),
        schema: pa.Schema | None = None,
    ) -> Table:
        """The table after one atomic commit of files and the application transaction ``(app_id, number)``.

        ``number`` must be greater than ``committed(app_id)`` of this version: look before you commit.
        ``also``: transactions of other applications; if one of these commits meanwhile, this commit fails.
        ``schema``: all files that were there are removed, and this is the table's schema from now on.

        Raises:
            Conflict: another writer committed this application's transaction, or removed one of the files,
                since this version. Open the table again and look.
        """
        from deltalake import CommitProperties, Schema, Transaction
        from deltalake.exceptions import CommitFailedError, DeltaError
        from deltalake.transaction import AddAction, RemoveAction

        if number <= self.committed(app_id):
            raise Conflict("this batch is committed", where=self.path, got=f"{app_id} {number}")
        now_ms = time.time_ns() // 1_000_000
        actions: list[AddAction | RemoveAction] = [
            AddAction(
                path=file.path,
                size=file.size_bytes,
                partition_values={},
                modification_time=now_ms,
                data_change=True,
                stats=json.dumps(dict(file.stats)),
            )
            for file in add
        ]
        actions += [RemoveAction(file.path, True, now_ms, file.size_bytes, {}) for file in remove]
        # Never a smaller number than is there.
        others = [Transaction(other, max(least, self.committed(other))) for other, least in also]
        try:
            self._delta.create_write_transaction(
                actions=actions,
                mode="append" if schema is None else "overwrite",
                schema=self._delta.schema() if schema is None else Schema.from_arrow(schema),
                commit_properties=CommitProperties(
                    custom_metadata=dict(metadata),
                    app_transactions=[Transaction(app_id, number), *others],
                ),
            )
        except CommitFailedError as error:
            raise Conflict("another writer was first", where=self.path, got=str(error)) from error
        except (DeltaError, OSError) as error:
            raise StorageError("the commit failed", where=self.path, got=str(error)) from error
        return self._newest()

    def history(self, limit: int | None = None) -> list[dict[str, Any]]:
        """Commits, the newest first, with the metadata that each was given."""
        with self._reading():
            return self._delta.history(limit)

    def checkpoint(self) -> None:
        """Write what this version is into one file, so that no commit before it is read for that.

        Raises:
            StorageError: storage did not take it.
        """
        with self._reading():
            self._delta.create_checkpoint()

    def _newest(self) -> Table:
        table = Table._read(self.storage, self.path)
        if table is None:
            raise StorageError("the table is gone", where=self.storage.uri(self.path))
        _Kept.keep(table)
        return table

    def _actions(self) -> list[dict[str, Any]]:
        import pyarrow as pa

        with self._reading():
            actions = self._delta.get_add_actions(flatten=False)
        # pa.table() would load pandas, to ask whether this is one of its frames.
        columns = pa.RecordBatchReader.from_stream(actions).read_all()
        bounds = [name for name in ("min", "max") if name in columns.column_names]
        rows: list[dict[str, Any]] = columns.drop_columns(bounds).to_pylist()
        for bound in bounds:
            for row, values in zip(rows, _values(columns[bound]), strict=True):
                row[bound] = values
        return rows

    @contextmanager
    def _reading(self) -> Iterator[None]:
        # An open table may still read its log.
        from deltalake.exceptions import DeltaError

        try:
            yield
        except (DeltaError, OSError) as error:
            raise StorageError(
                "the table cannot be read", where=self.storage.uri(self.path), got=str(error)
            ) from error


@dataclass(slots=True)
class _Answers:
    """What was asked of a version before: delta-rs reads all commits since the last checkpoint for each answer.

    ``committed``: application to the number of its last transaction. ``files``: while they are few.
    """

    committed: dict[str, int] = field(default_factory=dict)
    files: tuple[DataFile, ...] | None = None


@dataclass(frozen=True, slots=True)
class _Kept:
    """A version that was read, and what its log was then: a table in the place of one that was deleted has another.

    ``checkpoint``: the last one that there was. Once there is a later one, commits that are read late may be gone.
    """

    table: Table
    version: int
    commit: str
    checkpoint: str | None

    @classmethod
    def keep(cls, table: Table) -> None:
        version, kept = table.version, table.storage.kept
        commits, checkpoint = _log(table.storage, table.path, version)
        kept.pop((table.path, version), None)
        if version in commits:
            kept[table.path, version] = cls(table, version, commits[version], checkpoint)
        # Other threads open tables, too.
        earlier = sorted(of for at, of in list(kept) if at == table.path)[:-_NEWEST]
        of_one = [(table.path, of) for of in earlier if of != version]
        for oldest in [*of_one, *list(kept)[:-_KEPT]]:
            kept.pop(oldest, None)

    @classmethod
    def files(cls, storage: Storage, path: str) -> dict[str, DataFile]:
        """The data files that were asked for of versions of this table: what these have in common is held once."""
        kept: list[_Kept] = [known for (at, _), known in list(storage.kept.items()) if at == path]
        return {file.path: file for known in kept for file in known.table._answers.files or ()}

    @classmethod
    def find(cls, storage: Storage, path: str, version: int | None) -> Table | None:
        """What would be read; None if it has to be."""
        read = [of for at, of in list(storage.kept) if at == path]
        known: _Kept | None = storage.kept.get((path, max(read, default=-1) if version is None else version))
        if known is None:
            return None
        commits, checkpoint = _log(storage, path, known.version)
        if (commits.get(known.version), checkpoint) != (known.commit, known.checkpoint):
            storage.kept.pop((path, known.version), None)
            return None
        if version is None and len(commits) > 1:
            return None
        return Table(storage, path, known.table._delta, known.table._answers)


def _log(storage: Storage, path: str, version: int) -> tuple[dict[int, str], str | None]:
    """The commits from a version on, and the last checkpoint, with what tells their files from others."""
    marks = storage.since(f"{path}/_delta_log", f"{version:020}.json")
    commits = {int(name[:20]): mark for name, mark in marks.items() if _COMMIT.fullmatch(name)}
    return commits, marks.get("_last_checkpoint")


def _values(structs: pa.ChunkedArray) -> list[dict[str, Any] | None]:
    """The structs as dicts. Zoned times are made by hand, because pyarrow would load pandas for them."""
    import pyarrow as pa

    zoned = [field.name for field in structs.type if pa.types.is_timestamp(field.type) and field.type.tz]
    fields = [field.with_type(pa.timestamp("us")) if field.name in zoned else field for field in structs.type]
    rows: list[dict[str, Any] | None] = structs.cast(pa.struct(fields)).to_pylist()
    for row in rows:
        for name in zoned:
            if row is not None and row[name] is not None:
                row[name] = row[name].replace(tzinfo=UTC)
    return rows


def _data_file(action: Mapping[str, Any]) -> DataFile:
    rows = action.get("num_records") or 0
    stats = {
        "numRecords": rows,
        "minValues": action.get("min") or {},
        "maxValues": action.get("max") or {},
        "nullCount": action.get("null_count") or {},
    }
    return DataFile(unquote(action["path"]), action["size_bytes"], rows, stats)
