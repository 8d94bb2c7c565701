"""The text of a checked query as DuckDB runs it, so that it says what an expression would.

Whole-number literals are int64, those with a point or an exponent float64. A division by zero is null. Times are UTC.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from featurestore.errors import SpecError
from featurestore.expressions.constants import FIRST_INTEGER, LAST_INTEGER, number, time_literal, within_float
from featurestore.expressions.grammar import parse_query
from featurestore.expressions.query_check import check_query

if TYPE_CHECKING:
    from sqlglot import exp

SAME = frozenset(
    """ABS CEIL CEILING FLOOR SIGN SQRT CBRT EXP LN LOG2 LOG10 SIN COS TAN COT ASIN ACOS ATAN ATAN2 DEGREES RADIANS PI
    POW POWER ROUND TRUNC GREATEST LEAST COALESCE NULLIF IFNULL LOWER UPPER REVERSE LENGTH TRIM LTRIM RTRIM LEFT RIGHT
    SUBSTR SUBSTRING STARTS_WITH ENDS_WITH CONCAT CONCAT_WS SPLIT_PART YEAR QUARTER MONTH WEEK DAY DAYOFWEEK HOUR
    MINUTE SECOND DATE_PART DATE_TRUNC STRFTIME STRPTIME BIT_COUNT SUM AVG MIN MAX MEDIAN STDDEV VARIANCE FIRST LAST
    ARRAY_AGG COUNT QUANTILE_CONT QUANTILE_DISC CORR COVAR_POP ROW_NUMBER RANK DENSE_RANK LAG LEAD FIRST_VALUE
    LAST_VALUE""".split()  # noqa: SIM905 - one glance shows them all
)
RENAMED = {
    "TRUNCATE": "TRUNC",
    "CHAR_LENGTH": "LENGTH",
    "CHARACTER_LENGTH": "LENGTH",
    "OCTET_LENGTH": "STRLEN",
    "REGEXP_LIKE": "REGEXP_MATCHES",
    "STRING_TO_ARRAY": "STRING_SPLIT",
    "ARRAY_LENGTH": "LEN",
    "ARRAY_GET": "LIST_EXTRACT",
    "ARRAY_CONTAINS": "LIST_CONTAINS",
    "ARRAY_LOWER": "LIST_MIN",
    "ARRAY_UPPER": "LIST_MAX",
    "ARRAY_SUM": "LIST_SUM",
    "ARRAY_MEAN": "LIST_AVG",
    "ARRAY_REVERSE": "LIST_REVERSE",
    "TRY_STRPTIME": "TRY_STRPTIME",
    "ENDS_WITH": "SUFFIX",
}
QUERY_NAMES = SAME | RENAMED.keys() | {"IF"}
"""Functions that a query may call, besides those that cast."""
_CASTS = {"DATE": "DATE", "TIMESTAMP": "TIMESTAMP", "DATETIME": "TIMESTAMP", "TIME": "TIME"}


def query_text(query: str, *, where: str) -> str:
    """The query for DuckDB.

    Raises:
        SpecError: it is refused; the message says why.

    >>> query_text("SELECT x / 2.5 AS y FROM self", where="spec")
    'SELECT "x" / NULLIF(CAST(\\'2.5\\' AS DOUBLE), 0) AS "y" FROM "self"'
    """
    from sqlglot import exp

    check_query(query, where=where)
    root = parse_query(query, where)
    # From the leaves up, for what is replaced is not looked into again.
    for node in reversed(list(root.walk())):
        made = _replaced(node, where)
        if made is not node:
            node.replace(made)
    assert isinstance(root, exp.Expr)
    return root.sql(dialect="duckdb", identify=True, comments=False)


def _replaced(node: exp.Expr, where: str) -> exp.Expr:
    from sqlglot import exp

    if isinstance(node, exp.Literal) and not node.args["is_string"]:
        return _number(node, where)
    if isinstance(node, (exp.Div, exp.IntDiv, exp.Mod)):
        divisor = exp.func("NULLIF", node.expression.copy(), exp.Literal.number(0), dialect="duckdb")
        node.set("expression", divisor)
        node.set("typed", False)
        node.set("safe", False)
    elif isinstance(node, (exp.RegexpLike, exp.RegexpILike)):
        flags = [exp.Literal.string("i")] if isinstance(node, exp.RegexpILike) else []
        return exp.Anonymous(this="REGEXP_MATCHES", expressions=[node.this, node.expression, *flags])
    elif isinstance(node, exp.Cast):
        return _cast(node)
    elif isinstance(node, exp.Anonymous):
        return _function(node, where)
    return node


def _number(node: exp.Expr, where: str) -> exp.Expr:
    from sqlglot import exp

    value = number(str(node.this))
    if isinstance(value, float):
        if not within_float(str(node.this)):
            raise SpecError("a number is out of the range of float64", where=where, got=str(node.this))
        return exp.cast(exp.Literal.string(repr(value)), "DOUBLE")
    negative = isinstance(node.parent, exp.Neg)
    if not FIRST_INTEGER <= (-value if negative else value) <= LAST_INTEGER:
        raise SpecError(
            "an integer is out of the range of int64",
            where=where,
            wanted=f"{FIRST_INTEGER} to {LAST_INTEGER}",
            got=str(value),
            hint="Write it with a decimal point for a float64: 1.0",
        )
    places = (exp.Anonymous, exp.Limit, exp.Offset, exp.Ordered, exp.Group, exp.Bracket, exp.Interval)
    if isinstance(node.parent, places) or value > LAST_INTEGER:
        return node
    return exp.cast(node.copy(), "BIGINT")


def _cast(node: exp.Expr) -> exp.Expr:
    """Times in UTC without a zone, as the rows have them."""
    from sqlglot import exp

    kind = node.to.this.name  # type: ignore[attr-defined]
    if kind != "TIMESTAMPTZ":
        return node
    moment = time_literal(node.this.name, kind) if isinstance(node.this, exp.Literal) else None
    value = exp.Literal.string(str(moment).removesuffix("+00:00")) if moment else node.this.copy()
    if isinstance(node, exp.TryCast):
        return exp.TryCast(this=value, to=exp.DataType.build("TIMESTAMP"))
    return exp.cast(value, "TIMESTAMP")


def _function(node: exp.Expr, where: str) -> exp.Expr:
    from sqlglot import exp

    name = str(node.this).upper()
    if name in _CASTS:
        value = node.expressions[0]
        if len(node.expressions) > 1:
            value = exp.Anonymous(this="STRPTIME", expressions=node.expressions)
        return exp.cast(value.copy(), _CASTS[name])
    if name == "IF":
        condition, first, second = node.expressions
        return exp.Case(ifs=[exp.If(this=condition, true=first)], default=second)
    if name in RENAMED or name in SAME:
        return exp.Anonymous(this=RENAMED.get(name, name), expressions=node.expressions)
    raise SpecError(
        f"{name} is not allowed in a query", where=where, hint="Compute it in a `derive` step before or after"
    )
