"""How a value of each type of PostgreSQL is read: what is selected for it, and which values have no place.

| PostgreSQL | read as |
|---|---|
| boolean, smallint, integer, bigint, real, double precision, bytea | the same |
| date, timestamp, timestamptz | the same; infinite ones and those beyond the years 1 to 9999 have no place |
| numeric(p, s) to 38 digits | decimal; NaN has no place |
| arrays of one dimension of boolean, smallint, integer, bigint, real, double precision | lists; of other types: lists of texts |
| all others, numeric without digits among them | their text |
"""

from __future__ import annotations

from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from featurestore.arrivals.sql.database import SqlColumn, quoted
from featurestore_transforms.sources.arrow_types import DIGITS

_BOOL, _BYTEA, _INT8, _INT2, _INT4, _FLOAT4, _FLOAT8 = 16, 17, 20, 21, 23, 700, 701
_DATE, _TIMESTAMP, _TIMESTAMPTZ, _NUMERIC = 1082, 1114, 1184, 1700
INTEGERS = (_INT2, _INT4, _INT8)
_AS_THEY_ARE = (_BOOL, *INTEGERS, _FLOAT4, _FLOAT8)
_TIMES = {_DATE: "date", _TIMESTAMP: "timestamp", _TIMESTAMPTZ: "timestamptz"}


class SelectedColumn(NamedTuple):
    """``value``: what to select. ``odd``: condition of values that have no place, and ``why``; empty if all have one.

    ``decimal``: the type that its texts are of.
    """

    value: str
    odd: str = ""
    why: str = ""
    decimal: pa.DataType | None = None

    @property
    def taken(self) -> str:
        """The value, or null if it has no place."""
        return f"CASE WHEN {self.odd} THEN NULL ELSE {self.value} END" if self.odd else self.value


def selected(column: SqlColumn) -> SelectedColumn:
    """How a column is selected."""
    own = f"r.{quoted(column.name)}"
    if column.oid in (*_AS_THEY_ARE, _BYTEA):
        return SelectedColumn(own)
    if column.oid in _TIMES:
        kind = _TIMES[column.oid]
        odd = f"{own} < {kind} '0001-01-01' OR {own} >= {kind} '10000-01-01'"
        return SelectedColumn(own, odd, "a time that is infinite, or beyond the years 1 to 9999")
    if column.oid == _NUMERIC and column.precision is not None and column.precision <= DIGITS:
        decimal = _decimal(column.precision, column.scale or 0)
        if decimal is not None:
            odd = f"{own}::text IN ('NaN', 'Infinity', '-Infinity')"
            return SelectedColumn(f"{own}::text", odd, "a number that is none, or infinite", decimal)
    if column.element:
        value = own if column.element in _AS_THEY_ARE else f"{own}::text[]"
        return SelectedColumn(value, f"array_ndims({own}) > 1", "an array of more than one dimension")
    return SelectedColumn(f"{own}::text")


def typed(values: pa.Array, column: SelectedColumn) -> pa.Array:
    """The values in the type that they are read as, without what a driver says of them beside."""
    if isinstance(values.type, pa.BaseExtensionType):
        values = values.storage
    return values if column.decimal is None else pc.cast(values, column.decimal)


def _decimal(precision: int, scale: int) -> pa.DataType | None:
    return pa.decimal128(precision, scale) if 0 <= scale <= precision else None
