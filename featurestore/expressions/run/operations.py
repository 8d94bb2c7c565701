"""What each operator and function computes, in Polars: one entry for each of ``functions.BY_NAME``.

An argument that an operation writes twice is bound first. Whole numbers are computed in 128 bits where they could
leave 64, which a null then shows; so each operation says which nulls are its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from featurestore.expressions.constants import FIRST_INTEGER, LAST_INTEGER
from featurestore.expressions.run.number_operations import NUMBER_OPERATIONS
from featurestore.expressions.run.part import (
    EXACT,
    INTEGER_FAULT,
    WIDE,
    Compiler,
    Operation,
    Part,
    combined,
    load,
    polars_type_of,
)
from featurestore.expressions.run.text_operations import TEXT_OPERATIONS
from featurestore.expressions.run.time_operations import TIME_OPERATIONS
from featurestore.expressions.tree import Call
from featurestore.expressions.value_type import BOOL, FLOAT, INT, Kind, ValueType, common

# --- comparisons


def _compared(to: Compiler, name: str, left: Part, right: Part) -> pl.Expr:
    """True, false or null. Both must be bound."""
    kinds = {left.type.kind, right.type.kind}
    if kinds == {Kind.INT, Kind.FLOAT}:
        if left.type.kind is Kind.FLOAT:
            return _whole_and_real(to, _MIRRORED[name], right, left)
        return _whole_and_real(to, name, left, right)
    wanted = common(left.type, right.type) or left.type
    if wanted.kind is Kind.NULL:
        return pl.lit(None, pl.Boolean)
    a, b = to.to(left, wanted).expression, to.to(right, wanted).expression
    return _OPERATORS[name](a, b)


_OPERATORS: dict[str, Callable[[pl.Expr, pl.Expr], pl.Expr]] = {
    "=": lambda a, b: a == b,
    "<>": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}
_MIRRORED = {"=": "=", "<>": "<>", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


def _whole_and_real(to: Compiler, name: str, whole: Part, real: Part) -> pl.Expr:
    """Compares exactly, also where a float64 would round the whole number."""
    if whole.low >= -EXACT and whole.high <= EXACT:
        return _OPERATORS[name](to.to(whole, FLOAT).expression, real.expression)
    # NaN is the greatest, and no whole number is near 1e19.
    near = real.expression.fill_nan(math.inf).clip(-1e19, 1e19)
    up, down = near.ceil().cast(WIDE), near.floor().cast(WIDE)
    a = whole.expression.cast(WIDE)
    match name:
        case "<" | ">=":
            return _OPERATORS[name](a, up)
        case ">" | "<=":
            return _OPERATORS[name](a, down)
        case "=":
            return pl.when(a.is_not_null()).then((a == up) & (up == down))
    return pl.when(a.is_not_null()).then((a != up) | (up != down))


def _comparison(to: Compiler, call: Call, parts: list[Part]) -> Part:
    left, right = (to.bind(part) for part in parts)
    wanted = common(left.type, right.type) or left.type
    if Kind.DATE in (left.type.kind, right.type.kind):
        left, right = to.bind(to.to(left, wanted)), to.bind(to.to(right, wanted))
    return to.make(_compared(to, call.name, left, right), BOOL, [left, right])


def _distinct(to: Compiler, call: Call, parts: list[Part]) -> Part:
    left, right = (to.bind(part) for part in parts)
    wanted = common(left.type, right.type) or left.type
    if Kind.DATE in (left.type.kind, right.type.kind):
        left, right = to.bind(to.to(left, wanted)), to.bind(to.to(right, wanted))
    differs = to.make(_compared(to, "<>", left, right), BOOL, [left, right])
    one_null = left.expression.is_null() != right.expression.is_null()
    return to.make(differs.expression.fill_null(False) | one_null, BOOL, [differs, left, right])


def _in(to: Compiler, call: Call, parts: list[Part]) -> Part:
    value, *others = (to.bind(part) for part in parts)
    constants = [one for one in others if one.constant is not None and one.type.kind is not Kind.NULL]
    null = len(constants) < len([one for one in others if one.constant is not None])
    comparisons: list[pl.Expr] = []
    if constants and value.type.kind in (Kind.INT, Kind.FLOAT, Kind.TEXT, Kind.BOOL):
        plain = [one.constant.value for one in constants if one.constant is not None]
        if value.type.kind in (Kind.INT, Kind.FLOAT):
            plain = [exact for exact in (_as_kind(one, value.type) for one in plain) if exact is not None]
        dtype = {
            Kind.INT: pl.Int64(),
            Kind.FLOAT: pl.Float64(),
            Kind.TEXT: pl.String(),
            Kind.BOOL: pl.Boolean(),
        }
        listed = pl.Series(plain, dtype=dtype[value.type.kind])
        comparisons.append(value.expression.is_in(pl.lit(listed).implode()))
        others = [one for one in others if one.constant is None]
    elif null:
        others = [one for one in others if one.type.kind is not Kind.NULL]
    comparisons += [_compared(to, "=", value, one) for one in others]
    if null:
        comparisons.append(pl.lit(None, pl.Boolean))
    return to.make(combined(comparisons), BOOL, [value, *others])


def _as_kind(value: Any, kind: ValueType) -> int | float | None:
    """The number in another kind, if that kind has it exactly."""
    try:
        made = int(value) if kind.kind is Kind.INT else float(value)
    except (OverflowError, ValueError):
        return None
    return (
        made if made == value and (kind.kind is Kind.FLOAT or FIRST_INTEGER <= made <= LAST_INTEGER) else None
    )


# --- truth


def _and_or(to: Compiler, call: Call, parts: list[Part]) -> Part:
    """What stands after a value that decides is not computed: it has no faults then."""
    ends = call.name == "OR"
    parts = [to.to(part, BOOL) for part in parts]
    if any(part.faults for part in parts[1:]):
        parts = [to.bind(part) for part in parts]
    faults: list[tuple[pl.Expr, str]] = []
    asked: Part | None = None
    last = max((place for place, part in enumerate(parts) if part.faults), default=0)
    for part in parts[: last + 1]:
        faults += _guarded(part.faults, asked)
        goes_on = to.make(part.expression.ne_missing(ends), BOOL, [part])
        asked = to.all_of([goes_on] if asked is None else [asked, goes_on])
    join = pl.any_horizontal if ends else pl.all_horizontal
    made = to.make(join(*(part.expression for part in parts)), BOOL, parts)
    return replace(made, faults=tuple(faults))


def _not(to: Compiler, call: Call, parts: list[Part]) -> Part:
    return to.make(~to.to(parts[0], BOOL).expression, BOOL, parts)


def _is_null(to: Compiler, call: Call, parts: list[Part]) -> Part:
    if parts[0].raw is not None:
        return Part(parts[0].raw.is_null(), BOOL, size=2, stage=parts[0].stage)
    return to.make(parts[0].expression.is_null(), BOOL, parts)


def _is_true(to: Compiler, call: Call, parts: list[Part]) -> Part:
    return to.make(to.to(parts[0], BOOL).expression.eq_missing(call.detail == "TRUE"), BOOL, parts)


def _guarded(faults: Sequence[tuple[pl.Expr, str]], guard: Part | None) -> list[tuple[pl.Expr, str]]:
    """Faults that count only where the guard holds."""
    return [(fault if guard is None else guard.expression & fault, why) for fault, why in faults]


def _case(to: Compiler, call: Call, parts: list[Part]) -> Part:
    """The value of the first condition that holds; only conditions and values that are asked for have faults."""
    *pairs, default = parts
    conditions = [to.to(part, BOOL) for part in pairs[::2]]
    values = [to.exactly(part, call.type) for part in [*pairs[1::2], default]]
    faults: list[tuple[pl.Expr, str]] = []
    if any(part.faults for part in (*conditions, *values)):
        conditions = [to.bind(part) for part in conditions]
        before: Part | None = None
        for condition, value in zip(conditions, values, strict=False):
            faults += _guarded(condition.faults, before)
            holds = to.make(condition.expression.eq_missing(True), BOOL, [condition])
            if value.faults:
                faults += _guarded(value.faults, holds if before is None else to.all_of([before, holds]))
            fails = to.make(condition.expression.ne_missing(True), BOOL, [condition])
            before = to.all_of([fails] if before is None else [before, fails])
        faults += _guarded(values[-1].faults, before)
    made = pl.when(conditions[0].expression).then(values[0].expression)
    for condition, value in zip(conditions[1:], values[1:], strict=False):
        made = made.when(condition.expression).then(value.expression)  # type: ignore[assignment]
    whole = to.make(made.otherwise(values[-1].expression), call.type, [*conditions, *values])
    return _longest(replace(whole, faults=tuple(faults)), values)


def _if(to: Compiler, call: Call, parts: list[Part]) -> Part:
    return _case(to, call, parts)


def _coalesce(to: Compiler, call: Call, parts: list[Part]) -> Part:
    values = [to.exactly(part, call.type) for part in parts]
    if any(part.faults for part in values[1:]):
        values = [to.bind(part) for part in values]
    faults: list[tuple[pl.Expr, str]] = []
    missing: Part | None = None
    for value in values:
        faults += _guarded(value.faults, missing)
        null = to.make(value.expression.is_null(), BOOL, [value])
        missing = to.all_of([null] if missing is None else [missing, null])
    made = to.make(pl.coalesce(*(value.expression for value in values)), call.type, values)
    return _longest(replace(made, faults=tuple(faults)), values)


def _longest(part: Part, values: Sequence[Part]) -> Part:
    low, high = min(value.low for value in values), max(value.high for value in values)
    factor, plus = max(value.factor for value in values), max(value.plus for value in values)
    return replace(part, low=low, high=high, factor=factor, plus=plus)


def _nullif(to: Compiler, call: Call, parts: list[Part]) -> Part:
    left, right = (to.bind(part) for part in parts)
    same = _compared(to, "=", left, right)
    value = to.exactly(left, call.type)
    made = to.make(
        pl.when(same.fill_null(False)).then(None).otherwise(value.expression), call.type, [left, right, value]
    )
    return replace(made, factor=left.factor, plus=left.plus)


def _extreme(to: Compiler, call: Call, parts: list[Part]) -> Part:
    greatest = call.name == "GREATEST"
    values = [to.exactly(part, call.type) for part in parts]
    pick = pl.max_horizontal if greatest else pl.min_horizontal
    if call.type.kind is not Kind.FLOAT:
        made = to.make(pick(*(value.expression for value in values)), call.type, values)
        return _longest(made, values)
    values = [to.bind(value) for value in values]
    extreme = to.bind(to.make(pick(*(value.expression for value in values)), FLOAT, values))
    # One zero of two would be chosen by chance.
    one = pl.when(extreme.expression == 0).then(0.0).otherwise(extreme.expression)
    if greatest:
        nan = combined([value.expression.is_nan().fill_null(False) for value in values])
        one = pl.when(nan).then(math.nan).otherwise(one)
    return to.make(one, FLOAT, [extreme, *values])


# --- lists and structs


def _field(to: Compiler, call: Call, parts: list[Part]) -> Part:
    struct = parts[0]
    assert struct.raw is not None
    assert isinstance(struct.dtype, pl.Struct)
    inner = next(one.dtype for one in struct.dtype.fields if one.name == call.detail)
    dtype: pl.DataType = inner() if isinstance(inner, type) else inner
    return load(struct.raw.struct.field(call.detail), dtype, to)


def _item(to: Compiler, call: Call, parts: list[Part]) -> Part:
    items, place = parts[0], to.bind(to.to(parts[1], INT))
    n = place.expression
    index = pl.when(n.is_between(1, 2**31)).then(n - 1).when(n.is_between(-(2**31), -1)).then(n)
    made = to.make(items.expression.list.get(index, null_on_oob=True), call.type, [items, place])
    return replace(made, factor=items.factor, plus=items.plus)


def _list(function: Callable[[pl.Expr], pl.Expr]) -> Operation:
    def run(to: Compiler, call: Call, parts: list[Part]) -> Part:
        made = to.make(function(parts[0].expression), call.type, parts)
        return replace(made, factor=parts[0].factor, plus=parts[0].plus)

    return run


def _contains(to: Compiler, call: Call, parts: list[Part]) -> Part:
    items, value = parts
    inner = items.type.inner
    if inner is not None and {inner.kind, value.type.kind} == {Kind.INT, Kind.FLOAT}:
        return _contains_exactly(to, inner, items, value)
    wanted = common(inner, value.type) if inner is not None else value.type
    assert wanted is not None
    items, value = to.to(items, ValueType(Kind.LIST, wanted)), to.bind(to.to(value, wanted))
    contained = items.expression.list.contains(value.expression)
    return to.make(pl.when(value.expression.is_not_null()).then(contained), BOOL, [items, value])


def _contains_exactly(to: Compiler, inner: ValueType, items: Part, value: Part) -> Part:
    """A number in a list of the other kind of numbers: what that kind does not have is not in it."""
    items, value = to.bind(items), to.bind(value)
    other = value.expression.cast(polars_type_of(inner), strict=False)
    back = other.cast(WIDE if inner.kind is Kind.FLOAT else pl.Float64, strict=False)
    same = (
        back == (value.expression.cast(WIDE) if inner.kind is Kind.FLOAT else value.expression)
    ).fill_null(False)
    elements = items.expression.list
    contained = pl.when(same).then(elements.contains(other)).otherwise(elements.len() < 0)
    return to.make(pl.when(value.expression.is_not_null()).then(contained), BOOL, [items, value])


def _added(to: Compiler, call: Call, parts: list[Part]) -> Part:
    """The sum of a list, one item after the other: in blocks, its bits could depend on where the list lies."""
    items = to.bind(parts[0])
    if call.type.kind is Kind.INT:
        wide = items.expression.list.eval(pl.element().cast(WIDE)).list.sum()
        return to.strict(to.make(wide.cast(pl.Int64, strict=False), INT, [items]), [items], INTEGER_FAULT)
    return to.make(
        pl.when(items.expression.is_not_null()).then(_running(items).fill_null(0.0)), FLOAT, [items]
    )


def _running(items: Part) -> pl.Expr:
    real = items.expression.cast(pl.List(pl.Float64))
    return real.list.eval(pl.element().drop_nulls().cum_sum().last()).list.first()


def _mean(to: Compiler, call: Call, parts: list[Part]) -> Part:
    items = to.bind(parts[0])
    return to.make(_running(items) / items.expression.list.drop_nulls().list.len(), FLOAT, [items])


OPERATIONS: dict[str, Operation] = {
    **NUMBER_OPERATIONS,
    "=": _comparison,
    "<>": _comparison,
    "<": _comparison,
    "<=": _comparison,
    ">": _comparison,
    ">=": _comparison,
    "IS_DISTINCT": _distinct,
    "IN": _in,
    "AND": _and_or,
    "OR": _and_or,
    "NOT": _not,
    "IS_NULL": _is_null,
    "IS_TRUE": _is_true,
    "CASE": _case,
    "IF": _if,
    "COALESCE": _coalesce,
    "NULLIF": _nullif,
    "GREATEST": _extreme,
    "LEAST": _extreme,
    "FIELD": _field,
    "ARRAY_LENGTH": _list(lambda items: items.list.len().cast(pl.Int64)),
    "ARRAY_GET": _item,
    "ARRAY_CONTAINS": _contains,
    "ARRAY_LOWER": _list(lambda items: items.list.min()),
    "ARRAY_UPPER": _list(lambda items: items.list.max()),
    "ARRAY_SUM": _added,
    "ARRAY_MEAN": _mean,
    "ARRAY_REVERSE": _list(lambda items: items.list.reverse()),
    **TEXT_OPERATIONS,
    **TIME_OPERATIONS,
}
