"""Values as strings, for the reasons why a row broke a rule. No value makes this raise."""

from __future__ import annotations

import polars as pl

from featurestore_transforms.casting.delta_types import whole

_SHOWN = 100
"""Characters of a value that a reason shows."""
_FIRST_YEAR, _LAST_YEAR = -62_135_596_800, 253_402_300_799
"""Seconds of the years 1 to 9999: Polars panics when it writes other times."""
_DAY_S = 86_400
_PER_SECOND = {"ms": 10**3, "us": 10**6, "ns": 10**9}


def shown(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """The values as short texts: ``'N14228'``, ``1.5``, ``[1, 2]``, ``null``."""
    return _text(value, dtype).fill_null("null")


def _text(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    if dtype == pl.String() or isinstance(dtype, pl.Categorical | pl.Enum):
        return pl.concat_str(pl.lit("'"), _short(value.cast(pl.String)), pl.lit("'"))
    if dtype == pl.Binary():
        return pl.concat_str(pl.lit("x'"), _short(value.bin.encode("hex")), pl.lit("'"))
    if isinstance(dtype, pl.Array):
        return _text(value.arr.to_list(), pl.List(dtype.inner))
    if isinstance(dtype, pl.List):
        items = value.list.head(_SHOWN).list.eval(shown(pl.element(), whole(dtype.inner)))
        return pl.concat_str(pl.lit("["), _short(items.list.join(", ")), pl.lit("]"))
    if isinstance(dtype, pl.Map):
        entry = pl.Struct({"key": dtype.key, "value": dtype.value})
        return _text(value.map.entries(), pl.List(entry))
    if isinstance(dtype, pl.Struct):
        parts = [
            pl.concat_str(
                pl.lit(f"{field.name}: "), shown(value.struct.field(field.name), whole(field.dtype))
            )
            for field in dtype.fields
        ]
        text = pl.concat_str(pl.lit("{"), _short(pl.concat_str(*parts, separator=", ")), pl.lit("}"))
        return pl.when(value.is_not_null()).then(text)
    if dtype == pl.Date() or isinstance(dtype, pl.Datetime):
        return _time(value, dtype)
    if dtype.is_temporal():
        return value.dt.to_string("iso")
    return _short(value.cast(pl.String, strict=False))


def in_years(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Whether a date or time is within the years 1 to 9999."""
    number = value.to_physical().cast(pl.Int64)
    second = number // _PER_SECOND[dtype.time_unit] if isinstance(dtype, pl.Datetime) else number * _DAY_S
    return second.is_between(_FIRST_YEAR, _LAST_YEAR)


def _time(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    written = pl.when(in_years(value, dtype)).then(value).dt.to_string("iso")
    return pl.coalesce(written, value.to_physical().cast(pl.String))


def _short(text: pl.Expr) -> pl.Expr:
    cut = text.str.len_chars() > _SHOWN
    return pl.when(cut).then(pl.concat_str(text.str.slice(0, _SHOWN), pl.lit("…"))).otherwise(text)
