"""Expressions and queries of specs, checked before anything runs them.

An expression is row-wise: its answer depends on the row alone. So the order of files, how they are cut into
batches, and a rerun never change a result, and nothing can be read but the row. A query is one SELECT over the
table ``self``. What passes here runs in Polars (``polars.sql_expr``, ``polars.SQLContext``) and reads no file.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, datetime
from functools import cache
from typing import TYPE_CHECKING

from featurestore.errors import SpecError, did_you_mean
from featurestore.expressions.dialect import (
    CLAUSES,
    DATE_PARTS,
    FUNCTIONS,
    INTERVAL,
    MANY,
    READERS,
    REFUSED,
    RESERVED,
    TIMES,
    TYPES,
    WHY,
    WORD,
    DialectError,
    Token,
    Use,
    tokens,
)

if TYPE_CHECKING:
    from sqlglot import exp
    from sqlglot.dialects.dialect import Dialect

SELF = "self"
_STEP = "An `sql` step can do more with the rows of a file, `aggregate` in a view with those of an entity"


def check_expression(text: str, *, where: str, columns: Collection[str] | None = None) -> frozenset[str]:
    """The columns that a row-wise expression uses.

    ``columns``: those that there are; None if they are not known yet.

    Raises:
        SpecError: it is no expression, or one that is refused; the message says why and what to write instead.

    >>> sorted(check_expression("distance / (air_time / 60.0)", where="spec"))
    ['air_time', 'distance']
    """
    used = _Check(text, where, query=False).expression()
    if columns is not None:
        for name in sorted(used):
            if name not in columns:
                raise SpecError(
                    f"unknown column {name!r}", where=where, got=text, hint=did_you_mean(name, columns)
                )
    return used


def check_query(text: str, *, where: str) -> None:
    """Nothing, if the text is one SELECT that reads the table ``self`` and nothing else.

    Raises:
        SpecError: it is no such query; the message says why and what to write instead.

    >>> check_query("SELECT carrier, count(*) AS flights FROM self GROUP BY carrier", where="spec")
    """
    _Check(text, where, query=True).select()


class _Check:
    """One text being checked."""

    def __init__(self, text: str, where: str, *, query: bool) -> None:
        self._text, self._where, self._query = text, where, query
        self._tokens: list[Token] = []

    def expression(self) -> frozenset[str]:
        from sqlglot import exp

        select = self._parse(f"SELECT ({self._text})")
        if not isinstance(select, exp.Select) or any(
            value for key, value in select.args.items() if key != "expressions"
        ):
            raise self._refuse("an expression is one value of a row", "clauses of a query", _STEP)
        (root,) = select.expressions
        inner = root.this
        if isinstance(root, exp.Tuple):
            raise self._refuse("an expression gives one value", f"{len(root.expressions)} values")
        if isinstance(inner, exp.Alias):
            hint = "The name stands in the YAML; the operator before it may be unknown"
            raise self._refuse("an expression has no alias", f"the name {inner.alias!r} after it", hint)
        self._count_words(root)
        return self._walk(root)

    def select(self) -> None:
        from sqlglot import exp

        root = self._parse(self._text)
        if not isinstance(root, exp.Select):
            raise self._refuse("only one SELECT is allowed", root.key.upper())
        if root.args.get("into"):
            raise self._refuse("a query writes nothing", root.args["into"].sql().strip())
        names = {cte.alias for cte in root.find_all(exp.CTE)}
        for name in names:
            if name.lower() == SELF:
                raise self._refuse("the table `self` cannot be given another meaning", f"WITH {name}")
        for table in root.find_all(exp.Table):
            self._table(table, names | {SELF})
        self._walk(root)

    def _parse(self, sql: str) -> exp.Expr:
        import sqlglot
        from sqlglot import TokenType
        from sqlglot.errors import SqlglotError

        try:
            ours = tokens(self._text)
        except DialectError as odd:
            raise self._refuse(odd.problem, odd.got, odd.hint) from odd
        if self._query and (not ours or ours[0].word not in ("SELECT", "WITH", "")):
            raise self._refuse("only one SELECT is allowed", ours[0].text if ours else "nothing")
        try:
            theirs = _polars().tokenize(sql)
            (root,) = sqlglot.parse(sql, dialect=_polars())
        except (SqlglotError, RecursionError, ValueError) as error:
            if not self._query and any(token.word in CLAUSES for token in ours):
                raise self._refuse(
                    "an expression is one value of a row", "clauses of a query", _STEP
                ) from error
            wanted = "one SELECT over the table `self`" if self._query else "an expression of Polars SQL"
            raise self._refuse(
                "this cannot be parsed", repr(self._text), _first_line(error), wanted=wanted
            ) from error
        for kind, theirs_kind, mark in (
            ("string", TokenType.STRING, "'"),
            ("quoted", TokenType.IDENTIFIER, '"'),
        ):
            mine = [token.text[1:-1].replace(mark * 2, mark) for token in ours if token.kind == kind]
            if mine != [token.text for token in theirs if token.token_type == theirs_kind]:
                raise self._refuse("this can be read in two ways", repr(self._text))
        if root is None:
            raise self._refuse("there is nothing", repr(self._text))
        self._tokens = ours
        return root

    def _count_words(self, root: exp.Expr) -> None:
        """Each AND and AS has its place: sqlglot passes over some that have none."""
        from sqlglot import exp

        words = [token.word for token in self._tokens]
        casts = words.count("CAST") + words.count("TRY_CAST")
        ands = sum(1 for _ in root.find_all(exp.And, exp.Between))
        if words.count("AND") != ands or words.count("AS") > casts:
            raise self._refuse(
                "this cannot be parsed", repr(self._text), "An AND or an AS is missing or too many"
            )

    def _walk(self, root: exp.Expr) -> frozenset[str]:
        from sqlglot import exp

        allowed = _nodes(query=self._query)
        used: set[str] = set()
        for node in root.walk():
            if isinstance(node, exp.Column):
                used.add(self._column(node))
            elif isinstance(node, exp.Anonymous):
                self._function(node)
            elif isinstance(node, exp.Cast):
                self._cast(node)
            elif isinstance(node, exp.Star) and not self._query:
                raise self._refuse("an expression names its columns", "*")
            elif type(node) not in allowed:
                raise self._node(node)
            self._details(node)
        return frozenset(used)

    def _column(self, column: exp.Column) -> str:
        for part in column.parts:
            bare = "" if part.args.get("quoted") else part.name
            if bare.upper() in REFUSED:
                raise self._refuse(f"{bare} is not allowed here", bare, f"Because {REFUSED[bare.upper()]}")
            if bare.upper() in RESERVED:
                raise self._refuse(
                    "this word has a meaning of its own", bare, f'A column of this name: "{bare}"'
                )
        return str(column.parts[0].name)

    def _function(self, node: exp.Anonymous) -> None:
        name = str(node.this).upper()
        arguments = node.expressions
        if name in REFUSED:
            raise self._refuse(f"{name} is not allowed here", self._text, f"Because {REFUSED[name]}")
        if READERS.search(name):
            raise self._refuse(
                f"{name} is not allowed: it reads what is not in the row",
                self._text,
                "Name the files in `source`, or join another pipeline with a `lookup` step",
            )
        function = FUNCTIONS.get(name)
        if function is None:
            known = [known for known, one in FUNCTIONS.items() if self._query or one.use is Use.ROW]
            raise self._refuse(f"unknown function {name}", self._text, did_you_mean(name, known))
        if not self._query and function.use is not Use.ROW:
            raise self._refuse(f"{name} is not allowed in an expression", self._text, WHY[function.use])
        if not function.least <= len(arguments) <= function.most:
            wanted = str(function.least)
            if function.most != function.least:
                wanted += f" to {function.most}" if function.most < MANY else " or more"
            raise self._refuse(
                f"wrong number of arguments for {name}", f"{len(arguments)} arguments", wanted=wanted
            )
        for place in sorted(function.literals):
            if place < len(arguments) and not _literal(arguments[place]):
                raise self._refuse(
                    f"{name} takes only a text or a number as argument {place + 1}",
                    arguments[place].sql(),
                    "Polars needs to know it before it sees the rows",
                )

    def _cast(self, node: exp.Cast) -> None:
        from sqlglot import exp

        to = node.to.this.name
        if to not in TYPES or node.to.expressions:
            raise self._refuse("unknown type", node.to.sql(), did_you_mean(to, TYPES))
        literal = _text(node.this) and to in TIMES
        if literal and not isinstance(node, exp.TryCast) and not _time(node.this.name, to):
            raise self._refuse(
                f"this is no {to}", repr(node.this.name), "Write 2013-01-31, 2013-01-31 10:00:00"
            )
        if not isinstance(node, exp.TryCast) and not self._query and not literal:
            raise self._refuse(
                "CAST is not allowed in an expression", self._text, WHY[Use.RAISES] + ": write TRY_CAST"
            )

    def _details(self, node: exp.Expr) -> None:
        """What sqlglot knows and Polars does not, node by node."""
        from sqlglot import exp

        if isinstance(node, exp.Extract) and node.this.name.upper() not in DATE_PARTS:
            hint = did_you_mean(node.this.name.upper(), DATE_PARTS)
            raise self._refuse("unknown part of a time", node.this.name, hint)
        patterns = (exp.Like, exp.ILike, exp.RegexpLike, exp.RegexpILike)
        if isinstance(node, patterns) and not _text(node.expression):
            raise self._refuse("a pattern is a text", node.expression.sql(), "Polars needs to know it first")
        if isinstance(node, exp.Interval) and not _interval(node):
            raise self._refuse(
                "unknown interval", node.sql(), "Write INTERVAL '90 minutes'; there are weeks … microseconds"
            )
        if isinstance(node, exp.In) and not node.expressions and not node.args.get("query"):
            raise self._refuse("IN wants values in parentheses", node.sql())
        if isinstance(node, exp.Identifier) and not node.args.get("quoted") and not WORD.fullmatch(node.name):
            raise self._refuse(
                "this cannot be parsed", repr(self._text), f"{node.name!r} wants a value on each side"
            )
        if isinstance(node, exp.Is) and not isinstance(node.expression, (exp.Null, exp.Boolean)):
            raise self._refuse("IS wants NULL, TRUE or FALSE", node.sql())
        if isinstance(node, (exp.Array, exp.Bracket)) and not all(map(_literal, node.expressions)):
            raise self._refuse(
                "here stand only numbers and texts", node.sql(), "See ARRAY_GET for places that vary"
            )
        if isinstance(node, exp.With) and node.args.get("recursive"):
            raise self._refuse("recursion is not allowed", "WITH RECURSIVE")

    def _table(self, table: exp.Table, known: set[str]) -> None:
        from sqlglot import exp

        if not isinstance(table.this, exp.Identifier):
            raise self._refuse(
                "functions that give tables are not allowed",
                table.sql(),
                "Read from the table `self`; join another pipeline with a `lookup` step",
            )
        if table.args.get("db") or table.name not in known:
            raise self._refuse(
                "a query reads the table `self` and nothing else",
                table.sql(),
                did_you_mean(table.name, known) + ". Join another pipeline with a `lookup` step",
            )

    def _node(self, node: exp.Expr) -> SpecError:
        reason = _REASONS.get(node.key, f"{node.key.upper()} is not allowed here")
        return self._refuse(reason, self._text, "" if self._query else _STEP)

    def _refuse(self, problem: str, got: str, hint: str = "", *, wanted: str = "") -> SpecError:
        return SpecError(problem, where=self._where, wanted=wanted, got=got, hint=hint)


_REASONS = {
    "window": "window functions are not allowed in an expression: its answer depends on the row alone",
    "subquery": "subqueries are not allowed in an expression: its answer depends on the row alone",
    "exists": "subqueries are not allowed in an expression: its answer depends on the row alone",
    "select": "subqueries are not allowed in an expression: its answer depends on the row alone",
    "attimezone": "AT TIME ZONE is not allowed here: all times are UTC",
    "bitwisexor": "the operator ^ is not allowed here: write POW(x, y)",
}


def _literal(node: exp.Expr) -> bool:
    from sqlglot import exp

    return isinstance(node, exp.Literal)


def _text(node: exp.Expr) -> bool:
    return _literal(node) and bool(node.args["is_string"])


def _interval(node: exp.Interval) -> bool:
    unit = f" {node.unit.name}" if node.unit else ""
    return _text(node.this) and INTERVAL.fullmatch(f"{node.this.name}{unit}".lower()) is not None


def _time(text: str, kind: str) -> bool:
    """Whether Polars reads it as a literal of that type."""
    try:
        if kind == "DATE":
            return date.fromisoformat(text).isoformat() == text
        moment = datetime.fromisoformat(text)
    except ValueError:
        return False
    return len(text) >= len("2013-01-31 10:00:00") and (moment.tzinfo is not None) == (kind == "TIMESTAMPTZ")


def _first_line(error: Exception) -> str:
    """What the parser said, without the colours that it puts around the place."""
    return str(error).replace("\x1b[4m", "").replace("\x1b[0m", "").split("\n")[0].split(". Line ")[0]


@cache
def _nodes(*, query: bool) -> frozenset[type[exp.Expr]]:
    """What an expression, or a query, may be made of, besides columns, functions and casts."""
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
    return frozenset(row | more if query else row)


@cache
def _polars() -> Dialect:
    """A dialect that knows operators and CASE, and takes every function for what it is called."""
    import sqlglot
    from sqlglot import TokenType
    from sqlglot.dialects.dialect import Dialect

    operators = {
        "//": TokenType.DIV,
        "~": TokenType.RLIKE,
        "!~": TokenType.RLIKE,
        "~*": TokenType.IRLIKE,
        "!~*": TokenType.IRLIKE,
    }

    class Polars(Dialect):
        class Tokenizer(sqlglot.Tokenizer):
            KEYWORDS = {  # noqa: RUF012 - sqlglot's way to define a dialect
                **{key: kind for key, kind in sqlglot.Tokenizer.KEYWORDS.items() if key != "DIV"},
                **operators,
            }

        class Parser(sqlglot.Parser):
            FUNCTIONS = {}  # noqa: RUF012
            FUNCTION_PARSERS = {  # noqa: RUF012
                name: parse
                for name, parse in sqlglot.Parser.FUNCTION_PARSERS.items()
                if name in ("CAST", "TRY_CAST", "EXTRACT")
            }
            NO_PAREN_FUNCTIONS = {}  # noqa: RUF012
            NO_PAREN_FUNCTION_PARSERS = {  # noqa: RUF012
                "CASE": sqlglot.Parser.NO_PAREN_FUNCTION_PARSERS["CASE"]
            }

    return Polars()
