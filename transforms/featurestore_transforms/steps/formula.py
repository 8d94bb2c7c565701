"""Expressions of specs as Polars expressions that no row can make raise.

Polars finds some errors of types only when it sees values, and some functions raise for one odd value: that would
stop all rows for the sake of one. So an expression is tried before it is used, first on plain values, then on odd
ones (0, -1, NaN, infinity, the empty text …), in all mixtures of few columns and many of more.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from functools import lru_cache
from math import inf, nan, prod
from typing import Any

import polars as pl
from polars.exceptions import PanicException, PolarsError

from featurestore.errors import SpecError
from featurestore.expressions.check import check_expression
from featurestore_transforms.casting.delta_types import whole

_MIXTURES = 256


def formula(text: str, columns: Mapping[str, pl.DataType], where: str) -> pl.Expr:
    """The expression, over columns of these types.

    Raises:
        SpecError: it is refused, its types do not fit, or there are values for which it raises.
    """
    return _tried(text, columns, where)[0]


def condition(text: str, columns: Mapping[str, pl.DataType], where: str) -> pl.Expr:
    """The expression, which is true or false of each row and never null: null counts as false.

    Raises:
        SpecError: as :func:`formula`; or its answers are of another type.
    """
    expression, answer = _tried(text, columns, where)
    if answer != pl.Boolean():
        raise SpecError("a condition is true or false", where=where, got=f"{text}, which is {answer}")
    return expression.fill_null(False)


def _tried(text: str, columns: Mapping[str, pl.DataType], where: str) -> tuple[pl.Expr, pl.DataType]:
    used = check_expression(text, where=where, columns=columns)
    return _try(text, tuple(sorted((name, columns[name]) for name in used)), where)


@lru_cache(maxsize=1024)
def _try(text: str, columns: tuple[tuple[str, pl.DataType], ...], where: str) -> tuple[pl.Expr, pl.DataType]:
    types = ", ".join(f"{name}: {dtype}" for name, dtype in columns)
    got = f"{text} ({types})" if types else text
    try:
        expression = pl.sql_expr(text)
        answer = _rows(columns, plain=True).select(expression).dtypes[0]
    except (PolarsError, PanicException) as error:
        raise SpecError("types do not fit", where=where, got=got, hint=said(error)) from error
    try:
        _rows(columns, plain=False).select(expression)
    except (PolarsError, PanicException) as error:
        raise SpecError(
            "there are values for which this raises, and one such row would stop all others",
            where=where,
            got=got,
            hint=f"Polars says: {said(error)}",
        ) from error
    return expression, answer


def _rows(columns: tuple[tuple[str, pl.DataType], ...], *, plain: bool) -> pl.DataFrame:
    """Rows of these columns: one plain and one null, or mixtures of odd values."""
    series = {}
    found = [_values(dtype, _PLAIN if plain else _ODD) for _, dtype in columns]
    rows = 2 if plain else min(_MIXTURES, prod(map(len, found)))
    step = 1
    for (name, dtype), some in zip(columns, found, strict=True):
        picked = [some[row // step % len(some)] for row in range(rows)]
        series[name] = pl.Series(picked, dtype=dtype, strict=False)
        if not plain:
            step = step * len(some) if step * len(some) < _MIXTURES else 1
    return pl.DataFrame(series or {"": [None] * rows})


def _values(dtype: pl.DataType, values: Mapping[Any, list[Any]]) -> list[Any]:
    if isinstance(dtype, pl.List | pl.Array):
        inner = _values(whole(dtype.inner), values)
        if isinstance(dtype, pl.Array):
            return [[value] * dtype.size for value in inner]
        return [inner, [], None] if values is _ODD else [inner[:1], None]
    if isinstance(dtype, pl.Struct):
        fields = {field.name: _values(whole(field.dtype), values)[0] for field in dtype.fields}
        return [fields, None]
    if dtype.is_integer():
        kind = "unsigned" if dtype.is_unsigned_integer() else "signed"
        # The least integer divided by -1 is the one overflow that raises. It is no reason to refuse division.
        return values[kind]
    if dtype.is_float():
        return values["float"]
    return values.get(dtype.base_type(), [None, None])


_PLAIN: dict[Any, list[Any]] = {
    "signed": [1, None],
    "unsigned": [1, None],
    "float": [1.0, None],
    pl.Decimal: [1, None],
    pl.Boolean: [True, None],
    pl.String: ["a", None],
    pl.Binary: [b"a", None],
    pl.Date: [date(2001, 2, 3), None],
    pl.Datetime: [datetime(2001, 2, 3), None],
}
_ODD: dict[Any, list[Any]] = {
    "signed": [0, -1, 127],
    "unsigned": [0, 5, 127],
    "float": [0.0, nan, inf, -inf, -1.5],
    pl.Decimal: [0, -1],
    pl.Boolean: [True, False],
    pl.String: ["", "[", "-1", "é\N{GRINNING FACE}"],
    pl.Binary: [b"", b"\xff"],
    pl.Date: [date(1, 1, 1), date(9999, 12, 31)],
    pl.Datetime: [datetime(1678, 1, 1), datetime(2261, 12, 31)],
}


def said(error: BaseException) -> str:
    """What Polars said, without the plan that it puts after it."""
    return " ".join(str(error).split("\n\n")[0].split())
