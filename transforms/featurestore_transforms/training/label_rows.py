"""The labels of a version, a piece at a time: columns that are wanted, rows that count, and what identifies each.

Of a dataset, a row is identified for ever by batch, file and row. Of files it is the place of the file among those
that are pinned, sorted, and the row in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from featurestore.errors import NotFound, SpecError, StorageError, did_you_mean
from featurestore.expressions.run.program import compile_condition
from featurestore.resources.location import locate
from featurestore.resources.training_set import Labels
from featurestore.storage import paths
from featurestore.storage.credentials import source_environ
from featurestore.storage.delta import BATCH, FILE, ROW, SYSTEM_COLUMNS, Table
from featurestore.storage.filesystem import answering, open_file
from featurestore.storage.objects import Storage
from featurestore.training.training_manifest import PinnedLabels
from featurestore.views.schema import plain_type
from featurestore_transforms.training.pin import delta_labels

_ROWS = 65_536
IDENTITY = pa.schema([pa.field(BATCH, pa.int64()), pa.field(FILE, pa.int32()), pa.field(ROW, pa.int64())])


@dataclass(frozen=True, slots=True)
class LabelRows:
    """Rows that count of a piece: ``table[<wanted columns>, __batch, __file, __row]``.

    ``unknown``: rows of which the filter cannot be computed, or whose keys were erased: they do not count.
    """

    table: pa.Table
    unknown: int = 0


class LabelSource:
    """The labels that are pinned. ``names``: the columns that are wanted. ``erased``: which rows are of erased keys.

    Raises:
        SpecError: a column is not there, or of a type that no training set has.
        StorageError: storage did not answer.
    """

    def __init__(
        self,
        storage: Storage,
        labels: Labels,
        pinned: PinnedLabels,
        base: str,
        names: Sequence[str],
        erased: Callable[[pa.Table], pl.Series],
    ) -> None:
        self._erased = erased
        self._labels, self._pinned, self._base = labels, pinned, base
        self._storage, self._table = storage, self._opened(storage)
        self._partitions = self._table.partitions() if self._table is not None else {}
        known = self._read_schema()
        self._known = pa.schema([pa.field(field.name, plain_type(field.type)) for field in known])
        missing = [name for name in names if name not in self._known.names]
        if missing:
            raise SpecError(
                f"the labels have no column {missing[0]!r}",
                where="spec.labels",
                wanted=", ".join(names),
                got=", ".join(name for name in self._known.names if name not in SYSTEM_COLUMNS),
                hint=did_you_mean(missing[0], self._known.names),
            )
        self._needed = list(names)
        self.schema = pa.schema([_storable(known.field(name)) for name in names])
        time = self._known.field(labels.timestamp_field).type
        if not (pa.types.is_timestamp(time) or pa.types.is_date(time)):
            raise SpecError(
                f"column {labels.timestamp_field!r} of the labels does not hold times",
                where="spec.labels.timestampField",
                wanted="timestamp or date",
                got=str(time),
            )
        self._condition = None
        if labels.filter is not None:
            types = {
                field.name: pl.Series(pa.nulls(0, field.type)).dtype
                for field in self._known
                if field.name not in SYSTEM_COLUMNS and _is_plain(field.type)
            }
            self._condition = compile_condition(labels.filter, types, "spec.labels.filter")
            self._needed = list(dict.fromkeys([*names, *self._condition.columns]))

    def rows(self) -> Iterator[LabelRows]:
        """All pieces, in no order that matters.

        Raises:
            StorageError: storage did not answer.
        """
        for number, (storage, path, file) in enumerate(self._files()):
            first = 0
            with self._reading(storage, path, file) as parquet:
                names = set(parquet.schema_arrow.names)
                identified = self._table is not None and BATCH in names
                wanted = [*self._needed, *(IDENTITY.names if identified else ())]
                for batch in parquet.iter_batches(
                    _ROWS, columns=[name for name in wanted if name in names], use_threads=False
                ):
                    table = self._typed(
                        pa.Table.from_batches([batch]), wanted, self._partitions.get(file, {})
                    )
                    if not identified:
                        table = _numbered(table, number, first)
                    first += len(batch)
                    yield self._kept(table)

    def _kept(self, table: pa.Table) -> LabelRows:
        unknown = 0
        if self._condition is not None and len(table):
            keep = self._condition
            # A column of its own, since a frame without columns has no rows.
            frame = pl.DataFrame({"": pl.repeat(None, len(table), eager=True)})
            frame = frame.hstack([pl.Series(name, table.column(name)) for name in keep.columns])
            fault = pl.lit(False) if keep.fault is None else keep.fault
            prepared = keep.prepare(frame.lazy()).with_columns(
                keep.value.alias("__keep"), fault.alias("__fault")
            )
            judged = prepared.select("__keep", "__fault").collect()
            unknown = int(judged["__fault"].sum())
            table = table.filter((judged["__keep"] & ~judged["__fault"]).to_arrow())
        wanted = pa.schema([*self.schema, *IDENTITY])
        kept = table.select(wanted.names).cast(wanted)
        gone = self._erased(kept.select(self.schema.names))
        return LabelRows(kept.filter((~gone).to_arrow()) if gone.any() else kept, unknown + int(gone.sum()))

    def _typed(self, table: pa.Table, wanted: Sequence[str], partition: Mapping[str, Any]) -> pa.Table:
        """The columns in the types of the newest schema; one that an older file lacks is null.

        ``partition``: values of the columns that a table's files do not have, as they are the same in all of a file.
        """
        columns = {}
        for name in wanted:
            kind = IDENTITY.field(name).type if name in IDENTITY.names else self._known.field(name).type
            column = table.column(name) if name in table.column_names else None
            if column is None:
                columns[name] = pa.repeat(pa.scalar(partition.get(name), kind), len(table))
            else:
                columns[name] = column.cast(kind)
        return pa.table(columns)

    def _opened(self, storage: Storage) -> Table | None:
        pinned = self._pinned
        if pinned.pipeline:
            table = Table.open(storage, paths.dataset(pinned.pipeline), pinned.version)
            if table is None:
                raise NotFound(f"the pipeline {pinned.pipeline!r} has no dataset any more")
            return table
        return delta_labels(pinned.uri, self._base, pinned.version) if pinned.version is not None else None

    def _files(self) -> Iterator[tuple[Storage | None, str, str]]:
        if self._table is not None:
            for file in sorted(self._table.files(), key=lambda file: file.path):
                yield self._table.storage, f"{self._table.path}/{file.path}", file.path
        for pinned in sorted(self._pinned.files, key=lambda file: file.uri):
            yield None, locate(pinned.uri, self._base), pinned.uri

    def _read_schema(self) -> pa.Schema:
        if self._table is not None:
            return self._table.schema
        storage, path, name = next(self._files())
        with self._reading(storage, path, name) as parquet:
            return parquet.schema_arrow

    @contextmanager
    def _reading(self, storage: Storage | None, path: str, name: str) -> Iterator[pq.ParquetFile]:
        with answering("a file of labels cannot be read", path):
            opened: Any = storage.opened(path) if storage is not None else open_file(path, source_environ())
            with opened as file:
                try:
                    yield pq.ParquetFile(file)
                except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
                    raise StorageError(
                        "a file of labels cannot be read", where=name, got=str(error)
                    ) from error


def _numbered(table: pa.Table, file: int, first: int) -> pa.Table:
    count = len(table)
    return (
        table.append_column(BATCH, pa.repeat(pa.scalar(0, pa.int64()), count))
        .append_column(FILE, pa.repeat(pa.scalar(file, pa.int32()), count))
        .append_column(ROW, pa.array(range(first, first + count), pa.int64()))
    )


def _is_plain(kind: pa.DataType) -> bool:
    checks = (
        *(pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_string),
        *(pa.types.is_binary, pa.types.is_date32, pa.types.is_timestamp, pa.types.is_decimal128),
    )
    return any(check(kind) for check in checks)


def _storable(field: pa.Field) -> pa.Field:
    kind = plain_type(field.type)
    if not _is_plain(kind.value_type if pa.types.is_list(kind) else kind):
        raise SpecError(
            f"column {field.name!r} of the labels is of a type that a training set cannot have",
            where="spec.labels",
            wanted="numbers, texts, truth values, dates, times, bytes, or lists of these",
            got=str(field.type),
        )
    return pa.field(field.name, kind)
