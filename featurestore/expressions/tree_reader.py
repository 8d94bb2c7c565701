"""From the syntax tree of an expression to its checked tree: each node in its types, or the reason why it is refused."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from featurestore.errors import SpecError, did_you_mean
from featurestore.expressions.constants import (
    FIRST_INTEGER,
    LAST_INTEGER,
    check_call,
    fold,
    interval,
    number,
    time_literal,
    within_float,
)
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
from featurestore.expressions.functions import BY_NAME, FUNCTIONS
from featurestore.expressions.grammar import STEP
from featurestore.expressions.overload import NoLiteral, NoSignature, castable, resolve
from featurestore.expressions.signature import Signature, SqlFunction
from featurestore.expressions.tree import Call, Column, Constant, Node
from featurestore.expressions.value_type import (
    ANY,
    BOOL,
    DATE,
    FLOAT,
    INT,
    INTERVAL,
    NULL,
    TEXT,
    TIMESTAMP,
    Kind,
    ValueType,
    common,
    list_of,
    takes,
)

if TYPE_CHECKING:
    from sqlglot import exp

_SHOWN = 500
"""How many characters of the input an error shows."""


class TreeReader:
    """One text being checked."""

    def __init__(
        self, text: str, where: str, columns: Collection[str] | None, types: Mapping[str, ValueType]
    ) -> None:
        self._text, self._where, self._columns, self._types = text, where, columns, types
        self.used: set[str] = set()

    def read(self, node: exp.Expr) -> Node:
        from sqlglot import exp

        if isinstance(node, (exp.Binary, exp.Connector)) and type(node) in _chains():
            return self._chain(node)
        reader = _readers().get(type(node))
        if reader is None:
            reason = _REASONS.get(node.key, f"{node.key.upper()} is not allowed here")
            raise self._refuse(reason, self._text, STEP)
        return reader(self, node)

    # --- names and constants

    def _column(self, node: exp.Expr) -> Node:
        from sqlglot import exp

        parts = list(node.parts)  # type: ignore[attr-defined]
        if any(isinstance(part, exp.Star) for part in parts):
            raise self._refuse(_REASONS["star"], self._text, STEP)
        for part in parts:
            self._check_name(part)
        name = str(parts[0].name)
        self.used.add(name)
        if self._columns is not None and name not in self._columns:
            hint = did_you_mean(name, self._columns)
            raise self._refuse(f"unknown column {name!r}", self._text, hint)
        read: Node = Column(name, self._types.get(name, ANY))
        for part in parts[1:]:
            read = self._field(read, str(part.name))
        return read

    def _check_name(self, part: exp.Expr) -> None:
        bare = "" if part.args.get("quoted") else part.name
        if bare.upper() in REFUSED:
            raise self._refuse(f"{bare} is not allowed here", bare, f"Because {REFUSED[bare.upper()]}")
        if bare.upper() in RESERVED:
            raise self._refuse("this is a reserved word", bare, f'To name a column, quote it: "{bare}"')
        if bare and not WORD.fullmatch(bare):
            raise self._refuse(
                "this cannot be parsed", repr(self._text), f"{bare!r} needs a value on each side"
            )

    def _dot(self, node: exp.Expr) -> Node:
        from sqlglot import exp

        if not isinstance(node.expression, exp.Identifier):
            raise self._refuse("the name of a field must follow the dot", self._text)
        return self._field(self.read(node.this), str(node.expression.name))

    def _field(self, struct: Node, name: str) -> Node:
        if struct.type.kind is Kind.ANY:
            return Call("FIELD", (struct,), ANY, name)
        if struct.type.kind is not Kind.STRUCT:
            raise self._mismatch("a struct before the dot", struct)
        fields = dict(struct.type.fields)
        if name not in fields:
            raise self._refuse(f"unknown field {name!r}", self._text, did_you_mean(name, fields))
        return Call("FIELD", (struct,), fields[name], name)

    def _literal(self, node: exp.Expr) -> Node:
        if node.args["is_string"]:
            return Constant(str(node.this), TEXT)
        value = number(str(node.this))
        if isinstance(value, float) and not within_float(str(node.this)):
            raise self._refuse("a number is out of the range of float64", self._text)
        return self._fitting(Constant(value, INT if isinstance(value, int) else FLOAT))

    def _fitting(self, constant: Constant) -> Constant:
        value = constant.value
        if constant.type is INT and isinstance(value, int) and not FIRST_INTEGER <= value <= LAST_INTEGER:
            raise self._refuse(
                "an integer is out of the range of int64",
                f"{self._text}, which contains or computes {value}",
                "Write it with a decimal point for a float64: 1.0",
                wanted=f"{FIRST_INTEGER} to {LAST_INTEGER}",
            )
        return constant

    def _negative(self, node: exp.Expr) -> Node:
        from sqlglot import exp

        inner = node.this
        while isinstance(inner, exp.Paren):
            inner = inner.this
        if isinstance(inner, exp.Literal) and not inner.args["is_string"]:
            value = -number(str(inner.this))
            return self._fitting(Constant(value, INT if isinstance(value, int) else FLOAT))
        return self._call("NEG", self.read(node.this))

    def _array(self, node: exp.Expr) -> Node:
        items = [self.read(item) for item in node.expressions]
        if not all(isinstance(item, Constant) for item in items):
            raise self._refuse(
                "only numbers and strings are allowed here",
                node.sql(),
                "Use ARRAY_GET for an index that varies",
            )
        inner = NULL
        for item in items:
            inner = self._common("items of one type", inner, item)
        values = tuple(item.value for item in items if isinstance(item, Constant))
        if inner is FLOAT and any(type(value) is int and int(float(value)) != value for value in values):
            raise self._refuse("an integer would be rounded to a float64", node.sql())
        return Constant(values, list_of(inner))

    def _interval(self, node: exp.Expr) -> Node:
        unit = f" {node.unit.name}" if node.unit else ""  # type: ignore[attr-defined]
        value = interval(f"{node.this.name}{unit}".lower()) if _is_text(node.this) else None
        if value is None:
            raise self._refuse(
                "unknown interval",
                node.sql(),
                "Write INTERVAL '90 minutes'; units go from microseconds to years",
            )
        return Constant(value, INTERVAL)

    # --- operators

    def _chain(self, node: exp.Expr) -> Node:
        """Operators of one level, from left to right, without recursion: a chain may have many."""
        spine: list[exp.Expr] = []
        first = node
        while type(first) in _chains():
            spine.append(first)
            first = first.this
        read = self.read(first)
        for operator in reversed(spine):
            read = self._operator(operator, read)
        return self._fitting(read) if isinstance(read, Constant) else read

    def _operator(self, node: exp.Expr, left: Node) -> Node:
        from sqlglot import exp

        name = _chains()[type(node)]
        if name in _COMPARISONS and isinstance(_inside_not(node.expression), _ranges()):
            raise self._refuse("this is ambiguous", repr(self._text), "Put parentheses around one part")
        right = self.read(node.expression)
        if name in ("AND", "OR", "||"):
            if name == "||":
                left, right = self._as_text(left), self._as_text(right)
            already = isinstance(left, Call) and left.name == name and not isinstance(node.this, exp.Paren)
            before = left.arguments if already and isinstance(left, Call) else (left,)
            if already:
                self._resolve(BY_NAME[name], (right, right))
                return Call(name, (*before, right), left.type)
            return self._call(name, left, right)
        if name in ("+", "-") and left.type == INT and right.type == INT:
            sign = name
            if isinstance(left, Constant) and isinstance(right, Constant):
                return fold(name, (left, right)) or self._call(name, left, right)
            if isinstance(left, Call) and left.name == "+" and not isinstance(node.this, exp.Paren):
                return Call("+", (*left.arguments, right), INT, left.detail + sign)
            return Call("+", (left, right), INT, "+" + sign)
        if isinstance(left, Constant):
            left = self._fitting(left)
        if name in ("IS_SAME", "IS_DISTINCT"):
            distinct = self._call("IS_DISTINCT", left, right)
            return self._call("NOT", distinct) if name == "IS_SAME" else distinct
        return self._call(name, left, right)

    def _as_text(self, node: Node) -> Node:
        if node.type.kind in (Kind.INT, Kind.FLOAT, Kind.BOOL, Kind.DATE, Kind.TIMESTAMP):
            return Call("TRY_CAST", (node,), TEXT, "VARCHAR")
        return node

    def _is(self, node: exp.Expr) -> Node:
        from sqlglot import exp

        if isinstance(node.expression, exp.Null):
            return self._call("IS_NULL", self.read(node.this))
        if isinstance(node.expression, exp.Boolean):
            call = self._call("IS_TRUE", self.read(node.this))
            assert isinstance(call, Call)
            return Call("IS_TRUE", call.arguments, BOOL, "TRUE" if node.expression.this else "FALSE")
        raise self._refuse("IS must be followed by NULL, TRUE or FALSE", node.sql())

    def _between(self, node: exp.Expr) -> Node:
        if node.args.get("symmetric"):
            raise self._refuse("unknown word", "SYMMETRIC", "Write the lower bound first")
        value, low, high = self.read(node.this), self.read(node.args["low"]), self.read(node.args["high"])
        self._resolve(BY_NAME["BETWEEN"], (value, low, high))
        return self._call("AND", self._call(">=", value, low), self._call("<=", value, high))

    def _in(self, node: exp.Expr) -> Node:
        if node.args.get("query"):
            raise self._refuse(_REASONS["subquery"], self._text, STEP)
        if not node.expressions:
            raise self._refuse("IN needs values in parentheses", node.sql())
        return self._call("IN", self.read(node.this), *(self.read(item) for item in node.expressions))

    def _matches(self, node: exp.Expr) -> Node:
        from sqlglot import exp

        if not _is_text(node.expression):
            raise self._refuse(
                "a pattern must be a string literal",
                node.expression.sql(),
                "Write it in the spec: it cannot come from a column",
            )
        name = "LIKE" if isinstance(node, (exp.Like, exp.ILike)) else "~"
        call = self._call(name, self.read(node.this), self.read(node.expression))
        assert isinstance(call, Call)
        insensitive = isinstance(node, (exp.ILike, exp.RegexpILike))
        call = Call(name, call.arguments, BOOL, "i" if insensitive else "")
        return self._call("NOT", call) if node.args.get("negate") else call

    def _case(self, node: exp.Expr) -> Node:
        subject = self.read(node.this) if node.this is not None else None
        pieces: list[Node] = []
        values: list[Node] = []
        for one in node.args["ifs"]:
            when = self.read(one.this)
            if subject is not None:
                when = self._call("=", subject, when)
            elif not takes(BOOL, when.type):
                raise self._mismatch("true or false after WHEN", when)
            value = self.read(one.args["true"])
            pieces += [when, value]
            values.append(value)
        default = self.read(node.args["default"]) if node.args.get("default") else Constant(None, NULL)
        result = NULL
        for value in (*values, default):
            result = self._common("values of one type", result, value)
        return Call("CASE", (*pieces, default), result)

    def _bracket(self, node: exp.Expr) -> Node:
        if len(node.expressions) != 1:
            raise self._refuse("a list takes one index in brackets", node.sql())
        place = self.read(node.expressions[0])
        if not isinstance(place, Constant):
            raise self._refuse(
                "only numbers and strings are allowed here",
                node.sql(),
                "Use ARRAY_GET for an index that varies",
            )
        return self._call("ARRAY_GET", self.read(node.this), place)

    def _cast(self, node: exp.Expr) -> Node:
        from sqlglot import exp

        to = node.to.this.name  # type: ignore[attr-defined]
        if to not in TYPES or node.to.expressions:  # type: ignore[attr-defined]
            raise self._refuse("unknown type", node.to.sql(), did_you_mean(to, TYPES))  # type: ignore[attr-defined]
        if isinstance(node, exp.TryCast):
            value = self.read(node.this)
            result = TYPES[to]
            if not castable(value.type, result):
                raise self._mismatch(f"a type that can become {to}", value)
            return Call("TRY_CAST", (value,), result, to)
        if _is_text(node.this) and TYPES[to] in (DATE, TIMESTAMP):
            moment = time_literal(node.this.name, to)
            if moment is None:
                raise self._refuse(
                    f"this is not a {to}", repr(node.this.name), "Write 2013-01-31 or 2013-01-31 10:00:00"
                )
            return Constant(moment, TYPES[to])
        raise self._refuse(
            "CAST is not allowed in an expression",
            self._text,
            "One value that does not fit would fail the whole file. TRY_CAST gives null for it; "
            "a `cast` step sends its row to quarantine",
        )

    # --- calls

    def _extract(self, node: exp.Expr) -> Node:
        return self._date_part(node.this.name, self.read(node.expression))

    def _date_part(self, part: str, value: Node) -> Node:
        if part.upper() not in DATE_PARTS:
            raise self._refuse("unknown part of a time", part, did_you_mean(part.upper(), DATE_PARTS))
        if not takes(TIMESTAMP, value.type):
            raise self._mismatch("a time", value)
        result = FLOAT if part.upper() in ("EPOCH", "MILLISECOND", "MICROSECOND") else INT
        return Call("DATE_PART", (value,), result, part.upper())

    def _function(self, node: exp.Expr) -> Node:
        name = str(node.this).upper()
        if problem := check_function(name, self._text):
            raise self._refused(problem)
        function = FUNCTIONS.get(name)
        if function is None:
            if name in QUERY_ONLY:
                raise self._refuse(
                    f"{name} is not allowed in an expression", self._text, QUERY_ONLY[name].instead
                )
            raise self._refuse(f"unknown function {name}", self._text, did_you_mean(name, FUNCTIONS))
        if problem := check_count(name, len(node.expressions), function.least, function.most):
            raise self._refused(problem)
        arguments = [self.read(argument) for argument in node.expressions]
        if function.name == "DATE_PART":
            part = arguments[0]
            if not isinstance(part, Constant) or not isinstance(part.value, str):
                raise self._not_literal(name, 0)
            return self._date_part(part.value, arguments[1])
        if function.name in ("CONCAT", "CONCAT_WS"):
            arguments = [self._as_text(argument) for argument in arguments]
        name = {"DIV": "//", "MOD": "%", "REGEXP_LIKE": "~", "IFNULL": "COALESCE"}.get(
            function.name, function.name
        )
        return self._call(name, *arguments, shown=name if name.isalpha() else function.name)

    def _call(self, name: str, *arguments: Node, shown: str = "") -> Node:
        """A call whose arguments fit; a constant, if whole numbers in the spec give it."""
        for argument in arguments:
            if isinstance(argument, Constant):
                self._fitting(argument)
        if all(isinstance(argument, Constant) for argument in arguments):
            folded = fold(name, tuple(a for a in arguments if isinstance(a, Constant)))
            if folded is not None:
                return self._fitting(folded)
        signature, result = self._resolve(BY_NAME[name], arguments, shown)
        if problem := check_call(name, arguments):
            raise self._refused(problem)
        if name == "POW" and not (signature and signature.result.type == INT):
            result = FLOAT
        return Call(name, arguments, result)

    def _resolve(
        self, function: SqlFunction, arguments: tuple[Node, ...], shown: str = ""
    ) -> tuple[Signature | None, ValueType]:
        try:
            return resolve(function, arguments)
        except NoLiteral as error:
            raise self._not_literal(shown or function.name, error.place) from error
        except NoSignature as error:
            raise self._mismatch(f"{shown or function.name} of {error}", *arguments) from error

    def _common(self, wanted: str, first: ValueType, second: Node) -> ValueType:
        shared = common(first, second.type)
        if shared is None:
            raise self._refuse(
                "types do not fit", f"{self._text}, with {first} and {second.type}", wanted=wanted
            )
        return shared

    # --- refusals

    def _not_literal(self, name: str, place: int) -> SpecError:
        return self._refuse(
            f"{name} takes only a string or a number as argument {place + 1}",
            self._text,
            "Write it in the spec: it cannot come from a column",
        )

    def _mismatch(self, wanted: str, *got: Node) -> SpecError:
        types = ", ".join(
            f"{node.name}: {node.type}" if isinstance(node, Column) else str(node.type) for node in got
        )
        return self._refuse("types do not fit", f"{self._text} ({types})", wanted=wanted)

    def _refused(self, error: DialectError) -> SpecError:
        return self._refuse(error.problem, error.got, error.hint, wanted=error.wanted)

    def _refuse(self, problem: str, got: str, hint: str = "", *, wanted: str = "") -> SpecError:
        got = got if len(got) <= _SHOWN else f"{got[:_SHOWN]}…"
        return SpecError(problem, where=self._where, wanted=wanted, got=got, hint=hint)


_REASONS = {
    "window": "window functions are not allowed in an expression: its value depends on the row alone",
    "subquery": "subqueries are not allowed in an expression: its value depends on the row alone",
    "exists": "subqueries are not allowed in an expression: its value depends on the row alone",
    "select": "subqueries are not allowed in an expression: its value depends on the row alone",
    "attimezone": "AT TIME ZONE is not allowed here: all times are UTC",
    "bitwisexor": "the operator ^ is not allowed here: write POW(x, y)",
    "star": "an expression names its columns",
}
_COMPARISONS = frozenset(("=", "<>", "<", "<=", ">", ">=", "IS_DISTINCT", "IS_SAME"))


def _is_text(node: exp.Expr) -> bool:
    from sqlglot import exp

    return isinstance(node, exp.Literal) and bool(node.args["is_string"])


def _inside_not(node: exp.Expr) -> exp.Expr:
    from sqlglot import exp

    return node.this if isinstance(node, exp.Not) else node


@cache
def _ranges() -> tuple[type[exp.Expr], ...]:
    """Operators that bind less tightly than a comparison in some dialects, and more tightly in others."""
    from sqlglot import exp

    return (exp.Is, exp.In, exp.Between, exp.Like, exp.ILike, exp.RegexpLike, exp.RegexpILike)


@cache
def _chains() -> dict[type[exp.Expr], str]:
    from sqlglot import exp

    return {
        exp.Add: "+", exp.Sub: "-", exp.Mul: "*", exp.Div: "/", exp.IntDiv: "//", exp.Mod: "%", exp.DPipe: "||",
        exp.EQ: "=", exp.NEQ: "<>", exp.LT: "<", exp.LTE: "<=", exp.GT: ">", exp.GTE: ">=",
        exp.NullSafeEQ: "IS_SAME", exp.NullSafeNEQ: "IS_DISTINCT", exp.And: "AND", exp.Or: "OR",
    }  # fmt: skip


@cache
def _readers() -> dict[type[exp.Expr], Callable[[TreeReader, Any], Node]]:
    from sqlglot import exp

    reader = TreeReader
    return {
        exp.Column: reader._column,
        exp.Dot: reader._dot,
        exp.Literal: reader._literal,
        exp.Null: lambda self, node: Constant(None, NULL),
        exp.Boolean: lambda self, node: Constant(bool(node.this), BOOL),
        exp.Neg: reader._negative,
        exp.Array: reader._array,
        exp.Interval: reader._interval,
        exp.Not: lambda self, node: self._call("NOT", self.read(node.this)),
        exp.Paren: lambda self, node: self.read(node.this),
        exp.Is: reader._is,
        exp.Between: reader._between,
        exp.In: reader._in,
        exp.Like: reader._matches,
        exp.ILike: reader._matches,
        exp.RegexpLike: reader._matches,
        exp.RegexpILike: reader._matches,
        exp.Case: reader._case,
        exp.Bracket: reader._bracket,
        exp.Cast: reader._cast,
        exp.TryCast: reader._cast,
        exp.Extract: reader._extract,
        exp.Anonymous: reader._function,
    }
