"""What operators and functions of numbers compute.

Whole numbers are computed in 128 bits where they could leave 64, which a null then shows.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import polars as pl

from featurestore.expressions.constants import FIRST_INTEGER, LAST_INTEGER
from featurestore.expressions.run.part import INTEGER_FAULT, WIDE, Compiler, Operation, Part, constant
from featurestore.expressions.run.time_operations import shifted, stretched
from featurestore.expressions.tree import Call, Constant
from featurestore.expressions.value_type import FLOAT, INT, Kind


def _sum(to: Compiler, call: Call, parts: list[Part]) -> Part:
    """A chain of ``+`` and ``-``. Whole numbers are added exactly; the sum is what must fit."""
    signs = call.detail or "+" + call.name
    if any(part.type.kind in (Kind.TIMESTAMP, Kind.DATE, Kind.INTERVAL) for part in parts):
        return shifted(to, call, parts)
    if call.type.kind is Kind.FLOAT:
        left, right = (to.to(part, FLOAT) for part in parts)
        return _real_sum(to, call.name, left, right)
    parts = [to.bind(to.to(part, INT)) for part in parts]
    pairs = list(zip(signs, parts, strict=True))
    low = sum(part.low if sign == "+" else -part.high for sign, part in pairs)
    high = sum(part.high if sign == "+" else -part.low for sign, part in pairs)
    wide = [
        part.expression.cast(WIDE) if sign == "+" else -1 * part.expression.cast(WIDE) for sign, part in pairs
    ]
    if low >= FIRST_INTEGER and high <= LAST_INTEGER and len(parts) == 2:
        a, b = (part.expression for part in parts)
        return to.make(a - b if signs[1] == "-" else a + b, INT, parts, low=low, high=high)
    return to.narrowed(_balanced(wide), parts, low, high)


def _filled(part: Part, like: Part) -> pl.Expr:
    """The numbers as a column as long as ``like``, so that nothing is simplified for a number that is one value.

    Polars takes ``x + 0.0`` for ``x``, though -0.0 + 0.0 is 0.0, and multiplies by the inverse of a divisor that is
    one value, which gives other bits than the division: so a result would depend on how many rows there are.
    """
    ones = like.expression.is_null().cast(pl.Float64).clip(1.0, 1.0)
    return ones * part.expression


def _real_sum(to: Compiler, name: str, left: Part, right: Part) -> Part:
    if not right.solid:
        left = to.bind(left)
    if not left.solid:
        right = to.bind(right)
    a = left.expression if left.solid else _filled(left, right)
    b = right.expression if right.solid else _filled(right, left)
    return to.make(a - b if name == "-" else a + b, FLOAT, [left, right], solid=left.solid or right.solid)


def _balanced(terms: list[pl.Expr]) -> pl.Expr:
    """The sum of exact terms as a tree that is not deep."""
    while len(terms) > 1:
        terms = [sum(terms[n + 1 : n + 2], terms[n]) for n in range(0, len(terms), 2)]
    return terms[0]


def _negative(to: Compiler, call: Call, parts: list[Part]) -> Part:
    if call.type.kind is Kind.FLOAT:
        return to.make(-parts[0].expression, FLOAT, parts)
    part = to.bind(to.to(parts[0], INT))
    return to.narrowed(-1 * part.expression.cast(WIDE), [part], -part.high, -part.low)


def _absolute(to: Compiler, call: Call, parts: list[Part]) -> Part:
    if call.type.kind is Kind.FLOAT:
        return to.make(parts[0].expression.abs(), FLOAT, parts)
    part = to.bind(to.to(parts[0], INT))
    return to.narrowed(part.expression.cast(WIDE).abs(), [part], 0, max(abs(part.low), abs(part.high)))


def _product(to: Compiler, call: Call, parts: list[Part]) -> Part:
    if call.type.kind is Kind.INTERVAL:
        return stretched(to, parts)
    if call.type.kind is Kind.FLOAT:
        left, right = (to.to(part, FLOAT) for part in parts)
        solid = left.solid or right.solid
        return to.make(left.expression * right.expression, FLOAT, [left, right], solid=solid)
    left, right = (to.bind(to.to(part, INT)) for part in parts)
    corners = [a * b for a in (left.low, left.high) for b in (right.low, right.high)]
    low, high = min(corners), max(corners)
    if low >= FIRST_INTEGER and high <= LAST_INTEGER:
        return to.make(left.expression * right.expression, INT, [left, right], low=low, high=high)
    return to.narrowed(left.expression.cast(WIDE) * right.expression.cast(WIDE), [left, right], low, high)


def _divided(to: Compiler, left: Part, right: Part) -> Part:
    """Real numbers; null where the divisor is 0."""
    left, right = to.bind(left), to.bind(right)
    filled = right.expression if right.solid else _filled(right, left)
    divisor = pl.when(right.expression != 0).then(filled)
    return to.make(left.expression / divisor, FLOAT, [left, right], solid=left.solid)


def _division(to: Compiler, call: Call, parts: list[Part]) -> Part:
    return _divided(to, *(to.to(part, FLOAT) for part in parts))


def _cut(to: Compiler, part: Part) -> Part:
    """Without the fraction, toward zero."""
    part = to.bind(part)
    cut = pl.when(part.expression < 0).then(part.expression.ceil()).otherwise(part.expression.floor())
    return to.make(cut, FLOAT, [part])


def _quotient(to: Compiler, call: Call, parts: list[Part]) -> Part:
    if call.type.kind is Kind.FLOAT:
        return _cut(to, _division(to, call, parts))
    left, right = (to.bind(to.to(part, INT)) for part in parts)
    a, b = left.expression.cast(WIDE), right.expression.cast(WIDE)
    size = a.abs() // pl.when(right.expression != 0).then(b.abs())
    signed = pl.when((left.expression < 0) == (right.expression < 0)).then(size).otherwise(-1 * size)
    made = to.make(signed.cast(pl.Int64, strict=False), INT, [left, right])
    if left.low > FIRST_INTEGER or right.low > -1 or right.high < -1:
        return made
    fault = (left.expression == FIRST_INTEGER) & (right.expression == -1)
    return replace(to.bind(made), faults=(*made.faults, (fault.fill_null(False), INTEGER_FAULT)))


def _remainder(to: Compiler, call: Call, parts: list[Part]) -> Part:
    if call.type.kind is Kind.FLOAT:
        left, right = (to.bind(to.to(part, FLOAT)) for part in parts)
        whole = _cut(to, _divided(to, left, right))
        return _real_sum(to, "-", left, to.make(right.expression * whole.expression, FLOAT, [right, whole]))
    left, right = (to.bind(to.to(part, INT)) for part in parts)
    a, b = left.expression.cast(WIDE), right.expression.cast(WIDE)
    size = a.abs() % pl.when(right.expression != 0).then(b.abs())
    signed = pl.when(left.expression < 0).then(-1 * size).otherwise(size)
    return to.make(signed.cast(pl.Int64), INT, [left, right])


def _power(to: Compiler, call: Call, parts: list[Part]) -> Part:
    if call.type.kind is Kind.FLOAT:
        left, right = (to.to(part, FLOAT) for part in parts)
        return to.make(left.expression.pow(right.expression), FLOAT, [left, right])
    base = to.bind(to.to(parts[0], INT))
    power = _value(parts[1])
    if power == 0:
        return to.make(pl.when(base.expression.is_not_null()).then(pl.lit(1, pl.Int64)), INT, [base])
    high = _root(LAST_INTEGER, power)
    low = -_root(-FIRST_INTEGER, power) if power % 2 else -high
    # A base of -1, 0 or 1 never leaves int64, however great the power: only whether it is even matters.
    shown = power if power <= 64 else 64 + power % 2
    inside = base.expression.is_between(low, high)
    made = to.make(
        pl.when(inside).then(base.expression.clip(low, high).pow(pl.lit(shown, pl.UInt32))), INT, [base]
    )
    return to.strict(made, [base], INTEGER_FAULT)


def _root(number: int, power: int) -> int:
    """The greatest whole number whose power is not beyond ``number``."""
    low, high = 0, number
    while low < high:
        middle = (low + high + 1) // 2
        if (power < 64 or middle < 2) and middle**power <= number:
            low = middle
        else:
            high = middle - 1
    return low


def _rounded(to: Compiler, call: Call, parts: list[Part]) -> Part:
    if call.type.kind is Kind.INT:
        return parts[0]
    digits = _value(parts[1]) if len(parts) > 1 else 0
    part = to.to(parts[0], FLOAT)
    if call.name == "ROUND":
        return to.make(part.expression.round(digits, mode="half_away_from_zero"), FLOAT, [part])
    if digits == 0:
        return _cut(to, part)
    part = to.bind(part)
    shifted_left = to.make(part.expression * 10.0**digits, FLOAT, [part])
    cut = _cut(to, shifted_left)
    short = part.expression.abs() < 2.0**53 / 10.0**digits
    return to.make(
        pl.when(short).then(cut.expression / 10.0**digits).otherwise(part.expression), FLOAT, [part, cut]
    )


def _same_or(function: Callable[[pl.Expr], pl.Expr]) -> Operation:
    """A function that leaves whole numbers as they are."""

    def run(to: Compiler, call: Call, parts: list[Part]) -> Part:
        if call.type.kind is Kind.INT:
            return to.to(parts[0], INT)
        return to.make(function(parts[0].expression), FLOAT, parts)

    return run


def _sign(to: Compiler, call: Call, parts: list[Part]) -> Part:
    part = to.to(parts[0], call.type)
    return to.make(part.expression.sign(), call.type, [part])


def _real(function: Callable[..., pl.Expr]) -> Operation:
    def run(to: Compiler, call: Call, parts: list[Part]) -> Part:
        real = [to.to(part, FLOAT) for part in parts]
        return to.make(function(*(part.expression for part in real)), FLOAT, real)

    return run


def _log_of(base: float) -> Operation:
    """A logarithm that is a whole number for powers of the base, which a quotient of two logarithms misses by a bit."""

    def run(to: Compiler, call: Call, parts: list[Part]) -> Part:
        part = to.bind(to.to(parts[0], FLOAT))
        log = to.bind(to.make(part.expression.log(base), FLOAT, [part]))
        whole = to.bind(to.make(log.expression.round(0), FLOAT, [log]))
        exact = pl.lit(base).pow(whole.expression) == part.expression
        return to.make(
            pl.when(exact).then(whole.expression).otherwise(log.expression), FLOAT, [part, log, whole]
        )

    return run


def _log(to: Compiler, call: Call, parts: list[Part]) -> Part:
    left, right = (
        to.make(one.expression.log(), FLOAT, [one]) for one in (to.to(part, FLOAT) for part in parts)
    )
    return _divided(to, left, right)


def _bits(function: Callable[..., pl.Expr]) -> Operation:
    def run(to: Compiler, call: Call, parts: list[Part]) -> Part:
        whole = [to.to(part, INT) for part in parts]
        return to.make(function(*(part.expression for part in whole)), INT, whole)

    return run


def _value(part: Part) -> Any:
    assert part.constant is not None
    return part.constant.value


NUMBER_OPERATIONS: dict[str, Operation] = {
    "+": _sum,
    "-": _sum,
    "NEG": _negative,
    "*": _product,
    "/": _division,
    "//": _quotient,
    "%": _remainder,
    "ABS": _absolute,
    "CEIL": _same_or(lambda x: x.ceil()),
    "FLOOR": _same_or(lambda x: x.floor()),
    "ROUND": _rounded,
    "TRUNC": _rounded,
    "SIGN": _sign,
    "SQRT": _real(lambda x: x.sqrt()),
    "CBRT": _real(lambda x: x.cbrt()),
    "EXP": _real(lambda x: x.exp()),
    "LN": _real(lambda x: x.log()),
    "LOG2": _log_of(2.0),
    "LOG10": _log_of(10.0),
    "LOG1P": _real(lambda x: x.log1p()),
    "SIN": _real(lambda x: x.sin()),
    "COS": _real(lambda x: x.cos()),
    "TAN": _real(lambda x: x.tan()),
    "COT": _real(lambda x: x.cot()),
    "ASIN": _real(lambda x: x.arcsin()),
    "ACOS": _real(lambda x: x.arccos()),
    "ATAN": _real(lambda x: x.arctan()),
    "SIND": _real(lambda x: x.radians().sin()),
    "COSD": _real(lambda x: x.radians().cos()),
    "TAND": _real(lambda x: x.radians().tan()),
    "COTD": _real(lambda x: x.radians().cot()),
    "ASIND": _real(lambda x: x.arcsin().degrees()),
    "ACOSD": _real(lambda x: x.arccos().degrees()),
    "ATAND": _real(lambda x: x.arctan().degrees()),
    "DEGREES": _real(lambda x: x.degrees()),
    "RADIANS": _real(lambda x: x.radians()),
    "ATAN2": _real(lambda y, x: pl.arctan2(y, x)),
    "ATAN2D": _real(lambda y, x: pl.arctan2(y, x).degrees()),
    "PI": lambda to, call, parts: constant(Constant(math.pi, FLOAT)),
    "LOG": _log,
    "POW": _power,
    "BIT_AND": _bits(lambda a, b: a & b),
    "BIT_OR": _bits(lambda a, b: a | b),
    "BIT_XOR": _bits(lambda a, b: a ^ b),
    "BIT_NOT": _bits(lambda a: -1 - a),
    "BIT_COUNT": _bits(lambda a: a.bitwise_count_ones().cast(pl.Int64)),
}
