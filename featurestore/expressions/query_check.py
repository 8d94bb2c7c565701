"""Queries of ``sql`` steps, checked before anything runs them: one SELECT over the table ``self``, which reads no file."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from featurestore.errors import SpecError, did_you_mean
from featurestore.expressions.constants import interval, time_literal
from featurestore.expressions.dialect import (
    DATE_PARTS,
    QUERY_ONLY,
    REFUSED,
    RESERVED,
    TYPES,
    WORD,
    DialectError,
    check_count,
    check_function,
)
from featurestore.expressions.functions import FUNCTIONS
from featurestore.expressions.grammar import parse_query
from featurestore.expressions.value_type import DATE, TIMESTAMP

if TYPE_CHECKING:
    from sqlglot import exp

SELF = "self"


def check_query(text: str, *, where: str) -> None:
    """Raises SpecError unless the text is one SELECT that reads the table ``self`` and nothing else.

    >>> check_query("SELECT carrier, count(*) AS flights FROM self GROUP BY carrier", where="spec")
    """
    _Check(text, where).select()


class _Check:
    """One query being checked."""

    def __init__(self, text: str, where: str) -> None:
        self._text, self._where = text, where

    def select(self) -> None:
        from sqlglot import exp

        root = parse_query(self._text, self._where)
        if root.args.get("into"):
            raise self._refuse("a query cannot write", root.args["into"].sql().strip())
        names = {cte.alias for cte in root.find_all(exp.CTE)}
        for name in names:
            if name.lower() == SELF:
                raise self._refuse("the name `self` is reserved for the input table", f"WITH {name}")
        for table in root.find_all(exp.Table):
            self._table(table, names | {SELF})
        self._walk(root)

    def _walk(self, root: exp.Expr) -> None:
        from sqlglot import exp

        allowed = _nodes()
        for node in root.walk():
            if isinstance(node, exp.Column):
                self._column(node)
            elif isinstance(node, exp.Anonymous):
                self._function(node)
            elif isinstance(node, exp.Cast):
                self._cast(node)
            elif type(node) not in allowed:
                raise self._refuse(f"{node.key.upper()} is not allowed here", self._text)
            self._details(node)

    def _column(self, column: exp.Column) -> None:
        for part in column.parts:
            bare = "" if part.args.get("quoted") else part.name
            if bare.upper() in REFUSED:
                raise self._refuse(f"{bare} is not allowed here", bare, f"Because {REFUSED[bare.upper()]}")
            if bare.upper() in RESERVED:
                raise self._refuse("this is a reserved word", bare, f'To name a column, quote it: "{bare}"')

    def _function(self, node: exp.Anonymous) -> None:
        name = str(node.this).upper()
        arguments = node.expressions
        if problem := check_function(name, self._text):
            raise self._refused(problem)
        if name in FUNCTIONS:
            least, most = FUNCTIONS[name].least, FUNCTIONS[name].most
        elif name in QUERY_ONLY:
            least, most = QUERY_ONLY[name].least, QUERY_ONLY[name].most
        else:
            hint = did_you_mean(name, [*FUNCTIONS, *QUERY_ONLY])
            raise self._refuse(f"unknown function {name}", self._text, hint)
        if problem := check_count(name, len(arguments), least, most):
            raise self._refused(problem)

    def _cast(self, node: exp.Cast) -> None:
        from sqlglot import exp

        to = node.to.this.name
        if to not in TYPES or node.to.expressions:
            raise self._refuse("unknown type", node.to.sql(), did_you_mean(to, TYPES))
        literal = _text(node.this) and TYPES[to] in (DATE, TIMESTAMP)
        if literal and not isinstance(node, exp.TryCast) and not time_literal(node.this.name, to):
            raise self._refuse(
                f"this is not a {to}", repr(node.this.name), "Write 2013-01-31 or 2013-01-31 10:00:00"
            )

    def _details(self, node: exp.Expr) -> None:
        """Refuses, node by node, what sqlglot accepts and a query may not say."""
        from sqlglot import exp

        if isinstance(node, exp.Extract) and node.this.name.upper() not in DATE_PARTS:
            hint = did_you_mean(node.this.name.upper(), DATE_PARTS)
            raise self._refuse("unknown part of a time", node.this.name, hint)
        patterns = (exp.Like, exp.ILike, exp.RegexpLike, exp.RegexpILike)
        if isinstance(node, patterns) and not _text(node.expression):
            raise self._refuse(
                "a pattern must be a string literal",
                node.expression.sql(),
                "Write it in the spec: it cannot come from a column",
            )
        if isinstance(node, exp.Interval) and not _interval(node):
            raise self._refuse(
                "unknown interval",
                node.sql(),
                "Write INTERVAL '90 minutes'; units go from microseconds to years",
            )
        if isinstance(node, exp.In) and not node.expressions and not node.args.get("query"):
            raise self._refuse("IN needs values in parentheses", node.sql())
        if isinstance(node, exp.Identifier) and not node.args.get("quoted") and not WORD.fullmatch(node.name):
            raise self._refuse(
                "this cannot be parsed", repr(self._text), f"{node.name!r} needs a value on each side"
            )
        if isinstance(node, exp.Is) and not isinstance(node.expression, (exp.Null, exp.Boolean)):
            raise self._refuse("IS must be followed by NULL, TRUE or FALSE", node.sql())
        if isinstance(node, (exp.Array, exp.Bracket)) and not all(map(_literal, node.expressions)):
            raise self._refuse(
                "only numbers and strings are allowed here",
                node.sql(),
                "Use ARRAY_GET for an index that varies",
            )
        if isinstance(node, exp.With) and node.args.get("recursive"):
            raise self._refuse("recursion is not allowed", "WITH RECURSIVE")

    def _table(self, table: exp.Table, known: set[str]) -> None:
        from sqlglot import exp

        if not isinstance(table.this, exp.Identifier):
            raise self._refuse(
                "table functions are not allowed",
                table.sql(),
                "Read from the table `self`; join another pipeline with a `lookup` step",
            )
        if table.args.get("db") or table.name not in known:
            raise self._refuse(
                "a query reads the table `self` and nothing else",
                table.sql(),
                did_you_mean(table.name, known) + ". Join another pipeline with a `lookup` step",
            )

    def _refused(self, error: DialectError) -> SpecError:
        return self._refuse(error.problem, error.got, error.hint, wanted=error.wanted)

    def _refuse(self, problem: str, got: str, hint: str = "", *, wanted: str = "") -> SpecError:
        return SpecError(problem, where=self._where, wanted=wanted, got=got, hint=hint)


def _literal(node: exp.Expr) -> bool:
    from sqlglot import exp

    return isinstance(node, exp.Literal)


def _text(node: exp.Expr) -> bool:
    return _literal(node) and bool(node.args["is_string"])


def _interval(node: exp.Interval) -> bool:
    unit = f" {node.unit.name}" if node.unit else ""
    return _text(node.this) and interval(f"{node.this.name}{unit}".lower()) is not None


@cache
def _nodes() -> frozenset[type[exp.Expr]]:
    """What a query may be made of, besides columns, functions and casts."""
    from sqlglot import exp

    row = {
        exp.And, exp.Or, exp.Not, exp.Paren, exp.Is, exp.Null, exp.Boolean, exp.Literal, exp.Identifier,
        exp.Add, exp.Sub, exp.Mul, exp.Div, exp.IntDiv, exp.Mod, exp.Neg, exp.DPipe,
        exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE, exp.NullSafeEQ, exp.NullSafeNEQ,
        exp.Between, exp.In, exp.Like, exp.ILike, exp.RegexpLike, exp.RegexpILike,
        exp.Case, exp.If, exp.DataType, exp.Extract, exp.Var, exp.Interval, exp.Array, exp.Bracket,
    }  # fmt: skip
    more = {
        exp.Select, exp.From, exp.Join, exp.Where, exp.Group, exp.Having, exp.Qualify, exp.Order, exp.Ordered,
        exp.Limit, exp.Offset, exp.Distinct, exp.With, exp.CTE, exp.TableAlias, exp.Table, exp.Subquery,
        exp.Alias, exp.Star, exp.Window, exp.Filter, exp.Exists,
    }  # fmt: skip
    return frozenset(row | more)
