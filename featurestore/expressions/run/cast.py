"""Casts that lose nothing: a value keeps its meaning in the new type, or it is found not to fit.

| from | to | fits |
|---|---|---|
| integers, floats, decimals, bool | integers | whole numbers in range |
| integers | floats | those that come back the same: all to 2^53 in float64, and many beyond |
| decimals | floats | rounded to the nearest |
| float64 | float32 | rounded; not a finite value that would become infinite |
| integers, floats | bool | 0 and 1 |
| string | numbers, bool, date, timestamp | plain texts of them: `12`, `7.0`, `1.5e3`, `true`, days and times in ISO 8601 |
| numbers, bool, date, times | string | its text; no point in a whole float: 1.0 and 1 are one key; no zeros at a decimal's end |
| string | bytes | UTF-8 |
| date, naive or zoned times | timestamp | midnight UTC; naive means UTC; kept to the microsecond |
| timestamp | date | midnights UTC |
| lists | lists | if every item does |

What is not named does not cast at all, whatever the values: that is an error of the spec. Where nobody declared the
type, a text must be one that the type gives back (``exact``, see ``spelling.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import polars as pl
from polars.datatypes import DataTypeClass

from featurestore.expressions.run.spelling import gives_back

UTC = pl.Datetime("us", "UTC")
# Never two ways to go on, and ASCII alone: such an expression finds its groups in one pass, twice as fast.
_ISO = (
    r"^(?P<day>[0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[T ](?P<time>[0-9]{2}:[0-9]{2})(?::(?P<second>[0-5][0-9])(?:\.(?P<fraction>[0-9]+))?)?"
    r" ?(?:[Zz]|(?P<sign>[+-])(?P<hours>[01][0-9]|2[0-3]):?(?P<minutes>[0-5][0-9])?)?)?$"
)
_PARTS = ("day", "time", "second", "fraction", "sign", "hours", "minutes")
_EDGE = r"^0000|^(?:0001-01-01|9999-12-31).*[+-][0-9]{2}:?[0-9]*$"
"""Texts that may be of other years than 1 to 9999, of which Python, and so most who read a dataset, has no times."""
_WHOLE_WITH_POINT = r"^[+-]?[0-9]+\.0+$"
_DECLARED: dict[str, pl.DataType] = {
    "string": pl.String(),
    "bytes": pl.Binary(),
    "bool": pl.Boolean(),
    "int8": pl.Int8(),
    "int16": pl.Int16(),
    "int32": pl.Int32(),
    "int64": pl.Int64(),
    "float32": pl.Float32(),
    "float64": pl.Float64(),
    "date": pl.Date(),
    "timestamp": UTC,
    "list<string>": pl.List(pl.String()),
    "list<int64>": pl.List(pl.Int64()),
    "list<float32>": pl.List(pl.Float32()),
    "list<float64>": pl.List(pl.Float64()),
}
_WORDS = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class Fit:
    """``value``: in the new type, null where it does not fit. ``fits``: bool, never null; true of nulls.

    Without ``fits`` every value does.
    """

    value: pl.Expr
    fits: pl.Expr | None = None


def polars_type(declared: str) -> pl.DataType:
    """The Polars type of a declared type, which is a text.

    >>> polars_type("list<int64>")
    List(Int64)
    """
    return _DECLARED[declared]


def fit(value: pl.Expr, source: pl.DataType, declared: str) -> Fit | None:
    """The expression, of type ``source``, in a declared type; None if that type never takes such values."""
    return fit_to(value, source, polars_type(declared))


def fit_to(value: pl.Expr, source: pl.DataType, target: pl.DataType, *, exact: bool = False) -> Fit | None:
    """As :func:`fit`, for a Polars type. ``exact``: only texts fit that the type gives back."""
    if source == target or source == pl.Null:
        return Fit(value.cast(target))
    if isinstance(source, pl.Categorical | pl.Enum):
        return fit_to(value.cast(pl.String), pl.String(), target, exact=exact)
    if isinstance(source, pl.Array):
        return fit_to(value.arr.to_list(), pl.List(source.inner), target, exact=exact)
    if isinstance(target, pl.List):
        return items(value, source, target, partial(fit_to, exact=exact))
    if source.is_numeric() or source == pl.Boolean:
        return _number(value, source, target)
    if source == pl.String:
        fitted = _text(value, target)
        if fitted is None or not exact:
            return fitted
        same = gives_back(value, target).fill_null(True)
        return Fit(fitted.value, same if fitted.fits is None else fitted.fits & same)
    if source.is_temporal():
        return _time(value, source, target)
    return None


def _nullable(value: pl.Expr, cast: pl.Expr) -> Fit:
    """Fits where the cast did not make a null of a value."""
    return Fit(cast, cast.is_not_null() | value.is_null())


def _checked(value: pl.Expr, cast: pl.Expr, same: pl.Expr) -> Fit:
    """Fits where ``same`` holds, and where there is no value."""
    fits = same.fill_null(False) | value.is_null()
    return Fit(pl.when(fits).then(cast), fits)


def _number(value: pl.Expr, source: pl.DataType, target: pl.DataType) -> Fit | None:
    if target == pl.String:
        text = value.cast(pl.String)
        if isinstance(source, pl.Decimal) and source.scale:
            return Fit(text.str.strip_chars_end("0").str.strip_suffix("."))
        return Fit(text.str.strip_suffix(".0") if source.is_float() else text)
    cast = value.cast(target, strict=False)
    if target == pl.Boolean:
        return _checked(value, value == 1, (value == 0) | (value == 1))
    if not target.is_numeric():
        return None
    if source == pl.Boolean:
        return Fit(cast)
    if source.is_float() and target.is_float():
        return _checked(value, cast, cast.is_finite() | ~value.is_finite())
    if source.is_integer() and target.is_integer():
        return _nullable(value, cast)
    if isinstance(source, pl.Decimal) and target.is_float():
        return Fit(cast)
    return _checked(value, cast, cast.cast(source, strict=False) == value)


def _text(value: pl.Expr, target: pl.DataType) -> Fit | None:
    if target.is_nested():
        # Polars would make a struct of any text, by its first field.
        return None
    if target == pl.Binary:
        return Fit(value.cast(pl.Binary))
    if target == pl.Boolean:
        return _nullable(value, value.str.to_lowercase().replace_strict(_WORDS, default=None))
    if target == pl.Date:
        day = value.str.to_date("%Y-%m-%d", strict=False)
        return _checked(value, day, day.dt.year().is_between(1, 9999))
    if target == UTC:
        return _nullable(value, _iso(value))
    if target.is_integer():
        whole = pl.when(value.str.contains(_WHOLE_WITH_POINT)).then(value.str.replace(r"\.0+$", ""))
        return _nullable(value, whole.otherwise(value).cast(target, strict=False))
    cast = value.cast(target, strict=False)
    if target.is_float():
        return _checked(value, cast, ~cast.is_infinite() | value.str.contains("(?i)inf"))
    return _nullable(value, cast)


def _iso(text: pl.Expr) -> pl.Expr:
    """Times from ISO 8601 texts: a day, or day and time with ``T`` or a space; without an offset it is UTC."""
    day, time, second, fraction, sign, hours, minutes = map(pl.field, _PARTS)
    # Polars has a fast way to times without fractions alone.
    naive = pl.concat_str(
        day, pl.lit("T"), time.fill_null("00:00"), pl.lit(":"), second.fill_null("00")
    ).str.to_datetime("%Y-%m-%dT%H:%M:%S", time_unit="us", strict=False)
    micros = fraction.str.slice(0, 6).str.pad_end(6, "0").cast(pl.Int64).fill_null(0)
    fine = fraction.str.slice(6).str.contains("[1-9]").fill_null(False)
    offset = hours.cast(pl.Int64) * 60 + minutes.fill_null("0").cast(pl.Int64)
    east = pl.when(sign == "-").then(-offset).otherwise(offset).fill_null(0)
    moment = pl.when(~fine).then(naive + pl.duration(microseconds=micros) - pl.duration(minutes=east))
    # Fields, since Polars would search the groups again for each mention of them.
    groups = text.str.extract_groups(_ISO).struct.with_fields(moment.alias("moment"))
    inside = ~text.str.contains(_EDGE)
    return pl.when(inside).then(groups.struct.field("moment")).dt.replace_time_zone("UTC")


def _time(value: pl.Expr, source: pl.DataType, target: pl.DataType) -> Fit | None:
    if source == pl.Date:
        if target == UTC:
            midnight = value.cast(UTC, strict=False)
            return _checked(value, midnight, midnight.dt.date() == value)
        return Fit(value.dt.to_string("iso")) if target == pl.String else None
    if not isinstance(source, pl.Datetime):
        return None
    zoned = value.dt.replace_time_zone("UTC") if source.time_zone is None else value
    moment = zoned.dt.convert_time_zone("UTC").cast(UTC, strict=False)
    if target == UTC:
        return _nullable(value, moment)
    if target == pl.Date:
        return _checked(value, moment.dt.date(), moment.dt.truncate("1d") == moment)
    if target == pl.String:
        return Fit(moment.dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ"))
    return None


def items(
    value: pl.Expr,
    source: pl.DataType,
    target: pl.List,
    each: Callable[[pl.Expr, pl.DataType, pl.DataType], Fit | None],
) -> Fit | None:
    """Lists in another type, item by item, as ``each`` says it of one; a list fits if all of its items do."""
    if not isinstance(source, pl.List):
        return None
    inner = each(pl.element(), _whole(source.inner), _whole(target.inner))
    if inner is None:
        return None
    values = value.list.eval(inner.value)
    if inner.fits is None:
        return Fit(values)
    fits = value.list.eval(inner.fits.fill_null(True)).list.all().fill_null(True)
    return Fit(pl.when(fits).then(values), fits)


def _whole(dtype: DataTypeClass | pl.DataType) -> pl.DataType:
    return dtype() if isinstance(dtype, type) else dtype
