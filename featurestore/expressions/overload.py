"""Which signature of a function takes its arguments, and what it then gives."""

from __future__ import annotations

from featurestore.expressions.signature import Parameter, Signature, SqlFunction
from featurestore.expressions.tree import Constant, Node
from featurestore.expressions.value_type import ANY, NULL, Kind, ValueType, common, list_of, takes

_COMPARED = frozenset(
    (
        "=", "<>", "<", "<=", ">", ">=", "IS_DISTINCT", "BETWEEN", "IN", "NULLIF", "GREATEST", "LEAST",
        "ARRAY_CONTAINS", "ARRAY_LOWER", "ARRAY_UPPER",
    )
)  # fmt: skip
_WITHOUT_ORDER = (Kind.LIST, Kind.STRUCT, Kind.OTHER)
"""Kinds that are not compared."""


class NoSignature(Exception):
    """No signature takes the arguments; as text: those that there are."""


class NoLiteral(NoSignature):
    """The argument at ``place`` is not a constant of the spec, and should be."""

    def __init__(self, place: int) -> None:
        super().__init__(place)
        self.place = place


def resolve(function: SqlFunction, arguments: tuple[Node, ...]) -> tuple[Signature | None, ValueType]:
    """The first signature that takes the arguments, and the type of the result.

    None and ``ANY``, if arguments whose types are not known yet may choose another.

    Raises:
        NoSignature: none does.
    """
    matches: list[tuple[Signature, ValueType]] = []
    literal: NoLiteral | None = None
    for signature in function.signatures:
        if not signature.least <= len(arguments) <= signature.most:
            continue
        try:
            matches.append((signature, _result(function, signature, arguments)))
        except NoLiteral as error:
            literal = error
        except NoSignature:
            continue
    if not matches:
        wanted = " or ".join(one.text.split("->")[0].strip() or "nothing" for one in function.signatures)
        raise literal or NoSignature(wanted)
    if len({str(result) for _, result in matches}) > 1 and any(not one.type.known for one in arguments):
        return None, ANY
    return matches[0]


def _result(function: SqlFunction, signature: Signature, arguments: tuple[Node, ...]) -> ValueType:
    variable: ValueType | None = NULL
    for place, argument in enumerate(arguments):
        parameter = signature.parameter(place)
        if parameter.literal and (not isinstance(argument, Constant) or argument.type.kind is Kind.NULL):
            raise NoLiteral(place)
        if function.name == "POW" and parameter.literal and not _is_power(argument):
            raise NoSignature
        if parameter.variable:
            variable = common(variable, _inner(parameter, argument.type)) if variable is not None else None
            if variable is None or (function.name in _COMPARED and variable.kind in _WITHOUT_ORDER):
                raise NoSignature
        elif not takes(parameter.type, argument.type):
            raise NoSignature
    result = signature.result.type
    if not signature.result.variable:
        return result
    assert variable is not None
    return list_of(variable) if result.kind is Kind.LIST else variable


def _inner(parameter: Parameter, got: ValueType) -> ValueType:
    """The type ``T`` that an argument implies."""
    if parameter.type.kind is not Kind.LIST:
        return got
    if got.kind is Kind.LIST and got.inner is not None:
        return got.inner
    if got.kind in (Kind.ANY, Kind.NULL):
        return ANY
    raise NoSignature


def _is_power(node: Node) -> bool:
    return isinstance(node, Constant) and isinstance(node.value, int) and node.value >= 0


_CASTS = {
    Kind.INT: {Kind.INT, Kind.FLOAT, Kind.BOOL, Kind.TEXT},
    Kind.FLOAT: {Kind.INT, Kind.FLOAT, Kind.BOOL, Kind.TEXT},
    Kind.BOOL: {Kind.INT, Kind.FLOAT, Kind.BOOL, Kind.TEXT},
    Kind.TEXT: {Kind.INT, Kind.FLOAT, Kind.BOOL, Kind.TEXT, Kind.DATE, Kind.TIMESTAMP},
    Kind.DATE: {Kind.DATE, Kind.TIMESTAMP, Kind.TEXT},
    Kind.TIMESTAMP: {Kind.DATE, Kind.TIMESTAMP, Kind.TEXT},
}


def castable(source: ValueType, target: ValueType) -> bool:
    """Whether a cast from one type to another may give a value."""
    return source.kind in (Kind.ANY, Kind.NULL) or target.kind in _CASTS.get(source.kind, ())
