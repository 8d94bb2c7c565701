"""Types that a Delta table holds, and how values get into them without loss.

| Polars | in the table |
|---|---|
| int8 … int64, float32, float64, decimal, bool, string, binary, date | the same |
| uint8, uint16, uint32 | int16, int32, int64 |
| uint64, int128 | int64; a value beyond does not fit |
| float16 | float32 |
| categorical, enum | string |
| any time with date | timestamp in UTC microseconds; one with nanoseconds does not fit |
| time of day | string |
| duration | int64 microseconds |
| array, list, struct, map | list, struct and map of such types |
"""

from __future__ import annotations

from functools import partial
from typing import Any

import polars as pl

from featurestore.expressions.run.cast import UTC, Fit, fit_to, items, polars_type
from featurestore.resources.value import ColumnType

_TYPES: dict[Any, pl.DataType] = {
    pl.UInt8: pl.Int16(),
    pl.UInt16: pl.Int32(),
    pl.UInt32: pl.Int64(),
    pl.UInt64: pl.Int64(),
    pl.Int128: pl.Int64(),
    pl.Float16: pl.Float32(),
    pl.Categorical: pl.String(),
    pl.Enum: pl.String(),
    pl.Datetime: UTC,
    pl.Time: pl.String(),
    pl.Duration: pl.Int64(),
    **{
        kept: kept()
        for kept in (
            pl.Int8,
            pl.Int16,
            pl.Int32,
            pl.Int64,
            pl.Float32,
            pl.Float64,
            pl.Boolean,
            pl.String,
            pl.Binary,
            pl.Date,
            pl.Null,
        )
    },
}


_WIDTH: dict[Any, int] = {
    pl.Int8: 8,
    pl.UInt8: 9,
    pl.Int16: 16,
    pl.UInt16: 17,
    pl.Int32: 32,
    pl.UInt32: 33,
    pl.Int64: 64,
    pl.Float32: 32,
    pl.Float64: 64,
}
"""The most bits that a value needs in a signed type."""

_MOST_MS = (2**63 - 1) // 1000
"""Milliseconds that int64 holds as microseconds."""


def storable(dtype: pl.DataType) -> pl.DataType | None:
    """The type that a column of this type has in a table; None if there is none. ``Null`` waits for values."""
    if isinstance(dtype, pl.Decimal):
        return dtype
    if isinstance(dtype, pl.List | pl.Array):
        inner = _inside(storable(whole(dtype.inner)))
        return None if inner is None else pl.List(inner)
    if isinstance(dtype, pl.Map):
        key, item = _inside(storable(whole(dtype.key))), _inside(storable(whole(dtype.value)))
        return None if key is None or item is None else pl.Map(key, item)
    if isinstance(dtype, pl.Struct):
        fields = {field.name: _inside(storable(whole(field.dtype))) for field in dtype.fields}
        known = {name: inner for name, inner in fields.items() if inner is not None}
        return pl.Struct(known) if known and len(known) == len(fields) else None
    return _TYPES.get(type(dtype))


def store(value: pl.Expr, source: pl.DataType, target: pl.DataType, *, declared: bool = False) -> Fit:
    """The values in a table's type, nested ones from the inside out; where the types have nothing in common, only
    null fits.

    ``declared``: the user said that texts are to become this type; else only texts do that it gives back.
    """
    if source == target:
        return Fit(value)
    if _widens(source, target):
        return Fit(value.cast(target))
    if source == pl.Time():
        value, source = value.dt.to_string("%H:%M:%S%.f"), pl.String()
    elif source == pl.Float16():
        value, source = value.cast(pl.Float32), pl.Float32()
    elif isinstance(source, pl.Duration):
        exact = value.dt.total_microseconds()
        fits = _whole_microseconds(value, source)
        if source.time_unit == "ms":
            # Polars lets microseconds wrap.
            fits = value.to_physical().is_between(-_MOST_MS, _MOST_MS).fill_null(True)
        return _both(Fit(exact, fits), store(exact, pl.Int64(), target))
    if isinstance(source, pl.Array):
        value, source = value.arr.to_list(), pl.List(source.inner)
    each = partial(store, declared=declared)
    if isinstance(source, pl.Struct) and isinstance(target, pl.Struct):
        return _fields(value, source, target, declared)
    if isinstance(source, pl.Map) and isinstance(target, pl.Map):
        fit = items(value.map.entries(), _entries(source), _entries(target), each)
        return Fit(fit.value.cast(target), fit.fits) if fit else _null_only(value, target)
    if isinstance(target, pl.List):
        return items(value, source, target, each) or _null_only(value, target)
    fit = fit_to(value, source, target, exact=not declared)
    if fit is None:
        return _null_only(value, target)
    if isinstance(source, pl.Datetime):
        return _both(Fit(value, _whole_microseconds(value, source)), fit)
    return fit


def _null_only(value: pl.Expr, target: pl.DataType) -> Fit:
    null = value.is_null()
    # A literal alone would be one value, however many items a list has.
    return Fit(pl.when(null).then(pl.lit(None, target)).otherwise(pl.lit(None, target)), null)


def _entries(dtype: pl.Map) -> pl.List:
    return pl.List(pl.Struct({"key": dtype.key, "value": dtype.value}))


def _widens(source: pl.DataType, target: pl.DataType) -> bool:
    """Whether every number of one type fits the other, so that none needs to be checked."""
    low, high = _WIDTH.get(type(source)), _WIDTH.get(type(target))
    if low is None or high is None or (source.is_float() and target.is_integer()):
        return False
    if source.is_integer() and target.is_float():
        return low < {32: 25, 64: 54}[high]
    return low <= high


def _whole_microseconds(value: pl.Expr, source: pl.Datetime | pl.Duration) -> pl.Expr | None:
    if source.time_unit != "ns":
        return None
    return (value.to_physical() % 1000 == 0).fill_null(True)


def _both(first: Fit, second: Fit) -> Fit:
    if first.fits is None or second.fits is None:
        fits = second.fits if first.fits is None else first.fits
        return Fit(second.value, fits)
    return Fit(second.value, first.fits & second.fits)


def _fields(value: pl.Expr, source: pl.Struct, target: pl.Struct, declared: bool) -> Fit:
    """Field by field. A field that the target does not have must be null."""
    source_types = {field.name: whole(field.dtype) for field in source.fields}
    values, fits = [], [value.is_null() | True]
    for field in target.fields:
        wanted = whole(field.dtype)
        if field.name not in source_types:
            values.append(pl.lit(None, wanted).alias(field.name))
            continue
        fit = store(value.struct.field(field.name), source_types[field.name], wanted, declared=declared)
        values.append(fit.value.alias(field.name))
        if fit.fits is not None:
            fits.append(fit.fits.fill_null(True))
    names = {field.name for field in target.fields}
    fits += [value.struct.field(name).is_null() for name in source_types if name not in names]
    return Fit(pl.when(value.is_not_null()).then(pl.struct(values)), pl.all_horizontal(fits))


def _inside(dtype: pl.DataType | None) -> pl.DataType | None:
    """A type of which no value was seen becomes string inside another type: strings hold anything."""
    return pl.String() if dtype == pl.Null() else dtype


def type_name(dtype: pl.DataType) -> str:
    """The name of a type: as in resources if it has one there.

    >>> type_name(pl.Datetime("us", "UTC")), type_name(pl.Map(pl.String(), pl.List(pl.Int64())))
    ('timestamp', 'map<string, list<int64>>')
    """
    if isinstance(dtype, pl.List):
        return f"list<{type_name(whole(dtype.inner))}>"
    if isinstance(dtype, pl.Map):
        return f"map<{type_name(whole(dtype.key))}, {type_name(whole(dtype.value))}>"
    if isinstance(dtype, pl.Struct):
        fields = (f"{field.name}: {type_name(whole(field.dtype))}" for field in dtype.fields)
        return f"struct<{', '.join(fields)}>"
    if isinstance(dtype, pl.Decimal):
        return f"decimal({dtype.precision}, {dtype.scale})"
    return _NAMES.get(dtype, str(dtype))


_NAMES = {polars_type(declared): declared.value for declared in ColumnType}


def whole(dtype: Any) -> pl.DataType:
    """The type of a type that may have been given as a class."""
    made: pl.DataType = dtype() if isinstance(dtype, type) else dtype
    return made
