"""What the rows of a table look like, piece by piece: sums, distinct values, and a sample of rows.

Whatever the order and the pieces, the same rows give the same profile, bit by bit. Sums are exact. The sample are the rows
with the least hashes of their identity: as good as drawn by chance, and two samples make the sample of all. A quantile of
``n`` sampled rows has a rank that is off by ``0.5 / sqrt(n)`` at most (one standard error): 1.1 % of 2,048 rows.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from featurestore.arrays import arrow_flags, numbers
from featurestore.hashing import Hashes, combined
from featurestore.profiles.column_statistics import CommonValue, ProfiledColumn
from featurestore.profiles.column_summary import (
    PIECE,
    ColumnSummary,
    array_of,
    put_together,
    summary,
    time_text,
)
from featurestore.profiles.distinct_sketch import NO_HASHES, estimate, least, value_hashes

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
COMMON = 10
_MOST_ROWS, _LEAST_ROWS, _MOST_SAMPLED = 2048, 256, 1 << 18
_LONGEST = 80
"""Characters of a text, or bytes, that a sample keeps."""
_PRIORITY = "__priority"
_META = b"profile"


class TableProfile:
    """Of the rows seen so far. ``identity``: columns that no two rows have in common. ``columns``: what is profiled."""

    def __init__(self, identity: Sequence[str], columns: Sequence[str]) -> None:
        self._identity, self.columns = tuple(identity), tuple(columns)
        self._most = min(_MOST_ROWS, max(_LEAST_ROWS, _MOST_SAMPLED // max(1, len(columns))))
        self.rows = 0
        self._summaries: dict[str, ColumnSummary] = {}
        self._hashes: dict[str, Hashes] = dict.fromkeys(columns, NO_HASHES)
        self._sample: pa.Table | None = None

    def add(self, rows: pa.Table) -> None:
        """More rows, with the columns of the identity and of the profile."""
        if not len(rows):
            return
        self.rows += len(rows)
        here: dict[str, ColumnSummary] = {}
        for name in self.columns:
            column = array_of(rows.column(name))
            known = self._summaries.get(name)
            here[name] = summary(column, counts_values=known is None or known.values is not None)
            if not pa.types.is_nested(column.type):
                present = column.drop_null()
                for at in range(0, len(present), PIECE):
                    hashes = value_hashes(present.slice(at, PIECE))
                    self._hashes[name] = least(self._hashes[name], hashes)
        self._summaries = put_together([self._summaries, here]) if self._summaries else here
        priority = combined(numbers(rows.column(name)).astype(np.uint64) for name in self._identity)
        self._keep(rows.append_column(_PRIORITY, _priorities(priority)))

    def merge(self, other: TableProfile) -> None:
        """Also the rows of another profile, of the same columns."""
        if not other.rows:
            return
        self.rows += other.rows
        mine, theirs = self._summaries, other._summaries
        self._summaries = put_together([mine, theirs]) if mine else theirs
        self._hashes = {name: least(self._hashes[name], other._hashes[name]) for name in self.columns}
        if other._sample is not None:
            self._keep(other._sample)

    def _keep(self, rows: pa.Table) -> None:
        """The sampled rows, now that these may be among them."""
        priorities, limit = numbers(rows.column(_PRIORITY)), None
        if self._sample is not None and len(self._sample) >= self._most:
            limit = numbers(self._sample.column(_PRIORITY))[-1]
        elif len(rows) > self._most:
            limit = np.partition(priorities, self._most - 1)[self._most - 1]
        if limit is not None:
            rows = pc.filter(rows, arrow_flags(priorities <= limit))
        if not len(rows):
            return
        names = (_PRIORITY, *self._identity, *self.columns)
        rows = _shortened(rows.select([name for name in names if name in rows.column_names]))
        both = (
            rows if self._sample is None else pa.concat_tables([self._sample, rows.cast(self._sample.schema)])
        )
        order = [(name, "ascending") for name in (_PRIORITY, *self._identity)]
        self._sample = both.take(pc.sort_indices(both, sort_keys=order)[: self._most]).combine_chunks()

    def sampled(self, name: str) -> pa.Array:
        """The values of a column in the sampled rows that have one; nothing of lists."""
        if self._sample is None or name not in self._sample.column_names:
            return pa.nulls(0)
        return array_of(self._sample.column(name)).drop_null()

    def summary_of(self, name: str) -> ColumnSummary:
        """Counts and sums of a column."""
        return self._summaries.get(name, ColumnSummary())

    def statistics(self) -> dict[str, ProfiledColumn]:
        """As people read it, by column."""
        return {name: self._column(name) for name in self.columns}

    def _column(self, name: str) -> ProfiledColumn:
        summary = self.summary_of(name)
        values = self.sampled(name)
        nested = summary.count > summary.nulls and not len(self._hashes[name])
        return ProfiledColumn(
            **summary.statistics().model_dump(),
            sampled=len(self._sample) if self._sample is not None else 0,
            quantiles=_quantiles(values),
            distinct=None if nested else estimate(self._hashes[name]),
            common=_common(values),
        )

    def to_bytes(self) -> bytes:
        """As it is kept, to be put together with others."""
        sample = (
            self._sample if self._sample is not None else pa.schema([(_PRIORITY, pa.uint64())]).empty_table()
        )
        header = {
            "rows": self.rows,
            "identity": self._identity,
            "columns": self.columns,
            "summaries": {name: summary.model_dump(mode="json") for name, summary in self._summaries.items()},
            "hashes": {
                name: base64.b64encode(hashes.tobytes()).decode() for name, hashes in self._hashes.items()
            },
        }
        meta = {_META: json.dumps(header, separators=(",", ":")).encode()}
        buffer = pa.BufferOutputStream()
        pq.write_table(sample.replace_schema_metadata(meta), buffer, compression="zstd")
        data: bytes = buffer.getvalue().to_pybytes()
        return data

    @classmethod
    def from_bytes(cls, data: bytes) -> TableProfile:
        """What was kept.

        Raises:
            ValueError: it is not the bytes of a profile.
        """
        table = pq.ParquetFile(pa.BufferReader(data)).read()
        header = json.loads(table.schema.metadata[_META])
        profile = cls(header["identity"], header["columns"])
        profile.rows = header["rows"]
        profile._summaries = {
            name: ColumnSummary.model_validate(summary) for name, summary in header["summaries"].items()
        }
        profile._hashes = {
            name: np.frombuffer(base64.b64decode(encoded), np.uint64)
            for name, encoded in header["hashes"].items()
        }
        profile._sample = table.replace_schema_metadata(None) if len(table) else None
        return profile


def _priorities(hashes: Hashes) -> pa.Array:
    """As an array: pa.array() would load pandas, to ask whether this is one of its series."""
    return pa.Array.from_buffers(pa.uint64(), len(hashes), [None, pa.py_buffer(np.ascontiguousarray(hashes))])


def _shortened(rows: pa.Table) -> pa.Table:
    """Without lists, and with the beginning of what is long."""
    columns: dict[str, Any] = {}
    for field in rows.schema:
        column = rows.column(field.name)
        if pa.types.is_string(field.type) or pa.types.is_large_string(field.type):
            columns[field.name] = pc.utf8_slice_codeunits(column, 0, _LONGEST).cast(pa.string())
        elif pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type):
            columns[field.name] = pc.binary_slice(column, 0, _LONGEST).cast(pa.binary())
        elif not pa.types.is_nested(field.type):
            columns[field.name] = column
    return pa.Table.from_arrays(list(columns.values()), list(columns))  # pa.table() would load pandas


def _quantiles(values: pa.Array) -> dict[str, Any] | None:
    """Of numbers and times: the least value that so many are not greater than."""
    kind = values.type
    timed = pa.types.is_temporal(kind)
    if not (timed or pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        return None
    ordered = np.sort(_numbers(values))
    ordered = ordered[np.isfinite(ordered)] if pa.types.is_floating(kind) else ordered
    if not len(ordered):
        return None
    at = [max(0, int(np.ceil(q * len(ordered))) - 1) for q in QUANTILES]
    quantiles = ordered[at].tolist()
    if timed:
        unit = "M8[D]" if pa.types.is_date32(kind) else f"M8[{kind.unit}]"
        quantiles = [_time(value) for value in ordered[at].astype(unit)]
    return dict(zip(map(str, QUANTILES), quantiles, strict=True))


def _time(value: Any) -> str:
    """As :func:`time_text` has it. A day of any year has no time in microseconds."""
    text = str(value)
    return text if "T" in text else f"{text}T00:00:00.000000"


def _numbers(values: pa.Array) -> Any:
    if pa.types.is_temporal(values.type):
        values = values.cast(pa.int32() if pa.types.is_date32(values.type) else pa.int64())
    return numbers(values)


def _common(values: pa.Array) -> tuple[CommonValue, ...]:
    """The values that several rows have, the most frequent first; of equal ones the least first."""
    if not len(values):
        return ()
    counted = values.value_counts()
    counts = numbers(counted.field("counts"))
    often = np.flatnonzero(counts > 1) if len(values) > COMMON else np.arange(len(counts))
    shown = [(int(counts[at]), _shown(counted.field("values")[int(at)])) for at in often]
    shown.sort(key=lambda pair: (-pair[0], str(pair[1])))
    return tuple(CommonValue(value=value, rows=rows) for rows, value in shown[:COMMON])


def _shown(value: pa.Scalar) -> Any:
    """As JSON has it."""
    kind = value.type
    if pa.types.is_temporal(kind):
        return time_text(value)
    plain = value.as_py()
    if isinstance(plain, bytes):
        return plain.hex()
    return str(plain) if isinstance(plain, float) and not np.isfinite(plain) else plain


def profile_of(rows: pa.Table, identity: Sequence[str], columns: Sequence[str]) -> TableProfile:
    """The profile of these rows alone."""
    profile = TableProfile(identity, columns)
    profile.add(rows)
    return profile
