"""What operators and functions of times compute. Times are microseconds in UTC, from the year 1 to the year 9999."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import polars as pl

from featurestore.expressions.run.part import (
    FIRST_US,
    INTEGER_FAULT,
    LAST_US,
    MICROSECONDS,
    TIME_FAULT,
    UTC,
    WIDE,
    Compiler,
    Operation,
    Part,
)
from featurestore.expressions.tree import Call, Interval
from featurestore.expressions.value_type import FLOAT, INT, INTERVAL, TEXT, TIMESTAMP, Kind


def shifted(to: Compiler, call: Call, parts: list[Part]) -> Part:
    """Times and intervals added and subtracted. What leaves the years 1 to 9999 is a fault."""
    left, right = parts
    if call.name == "+" and right.type.kind in (Kind.TIMESTAMP, Kind.DATE):
        left, right = right, left
    if call.type.kind is Kind.INTERVAL:
        wanted = TIMESTAMP if Kind.INTERVAL not in (left.type.kind, right.type.kind) else INTERVAL
        left, right = to.bind(to.to(left, wanted)), to.bind(to.to(right, wanted))
        a, b = (part.expression.to_physical().cast(WIDE) for part in (left, right))
        span = (a - b if call.name == "-" else a + b).cast(pl.Int64, strict=False).cast(MICROSECONDS)
        return to.strict(to.make(span, INTERVAL, [left, right]), [left, right], INTEGER_FAULT)
    time = in_years(to, to.to(left, TIMESTAMP))
    constant = right.constant.value if right.constant is not None else None
    sign = -1 if call.name == "-" else 1
    moved = time.expression
    if isinstance(constant, Interval):
        if constant.months:
            moved = moved.dt.offset_by(f"{sign * constant.months}mo")
        wide = moved.to_physical().cast(WIDE) + sign * constant.microseconds
        used = [time]
    else:
        right = to.bind(to.to(right, INTERVAL))
        wide = moved.to_physical().cast(WIDE) + sign * right.expression.to_physical().cast(WIDE)
        used = [time, right]
    made = to.bind(to.make(wide, TIMESTAMP, used))
    inside = made.expression.is_between(FIRST_US, LAST_US)
    kept = pl.when(inside).then(made.expression).cast(pl.Int64, strict=False).cast(UTC)
    return to.strict(to.make(kept, TIMESTAMP, [made]), used, TIME_FAULT)


def stretched(to: Compiler, parts: list[Part]) -> Part:
    """An interval times a number, rounded to the microsecond."""
    span, times = parts if parts[0].type.kind is Kind.INTERVAL else reversed(parts)
    span, times = to.bind(to.to(span, INTERVAL)), to.bind(times)
    microseconds = span.expression.to_physical()
    if times.type.kind is Kind.FLOAT:
        real = microseconds.cast(pl.Float64) * times.expression
        made = to.bind(to.make(real, INTERVAL, [span, times]))
        # Not beyond int64: the greatest float64 below 2^63 is far from it.
        inside = made.expression.is_between(-(2.0**63), 2.0**63, closed="none")
        exact = pl.when(inside).then(made.expression).round(0).cast(pl.Int64, strict=False)
    else:
        times = to.bind(to.to(times, INT))
        made = span
        exact = (microseconds.cast(WIDE) * times.expression.cast(WIDE)).cast(pl.Int64, strict=False)
    return to.strict(
        to.make(exact.cast(MICROSECONDS), INTERVAL, [span, times, made]), [span, times], INTEGER_FAULT
    )


def in_years(to: Compiler, part: Part) -> Part:
    """The time, bound, with a fault where it is not one of the years 1 to 9999: Polars panics at some others."""
    part = to.bind(part)
    if part.constant is not None:
        return part
    inside = part.expression.to_physical().is_between(FIRST_US, LAST_US)
    made = to.make(pl.when(inside).then(part.expression), TIMESTAMP, [part])
    return to.strict(made, [part], TIME_FAULT)


_PARTS: dict[str, Callable[[pl.Expr], pl.Expr]] = {
    "YEAR": lambda t: t.dt.year(),
    "QUARTER": lambda t: t.dt.quarter(),
    "MONTH": lambda t: t.dt.month(),
    "WEEK": lambda t: t.dt.week(),
    "DAY": lambda t: t.dt.day(),
    "HOUR": lambda t: t.dt.hour(),
    "MINUTE": lambda t: t.dt.minute(),
    "SECOND": lambda t: t.dt.second(),
    "DAYOFWEEK": lambda t: t.dt.weekday() % 7,
    "DOW": lambda t: t.dt.weekday() % 7,
    "ISODOW": lambda t: t.dt.weekday(),
    "DOY": lambda t: t.dt.ordinal_day(),
    "ISOYEAR": lambda t: t.dt.iso_year(),
    "MILLISECOND": lambda t: (t.to_physical() % 60_000_000) / 1_000,
    "MICROSECOND": lambda t: t.to_physical() % 60_000_000,
    "EPOCH": lambda t: t.to_physical() / 1_000_000,
}
_REAL = ("MILLISECOND", "MICROSECOND", "EPOCH")
_EVERY = {"year": "1y", "quarter": "1q", "month": "1mo", "week": "1w", "day": "1d", "hour": "1h",
          "minute": "1m", "second": "1s"}  # fmt: skip


def _part(to: Compiler, call: Call, parts: list[Part]) -> Part:
    name = call.detail or call.name
    time = in_years(to, to.to(parts[0], TIMESTAMP))
    kind = FLOAT if name in _REAL else INT
    made = _PARTS[name](time.expression).cast(pl.Float64 if kind == FLOAT else pl.Int64)
    if kind == FLOAT:
        return to.make(made, FLOAT, [time])
    return to.make(made, INT, [time], low=0, high=9999)


def _truncated(to: Compiler, call: Call, parts: list[Part]) -> Part:
    time = in_years(to, to.to(parts[1], TIMESTAMP))
    return to.make(time.expression.dt.truncate(_EVERY[_text(parts[0]).lower()]), TIMESTAMP, [time])


def _written(to: Compiler, call: Call, parts: list[Part]) -> Part:
    time = in_years(to, to.to(parts[0], TIMESTAMP))
    form = _text(parts[1]).replace("%%", "\0").replace("%f", "%6f").replace("\0", "%%")
    made = to.make(time.expression.dt.strftime(form), TEXT, [time])
    return replace(made, factor=0, plus=16 * len(form))


def _read(to: Compiler, call: Call, parts: list[Part]) -> Part:
    form = _text(parts[1]).replace("%%", "\0").replace(".%f", "%.f").replace("\0", "%%")
    text = to.to(parts[0], TEXT).expression
    if "%.f" in form:
        # Polars would cut a fraction that ends below the microsecond.
        text = pl.when(~text.str.contains(r"\.[0-9]{6,}[1-9]")).then(text)
    made = text.str.to_datetime(form, time_unit="us", strict=False)
    read = to.bind(to.make(made.to_physical(), INT, parts))
    inside = read.expression.is_between(FIRST_US, LAST_US)
    return to.make(pl.when(inside).then(read.expression).cast(UTC), TIMESTAMP, [read])


def _from_seconds(to: Compiler, call: Call, parts: list[Part]) -> Part:
    part = to.bind(parts[0] if parts[0].type.kind is Kind.FLOAT else to.to(parts[0], INT))
    if part.type.kind is Kind.FLOAT:
        inside = part.expression.is_between(FIRST_US / 1e6, LAST_US // 1_000_000)
        microseconds = (pl.when(inside).then(part.expression) * 1e6).round(0).cast(pl.Int64)
    else:
        inside = part.expression.is_between(FIRST_US // 1_000_000, LAST_US // 1_000_000)
        microseconds = pl.when(inside).then(part.expression) * 1_000_000
    return to.strict(to.make(microseconds.cast(UTC), TIMESTAMP, [part]), [part], TIME_FAULT)


def _text(part: Part) -> str:
    value: Any = part.constant.value if part.constant is not None else ""
    return str(value)


TIME_OPERATIONS: dict[str, Operation] = {
    **dict.fromkeys(
        ("YEAR", "QUARTER", "MONTH", "WEEK", "DAY", "DAYOFWEEK", "HOUR", "MINUTE", "SECOND", "DATE_PART"),
        _part,
    ),
    "DATE_TRUNC": _truncated,
    "STRFTIME": _written,
    "TRY_STRPTIME": _read,
    "TO_TIMESTAMP": _from_seconds,
}
