"""Parts of a program: a Polars expression with its type, its faults, and what is known of its values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC as _UTC
from datetime import date, datetime
from typing import ClassVar

import polars as pl

from featurestore.expressions.constants import FIRST_INTEGER, LAST_INTEGER
from featurestore.expressions.tree import Call, Constant, Interval
from featurestore.expressions.value_type import (
    BOOL,
    DATE,
    FLOAT,
    INT,
    INTERVAL,
    NULL,
    OTHER,
    TEXT,
    TIMESTAMP,
    Kind,
    ValueType,
    list_of,
)

WIDE = pl.Int128()
UTC = pl.Datetime("us", "UTC")
MICROSECONDS = pl.Duration("us")
FIRST_US, LAST_US = -62_135_596_800_000_000, 253_402_300_799_999_999
"""Microseconds of the years 1 to 9999, which every part of the project can write."""
EXACT = 2**53
"""A float64 holds each whole number up to it."""
INTEGER_FAULT = "an integer is out of the range of int64"
TIME_FAULT = "a time leaves the years 1 to 9999"
ROUNDED_FAULT = "an integer would be rounded to a float64"
TEXT_FAULT = "a text grows beyond its bound"


@dataclass(frozen=True, slots=True)
class Part:
    """``expression``: the values, null in rows with a fault. ``faults``: what is true of such rows, and why.

    ``size``: parts that it is written with. ``stage``: of the newest column that it needs. ``low``, ``high``: bounds of
    whole numbers. ``raw``, ``dtype``: as it is in the frame, where it is. ``grows``: how long texts may be, as
    ``factor`` times those of the row and ``plus`` bytes. ``texts``: texts of the row that it is made of, and their bytes.

    ``solid``: a column, which nothing takes for one value.
    ``named``: the type that a cast names, which the result of an expression keeps. ``constant``: its value.
    """

    expression: pl.Expr
    type: ValueType
    faults: tuple[tuple[pl.Expr, str], ...] = ()
    size: int = 1
    stage: int = 0
    low: int = FIRST_INTEGER
    high: int = LAST_INTEGER
    raw: pl.Expr | None = None
    dtype: pl.DataType | None = None
    factor: int = 1
    plus: int = 0
    texts: tuple[tuple[str, pl.Expr], ...] = ()
    named: pl.DataType | None = None
    solid: bool = False
    constant: Constant | None = None


class Compiler:
    """Where parts that are used more than once are kept, as columns: one list for each stage."""

    LARGE: ClassVar = 60
    """Parts written as one expression; Polars takes time with the square of it."""

    def __init__(self, prefix: str) -> None:
        self._prefix, self._count = prefix, 0
        self.stages: list[list[pl.Expr]] = []

    def bind(self, part: Part) -> Part:
        """The part, cheap to use again."""
        if part.size <= 2 or part.constant is not None:
            return part
        name = f"{self._prefix}{self._count}"
        self._count += 1
        while len(self.stages) <= part.stage:
            self.stages.append([])
        self.stages[part.stage].append(part.expression.alias(name))
        return replace(part, expression=pl.col(name), size=1, stage=part.stage + 1, raw=None)

    def make(self, expression: pl.Expr, kind: ValueType, parts: Sequence[Part], **known: object) -> Part:
        """A part that is made of others and has their faults."""
        faults = tuple(fault for part in parts for fault in part.faults)
        made = Part(
            expression,
            kind,
            faults,
            1 + sum(part.size for part in parts),
            max((part.stage for part in parts), default=0),
            texts=tuple(dict(text for part in parts for text in part.texts).items()),
        )
        return replace(made, **known)  # type: ignore[arg-type]

    def all_of(self, parts: Sequence[Part]) -> Part:
        """Whether all of many conditions hold; bound where it is long, so that more can be said of it."""
        made = self.make(pl.all_horizontal(*(part.expression for part in parts)), BOOL, parts, faults=())
        return self.bind(made) if made.size > self.LARGE // 3 else made

    def strict(self, part: Part, parts: Sequence[Part], why: str) -> Part:
        """The part, with a fault where it is null and none of ``parts`` is. They must be bound."""
        bound = self.bind(part)
        varying = [one.expression.is_null() for one in parts if one.constant is None]
        fault = bound.expression.is_null()
        if any(one.constant is not None and one.constant.value is None for one in parts):
            return bound
        if varying:
            fault = fault & ~combined(varying)
        return replace(bound, faults=(*bound.faults, (fault, why)))

    def narrowed(self, wide: pl.Expr, parts: Sequence[Part], low: int, high: int) -> Part:
        """Whole numbers from 128 bits, with a fault where they leave 64. ``low``, ``high``: what they may be."""
        made = self.make(
            wide.cast(pl.Int64, strict=False), INT, parts,
            low=max(low, FIRST_INTEGER), high=min(high, LAST_INTEGER),
        )  # fmt: skip
        if low >= FIRST_INTEGER and high <= LAST_INTEGER:
            return made
        return self.strict(made, parts, INTEGER_FAULT)

    def exactly(self, part: Part, wanted: ValueType) -> Part:
        """The part in a wider type, with a fault where a float64 would round a whole number."""
        if (part.type.kind, wanted.kind) != (Kind.INT, Kind.FLOAT) or (
            part.low >= -EXACT and part.high <= EXACT
        ):
            return self.to(part, wanted)
        whole = self.bind(part)
        real = self.to(whole, wanted).expression
        same = real.cast(WIDE) == whole.expression.cast(WIDE)
        return self.strict(self.make(pl.when(same).then(real), FLOAT, [whole]), [whole], ROUNDED_FAULT)

    def to(self, part: Part, wanted: ValueType) -> Part:
        """The part in a wider type."""
        if part.type == wanted or (part.type.kind is wanted.kind and wanted.kind is not Kind.LIST):
            return part
        if part.type.kind is Kind.NULL:
            return replace(
                part,
                expression=pl.lit(None, polars_type_of(wanted)),
                type=wanted,
                constant=Constant(None, wanted),
            )
        if part.type.kind is Kind.INT and wanted.kind is Kind.FLOAT:
            if part.constant is not None and isinstance(part.constant.value, int):
                return constant(Constant(float(part.constant.value), FLOAT))
            return self.make(part.expression.cast(pl.Float64), FLOAT, [part], solid=part.solid)
        if part.type.kind is Kind.DATE and wanted.kind is Kind.TIMESTAMP:
            if part.constant is not None and isinstance(part.constant.value, date):
                day = part.constant.value
                return constant(Constant(datetime(day.year, day.month, day.day, tzinfo=_UTC), TIMESTAMP))
            bound = self.bind(part)
            days = bound.expression.cast(pl.Int32)
            day_us = 86_400_000_000
            inside = days.is_between(FIRST_US // day_us, LAST_US // day_us)
            midnight = pl.when(inside).then(days.cast(pl.Int64) * day_us).cast(UTC)
            return self.strict(self.make(midnight, TIMESTAMP, [bound]), [bound], TIME_FAULT)
        if part.type.kind is Kind.LIST and wanted.kind is Kind.LIST:
            return self.make(part.expression.cast(polars_type_of(wanted)), wanted, [part])
        return replace(part, type=wanted)


Operation = Callable[[Compiler, Call, list[Part]], Part]
"""Computes a call from its parts."""


def combined(conditions: Sequence[pl.Expr]) -> pl.Expr:
    """Whether one of the conditions holds."""
    return conditions[0] if len(conditions) == 1 else pl.any_horizontal(*conditions)


def type_of(dtype: pl.DataType) -> ValueType:
    """What a column of a Polars type holds.

    >>> str(type_of(pl.List(pl.Int8)))
    'list of int'
    """
    if isinstance(dtype, pl.List | pl.Array):
        inner = _whole(dtype.inner)
        return list_of(type_of(inner) if _item_type(inner) is not None else OTHER)
    if isinstance(dtype, pl.Struct):
        return ValueType(
            Kind.STRUCT, fields=tuple((one.name, type_of(_whole(one.dtype))) for one in dtype.fields)
        )
    if dtype.is_integer() or (isinstance(dtype, pl.Decimal) and dtype.scale == 0):
        return INT
    if dtype.is_float() or dtype.is_decimal():
        return FLOAT
    if isinstance(dtype, pl.String | pl.Categorical | pl.Enum):
        return TEXT
    for kind, known in _KINDS.items():
        if isinstance(dtype, kind):
            return known
    return OTHER


_KINDS = {
    pl.Boolean: BOOL,
    pl.Date: DATE,
    pl.Datetime: TIMESTAMP,
    pl.Duration: INTERVAL,
    pl.Null: NULL,
}
_DTYPES: dict[Kind, pl.DataType] = {
    Kind.BOOL: pl.Boolean(),
    Kind.INT: pl.Int64(),
    Kind.FLOAT: pl.Float64(),
    Kind.TEXT: pl.String(),
    Kind.DATE: pl.Date(),
    Kind.TIMESTAMP: UTC,
    Kind.INTERVAL: MICROSECONDS,
}


def polars_type_of(kind: ValueType) -> pl.DataType:
    if kind.kind is Kind.LIST:
        return pl.List(polars_type_of(kind.inner or NULL))
    return _DTYPES.get(kind.kind, pl.Null())


def _whole(dtype: object) -> pl.DataType:
    made: pl.DataType = dtype() if isinstance(dtype, type) else dtype  # type: ignore[assignment]
    return made


def _item_type(dtype: pl.DataType) -> pl.DataType | None:
    """The type that items are computed in; None if they are only passed on."""
    if dtype in (pl.Int8(), pl.Int16(), pl.Int32(), pl.Int64(), pl.UInt8(), pl.UInt16(), pl.UInt32()):
        return pl.Int64()
    if dtype in (pl.Float32(), pl.Float64()):
        return pl.Float64()
    return dtype if dtype in (pl.String(), pl.Boolean(), pl.Date(), UTC) else None


_INTEGERS: dict[type[pl.DataType], int] = {
    pl.Int8: 8,
    pl.Int16: 16,
    pl.Int32: 32,
    pl.UInt8: 8,
    pl.UInt16: 16,
    pl.UInt32: 32,
}


def load(raw: pl.Expr, dtype: pl.DataType, compiler: Compiler) -> Part:
    """A column, or a field of a struct, in the type that expressions compute in."""
    kind = type_of(dtype)
    plain = Part(raw, kind, size=2, raw=raw, dtype=dtype, solid=True)
    if isinstance(dtype, pl.Int64 | pl.Float64 | pl.Boolean | pl.Date) or dtype in (UTC, MICROSECONDS):
        return plain
    if kind is TEXT:
        text = raw if dtype == pl.String() else raw.cast(pl.String)
        return replace(plain, expression=text, texts=((str(raw), text.str.len_bytes()),))
    if type(dtype) in _INTEGERS:
        bits = _INTEGERS[type(dtype)]
        unsigned = dtype.is_unsigned_integer()
        low, high = (0, 2**bits - 1) if unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        return replace(plain, expression=raw.cast(pl.Int64), low=low, high=high)
    if kind is INT:
        loaded = compiler.strict(
            replace(plain, expression=raw.cast(pl.Int64, strict=False), size=3), [plain], INTEGER_FAULT
        )
        return replace(loaded, raw=raw)
    if kind is FLOAT:
        return replace(plain, expression=raw.cast(pl.Float64))
    if isinstance(dtype, pl.Datetime | pl.Duration):
        return _time(plain, dtype, compiler)
    if isinstance(dtype, pl.Array):
        plain = replace(plain, expression=raw.arr.to_list())
    if isinstance(dtype, pl.List | pl.Array):
        item = _item_type(_whole(dtype.inner))
        if item == pl.String():
            bytes_ = plain.expression.list.eval(pl.element().str.len_bytes()).list.sum()
            return replace(plain, texts=((str(raw), bytes_),))
        if item is not None and item != dtype.inner:
            return replace(plain, expression=plain.expression.cast(pl.List(item)))
    return plain


def _time(plain: Part, dtype: pl.Datetime | pl.Duration, compiler: Compiler) -> Part:
    """Times and durations in microseconds; a time without a zone is UTC."""
    assert plain.raw is not None
    wanted = UTC if isinstance(dtype, pl.Datetime) else MICROSECONDS
    physical = plain.raw.to_physical()
    if dtype.time_unit == "us":
        return replace(plain, expression=physical.cast(wanted))
    if dtype.time_unit == "ms":
        bound = 2**63 // 1000
        exact = pl.when(physical.is_between(-bound + 1, bound - 1)).then(physical * 1000)
    else:
        exact = pl.when(physical % 1000 == 0).then(physical // 1000)
    loaded = compiler.strict(
        replace(plain, expression=exact.cast(wanted), size=9),
        [plain],
        "a time is not one of whole microseconds in int64",
    )
    return replace(loaded, raw=plain.raw)


def constant(node: Constant) -> Part:
    """A value of the spec."""
    value, kind = node.value, node.type
    low, high = FIRST_INTEGER, LAST_INTEGER
    if isinstance(value, Interval):
        expression = pl.lit(value.microseconds, pl.Int64).cast(MICROSECONDS)
    elif isinstance(value, datetime):
        moment = value - datetime(1970, 1, 1, tzinfo=_UTC)
        microseconds = (moment.days * 86_400 + moment.seconds) * 1_000_000 + moment.microseconds
        expression = pl.lit(microseconds, pl.Int64).cast(UTC)
    elif isinstance(value, tuple):
        expression = pl.lit(list(value), dtype=polars_type_of(kind))
    else:
        # The constant part of a sum may leave int64; the sum itself may not.
        beyond = type(value) is int and not FIRST_INTEGER <= value <= LAST_INTEGER
        expression = pl.lit(value, WIDE if beyond else polars_type_of(kind))
        if type(value) is int:
            low = high = value
    plus = len(value.encode()) if isinstance(value, str) else 0
    if isinstance(value, tuple):
        plus = sum(len(str(item).encode()) for item in value)
    return Part(expression, kind, low=low, high=high, factor=0, plus=plus, constant=node)
