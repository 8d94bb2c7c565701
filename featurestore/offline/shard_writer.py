"""Rows of a version, in order, become shards: put if absent, each with a record of what stands in it.

Row groups and shards are cut by the number of the row in its part, so that the pieces in which rows come leave no trace.
A shard that has its record is there: whoever goes on after a kill takes it as it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from featurestore.digest import canonical_json
from featurestore.errors import Damaged
from featurestore.failpoint import hit
from featurestore.offline.row_facts import agreements, comparable, rows_without, summaries
from featurestore.profiles.column_summary import ColumnSummary, put_together
from featurestore.resources.model import Model
from featurestore.storage import paths
from featurestore.storage.json_record import read_record
from featurestore.storage.objects import Storage
from featurestore.training.training_manifest import (
    ROW_GROUP_ROWS,
    ColumnRole,
    LabelLeak,
    TrainingColumn,
    TrainingPart,
    TrainingShard,
)


class ShardRecord(Model):
    """A shard, and what stands in it. ``equal``: feature, label, and how many rows show no difference between them."""

    shard: TrainingShard
    earliest_us: int
    latest_us: int
    rows_without_features: int
    summaries: dict[str, ColumnSummary]
    equal: tuple[tuple[str, str, int], ...]

    def to_bytes(self) -> bytes:
        """As it is stored."""
        return canonical_json(self.model_dump(mode="json", by_alias=True))


@dataclass(frozen=True, slots=True)
class _Segment:
    """``rows`` rows from ``low`` on, of what was given, are of shard ``number``, which may be there, and may end then."""

    number: int
    low: int
    rows: int
    is_there: bool
    is_last: bool


class OpenShard:
    """A shard that is being written, and what was seen of it so far."""

    def __init__(
        self, schema: pa.Schema, columns: Sequence[TrainingColumn], pairs: Sequence[tuple[str, str]]
    ) -> None:
        self._schema, self._columns = schema, columns
        self._time = next(column.name for column in columns if column.role is ColumnRole.TIME)
        self._features = [column.name for column in columns if column.role is ColumnRole.FEATURE]
        self._zone = getattr(schema.field(self._time).type, "tz", None)
        self._buffer = pa.BufferOutputStream()
        self._writer = pq.ParquetWriter(
            self._buffer,
            schema,
            version="2.6",
            compression="zstd",
            compression_level=3,
            data_page_version="1.0",
            use_dictionary=True,
            write_statistics=True,
            write_page_index=False,
        )
        self._waiting = schema.empty_table()
        self._groups: list[int] = []
        self._summaries: list[dict[str, ColumnSummary]] = []
        self._ends: list[int] = []
        self._without = 0
        self._equal = dict.fromkeys(pairs, 0)

    @classmethod
    def of(cls, schema: pa.Schema, columns: Sequence[TrainingColumn]) -> OpenShard:
        """One of which each feature may equal any label."""
        return cls(schema, columns, label_pairs(schema, columns))

    def take(self, rows: pa.Table) -> None:
        """Write the row groups that are complete."""
        held = pa.concat_tables([self._waiting, rows.cast(self._schema)])
        while len(held) >= ROW_GROUP_ROWS:
            self._write(held.slice(0, ROW_GROUP_ROWS))
            held = held.slice(ROW_GROUP_ROWS)
        self._waiting = held

    def end(self, path: str) -> tuple[bytes, ShardRecord]:
        """Its bytes, and the record of it."""
        if len(self._waiting):
            self._write(self._waiting)
        self._writer.close()
        data = self._buffer.getvalue().to_pybytes()
        shard = TrainingShard(
            path=path,
            rows=sum(self._groups),
            size_bytes=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
            row_groups=tuple(self._groups),
        )
        return data, ShardRecord(
            shard=shard,
            earliest_us=min(self._ends),
            latest_us=max(self._ends),
            rows_without_features=self._without,
            summaries=put_together(self._summaries),
            equal=tuple((*pair, rows) for pair, rows in sorted(self._equal.items())),
        )

    def _write(self, group: pa.Table) -> None:
        rows = group.combine_chunks()
        self._writer.write_table(rows, row_group_size=ROW_GROUP_ROWS)
        self._groups.append(len(rows))
        self._summaries.append(summaries(rows, self._columns))
        times = rows.column(self._time).cast(pa.timestamp("us", self._zone)).cast(pa.int64()).to_numpy()
        self._ends += [int(times.min()), int(times.max())]
        self._without += rows_without(rows, self._features)
        agreeing = agreements(rows, self._equal)
        self._equal = {pair: self._equal[pair] + number for pair, number in agreeing.items()}


class PartShards:
    """The shards of one part: which rows are of which, and which are there. ``shard_rows``: of all but the last."""

    def __init__(self, storage: Storage, folder: str, part: str, shard_rows: int) -> None:
        self._storage, self._folder, self._part = storage, folder, part
        self._shard_rows = shard_rows
        self._records: dict[int, ShardRecord] = {}
        self._number, self._at = -1, 0

    @property
    def records(self) -> list[ShardRecord]:
        """Of all shards so far, in their order."""
        return [self._records[number] for number in sorted(self._records)]

    def part(self) -> TrainingPart:
        """What stands in all of its shards."""
        return part_of(self._part, self.records)

    def missing(self, labels: pa.Table) -> pa.Table:
        """Of the next rows of the part those whose shards are not there. Who adds them counts for itself."""
        wanted = [
            labels.slice(segment.low, segment.rows)
            for segment in self._segments(len(labels))
            if not segment.is_there
        ]
        return pa.concat_tables([labels.slice(0, 0), *wanted])

    def add(self, labels: pa.Table) -> None:
        """The next rows of the part. Those of shards that are there are not joined.

        Raises:
            Damaged: what is in storage is not what this version makes.
            FeatureStoreError: what the join raises.
        """
        raise NotImplementedError

    def finish(self) -> None:
        """No more rows come.

        Raises:
            Damaged: the last shard that is there has other rows than this version makes.
        """
        if self._number < 0:
            return
        if self._at and self._number not in self._records:
            self._end_shard(self._number)
        self._await()
        last, wanted = self._records[self._number].shard, self._at or self._shard_rows
        if last.rows != wanted:
            raise Damaged(
                "a shard does not have the rows that its version makes",
                where=self._storage.uri(f"{self._folder}/{last.path}"),
                wanted=str(wanted),
                got=str(last.rows),
                hint="Delete it and its record: the next run writes them again",
            )

    def _end_shard(self, number: int) -> None:
        raise NotImplementedError

    def _await(self) -> None:
        """All shards have their records."""

    def _segments(self, rows: int) -> Iterator[_Segment]:
        """The next rows, shard by shard."""
        low = 0
        while low < rows:
            if not self._at:
                self._number += 1
                self._find()
            length = min(rows - low, self._shard_rows - self._at)
            self._at = (self._at + length) % self._shard_rows
            is_there = self._number in self._records
            yield _Segment(self._number, low, length, is_there, not self._at)
            low += length

    def _find(self) -> None:
        """Take the shard as it is, if it is there already."""
        path = f"{self._folder}/{paths.shard_record(self._part, self._number)}"
        record = read_shard_record(self._storage, path)
        if record is not None:
            self._records[self._number] = record


class ShardWriter(PartShards):
    """Writes the shards of one part. ``columns``: of every shard, in their order.

    ``join``: rows of labels with their features.
    """

    def __init__(
        self,
        storage: Storage,
        folder: str,
        part: str,
        columns: Sequence[TrainingColumn],
        schema: pa.Schema,
        shard_rows: int,
        join: Callable[[pa.Table], pa.Table],
    ) -> None:
        super().__init__(storage, folder, part, shard_rows)
        self._columns, self._schema, self._join = columns, schema, join
        self._pairs = label_pairs(schema, columns)
        self._open: OpenShard | None = None

    def add(self, labels: pa.Table) -> None:
        segments = list(self._segments(len(labels)))
        wanted = [labels.slice(segment.low, segment.rows) for segment in segments if not segment.is_there]
        joined = self._join(pa.concat_tables(wanted)) if wanted else None
        taken = 0
        for segment in segments:
            if joined is not None and not segment.is_there:
                self._open = self._open or OpenShard(self._schema, self._columns, self._pairs)
                self._open.take(joined.slice(taken, segment.rows))
                taken += segment.rows
                if segment.is_last:
                    self._end_shard(segment.number)

    def _end_shard(self, number: int) -> None:
        assert self._open is not None
        self._records[number] = keep_shard(self._storage, self._folder, self._part, number, self._open)
        self._open = None


def keep_shard(storage: Storage, folder: str, part: str, number: int, shard: OpenShard) -> ShardRecord:
    """The record of a shard that ends here, put where readers and later runs find both.

    Raises:
        Damaged: another file has its name.
        StorageError: storage did not answer.
    """
    path = paths.shard(part, number)
    data, record = shard.end(path)
    if not storage.put_if_absent(f"{folder}/{path}", data) and storage.read(f"{folder}/{path}") != data:
        raise Damaged(
            "a shard is not what its version makes",
            where=storage.uri(f"{folder}/{path}"),
            hint="Delete it: the next run writes it again",
        )
    hit("after-shard-training")
    storage.put_if_absent(f"{folder}/{paths.shard_record(part, number)}", record.to_bytes())
    hit("after-record-training")
    return record


def part_of(name: str, records: Sequence[ShardRecord]) -> TrainingPart:
    """What stands in these shards."""
    summaries = put_together([record.summaries for record in records])
    return TrainingPart(
        name=name,
        rows=sum(record.shard.rows for record in records),
        size_bytes=sum(record.shard.size_bytes for record in records),
        shards=tuple(record.shard for record in records),
        earliest_us=min((record.earliest_us for record in records), default=None),
        latest_us=max((record.latest_us for record in records), default=None),
        rows_without_features=sum(record.rows_without_features for record in records),
        statistics={name: summary.statistics() for name, summary in summaries.items()},
    )


def read_shard_record(storage: Storage, path: str) -> ShardRecord | None:
    """The record at a path; None if there is none.

    Raises:
        StorageError: storage did not answer.
    """
    hint = f"Delete {storage.uri(path)}: the next run writes it again"
    return read_record(storage, path, ShardRecord, "the record of a shard", hint)


def label_pairs(schema: pa.Schema, columns: Sequence[TrainingColumn]) -> list[tuple[str, str]]:
    """Each feature with each label that it may equal."""
    labels = [column.name for column in columns if column.role is ColumnRole.LABEL]
    return [
        (column.name, label)
        for column in columns
        if column.role is ColumnRole.FEATURE
        for label in labels
        if comparable(schema.field(column.name).type, schema.field(label).type)
    ]


def leaks(records: Sequence[ShardRecord]) -> Iterator[LabelLeak]:
    """Features that are equal to a label wherever both have a value."""
    if not records:
        return
    equal = {(feature, label): rows for feature, label, rows in records[0].equal}
    for record in records[1:]:
        here = {(feature, label): rows for feature, label, rows in record.equal}
        equal = {pair: rows + here[pair] for pair, rows in equal.items() if pair in here}
    for (feature, label), rows in sorted(equal.items()):
        if rows:
            yield LabelLeak(feature=feature, label=label, rows=rows)
