"""Expressions that give what the function of an on-demand view of Feast gives.

Taken are the sum, difference and product of numbers, their quotient by a number other than zero, and names for such: what
is the same in pandas, in Python and here. With anything else a function stays Python: comparisons, division by a column and
functions of pandas treat nulls, zeros and infinities in their own way.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, replace

from featurestore.errors import SpecError
from featurestore.expressions.grammar import parse_expression
from featurestore.feast.feast_function import FeastFunction
from featurestore.resources.value import ColumnType

_SIGNS: dict[type[ast.operator], str] = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}
_INTEGERS = (ColumnType.INT32, ColumnType.INT64)
_FLOATS = (ColumnType.FLOAT32, ColumnType.FLOAT64)


class NotAnExpression(Exception):
    """The function does something that no expression does in the same way."""


@dataclass(frozen=True)
class FeastInput:
    """What a function finds in a column: ``name`` and type as they are here."""

    name: str
    type: ColumnType


@dataclass(frozen=True)
class FeastExpression:
    """``type``: of its values, None of a number alone. ``inputs``: names of what it is computed from.

    ``rounds``: pandas computes a part of it as float32.
    """

    text: str
    type: ColumnType | None
    inputs: frozenset[str]
    rounds: bool = False
    atom: bool = False

    @property
    def inside(self) -> str:
        return self.text if self.atom else f"({self.text})"


def expressions_of(
    function: FeastFunction, mode: str, singleton: bool, inputs: Mapping[str, FeastInput]
) -> dict[str, FeastExpression]:
    """Expressions by the names of the columns that the function makes. ``inputs``: by the names that it uses.

    Raises:
        NotAnExpression: it does something that no expression does in the same way.
    """
    reading = _Reading(function, mode, singleton, inputs)
    for statement in function.tree.body:
        reading.statement(statement)
    if reading.result is None:
        raise NotAnExpression
    return reading.result


class _Reading:
    """The statements of one function, in turn. ``result``: what it returns, once that is read."""

    def __init__(
        self, function: FeastFunction, mode: str, singleton: bool, inputs: Mapping[str, FeastInput]
    ) -> None:
        self._parameter = function.parameter
        self._pandas = {
            name.name for name in function.names if name.definition.split()[:2] == ["import", "pandas"]
        }
        self._frames = mode == "pandas"
        self._lists = mode == "python" and not singleton
        self._inputs = inputs
        self._values: dict[str, FeastExpression] = {}
        self._tables: dict[str, dict[str, FeastExpression]] = {}
        self.result: dict[str, FeastExpression] | None = None

    def statement(self, node: ast.stmt) -> None:
        if self.result is not None:
            raise NotAnExpression
        match node:
            case ast.Expr(ast.Constant(str())):
                pass
            case (
                ast.Assign([ast.Name(id=name)], value)
                | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
            ) if name != self._parameter:
                self._name(name, value)
            case ast.Assign([ast.Subscript(ast.Name(id=table), ast.Constant(str(column)))], value) if (
                table in self._tables
            ):
                self._tables[table][column] = self._column(value)
            case ast.Return(ast.Name(id=table)) if table in self._tables:
                self.result = self._tables[table]
            case ast.Return(ast.expr() as value):
                self.result = self._table(value)
            case _:
                raise NotAnExpression

    def _name(self, name: str, value: ast.expr) -> None:
        self._values.pop(name, None)
        self._tables.pop(name, None)
        try:
            self._tables[name] = self._table(value)
        except NotAnExpression:
            self._values[name] = self._column(value)

    def _table(self, node: ast.expr) -> dict[str, FeastExpression]:
        """A frame of pandas or a dict, as the mode has it, that is given whole."""
        match node:
            case ast.Call(ast.Attribute(ast.Name(id=pandas), "DataFrame"), arguments, []) if (
                self._frames and pandas in self._pandas and len(arguments) <= 1
            ):
                return self._dict(arguments[0]) if arguments else {}
            case ast.Dict() if not self._frames:
                return self._dict(node)
            case _:
                raise NotAnExpression

    def _dict(self, node: ast.expr) -> dict[str, FeastExpression]:
        table = {}
        match node:
            case ast.Dict(keys, values):
                for key, value in zip(keys, values, strict=True):
                    match key:
                        case ast.Constant(str(column)):
                            table[column] = self._column(value)
                        case _:
                            raise NotAnExpression
                return table
            case _:
                raise NotAnExpression

    def _column(self, node: ast.expr) -> FeastExpression:
        """A value for each row."""
        match node:
            case ast.ListComp(element, [ast.comprehension(target, rows, [], 0)]) if self._lists:
                value = self._value(element, self._each(target, rows))
            # Lists are put together by signs, and not added up.
            case ast.BinOp() | ast.UnaryOp() if self._lists:
                raise NotAnExpression
            case _:
                value = self._value(node, {})
        if value.type is None:
            raise NotAnExpression
        return value

    def _each(self, target: ast.expr, rows: ast.expr) -> dict[str, FeastExpression]:
        """The names of a comprehension, for what they go over."""
        match target, rows:
            case ast.Name(id=name), _:
                return {name: self._column(rows)}
            case ast.Tuple(names), ast.Call(ast.Name("zip"), columns, _) if len(names) == len(columns):
                each: dict[str, FeastExpression] = {}
                for part, column in zip(names, columns, strict=True):
                    each |= self._each(part, column)
                if len(each) == len(names):
                    return each
        raise NotAnExpression

    def _value(self, node: ast.expr, each: Mapping[str, FeastExpression]) -> FeastExpression:
        match node:
            case ast.Name(id=name) if name in each:
                return each[name]
            # In a comprehension a name of the function is a list, and not its row's value.
            case ast.Name(id=name) if name in self._values and not each:
                return self._values[name]
            case ast.Subscript(ast.Name(id=self._parameter), ast.Constant(str(column))) if not each:
                return self._input(column)
            case ast.Subscript(ast.Name(id=table), ast.Constant(str(column))) if (
                not each and column in self._tables.get(table, ())
            ):
                return self._tables[table][column]
            case ast.Constant(int() | float() as number) if type(number) is not bool:
                return _number(number)
            case ast.UnaryOp(ast.USub(), operand):
                positive = self._value(operand, each)
                if positive.type is None and not positive.atom:
                    raise NotAnExpression
                return replace(positive, text=f"-{positive.inside}", atom=False)
            case ast.BinOp(left, sign, right) if type(sign) in _SIGNS:
                return self._sum(self._value(left, each), sign, self._value(right, each))
            case _:
                raise NotAnExpression

    def _input(self, column: str) -> FeastExpression:
        known = self._inputs.get(column)
        if known is None or known.type not in (*_INTEGERS, *_FLOATS):
            raise NotAnExpression
        kind = ColumnType.INT64 if known.type in _INTEGERS else known.type
        return FeastExpression(_written(known.name), kind, frozenset([known.name]), atom=True)

    def _sum(self, left: FeastExpression, sign: ast.operator, right: FeastExpression) -> FeastExpression:
        divided = isinstance(sign, ast.Div)
        if divided and (right.type is not None or float(right.text.strip("()")) == 0):
            raise NotAnExpression
        kinds = {part.type for part in (left, right)} - {None}
        if not kinds:
            raise NotAnExpression
        real = divided or any(part.type is None and "." in part.text for part in (left, right))
        rounds = kinds == {ColumnType.FLOAT32}
        kind = ColumnType.INT64 if kinds == {ColumnType.INT64} and not real else ColumnType.FLOAT64
        return FeastExpression(
            f"{left.inside} {_SIGNS[type(sign)]} {right.inside}",
            ColumnType.FLOAT32 if rounds else kind,
            left.inputs | right.inputs,
            self._frames and (rounds or left.rounds or right.rounds),
        )


def _number(number: float) -> FeastExpression:
    text = repr(number)
    if not text.replace(".", "").isdigit() or number >= 2**53:
        raise NotAnExpression
    return FeastExpression(text, None, frozenset(), atom=True)


def _written(name: str) -> str:
    """A column as an expression names it."""
    try:
        plain = name.islower() and parse_expression(name, "").sql() == name
    except SpecError:
        plain = False
    escaped = name.replace('"', '""')
    return name if plain else f'"{escaped}"'
