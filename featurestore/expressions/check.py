"""Expressions of specs, checked before anything runs them: what comes out is the tree that runs.

An expression is row-wise: its value depends on the row alone. So the order of files, how they are cut into
batches, and a rerun never change a result, and nothing can be read but the row. Types that are known are checked;
whole numbers in the spec are computed exactly, and what leaves int64 is refused.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from featurestore.errors import SpecError
from featurestore.expressions.grammar import parse_expression
from featurestore.expressions.tree import Call, Constant, Interval, Node, postorder
from featurestore.expressions.tree_reader import TreeReader
from featurestore.expressions.value_type import Kind, ValueType


@dataclass(frozen=True, slots=True)
class CheckedExpression:
    """``columns``: those that it uses."""

    text: str
    where: str
    tree: Node
    columns: frozenset[str]


def check_expression(
    text: str,
    *,
    where: str,
    columns: Collection[str] | None = None,
    types: Mapping[str, ValueType] | None = None,
) -> frozenset[str]:
    """The columns that a row-wise expression uses.

    ``columns``: those that there are; None if they are not known yet. ``types``: of those whose types are known.

    Raises:
        SpecError: it is not an expression, or one that is refused; the message says why and what to write instead.

    >>> sorted(check_expression("distance / (air_time / 60.0)", where="spec"))
    ['air_time', 'distance']
    """
    return checked(text, where=where, columns=columns, types=types).columns


def check_condition(
    text: str,
    *,
    where: str,
    columns: Collection[str] | None = None,
    types: Mapping[str, ValueType] | None = None,
) -> None:
    """Raises SpecError unless the text is an expression that is true or false."""
    value_type = checked(text, where=where, columns=columns, types=types).tree.type
    if value_type.kind not in (Kind.BOOL, Kind.ANY):
        raise SpecError(
            "a condition must be true or false", where=where, got=f"{text}, which is {value_type}"
        )


def checked(
    text: str,
    *,
    where: str,
    columns: Collection[str] | None = None,
    types: Mapping[str, ValueType] | None = None,
) -> CheckedExpression:
    """The tree of an expression, with the types that can be known.

    Raises:
        SpecError: as :func:`check_expression`.
    """
    reader = TreeReader(text, where, columns, types or {})
    tree = reader.read(parse_expression(text, where))
    if any(_months(one) for one in (tree, *_values(tree))):
        hint = "Add it to a time, or write it in days"
        raise SpecError("months and years have no fixed length", where=where, got=text, hint=hint)
    return CheckedExpression(text, where, tree, frozenset(reader.used))


def _months(node: Node) -> bool:
    return isinstance(node, Constant) and isinstance(node.value, Interval) and node.value.months != 0


def _values(tree: Node) -> Iterator[Node]:
    """What stands in a CASE."""
    for node in postorder(tree):
        if isinstance(node, Call) and node.name == "CASE":
            yield from node.arguments
