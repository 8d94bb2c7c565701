"""Checked expressions as Polars expressions. Import this module only where something is computed: it loads Polars.

What is not in the row's answer but in the way of it, such as a whole number that leaves int64, is a *fault*: true of
a row whose value cannot be had. Who runs a program sends such rows to quarantine.

A part that is used more than once is computed once, as a column of its own that a program takes away again: written
into each place that uses it, a deep expression would grow without bound.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import polars as pl
from polars.exceptions import PanicException, PolarsError

from featurestore.errors import SpecError
from featurestore.expressions.check import checked
from featurestore.expressions.run.operations import OPERATIONS
from featurestore.expressions.run.part import (
    MICROSECONDS,
    UTC,
    Compiler,
    Part,
    combined,
    constant,
    load,
    type_of,
)
from featurestore.expressions.tree import Call, Column, Constant, Node, postorder
from featurestore.expressions.value_type import Kind

__all__ = ["MICROSECONDS", "UTC", "Program", "compile_condition", "compile_expression"]

_SHOWN = 300
"""How many characters of an expression a reason shows."""


@dataclass(frozen=True, slots=True)
class Program:
    """An expression over columns of known types.

    ``value`` and ``fault`` may be used over a frame after :meth:`prepare`; ``fault`` is None if no row can have one,
    else ``bool``, never null. ``type``: of the values. ``columns``: those that it reads.
    """

    stages: tuple[tuple[pl.Expr, ...], ...]
    value: pl.Expr
    type: pl.DataType
    columns: tuple[str, ...]
    fault: pl.Expr | None = None
    reason: pl.Expr = field(default_factory=lambda: pl.lit(None, pl.String))

    def prepare(self, frame: pl.LazyFrame) -> pl.LazyFrame:
        """The frame with the columns that the program needs besides its own."""
        for stage in self.stages:
            frame = frame.with_columns(stage)
        return frame

    @property
    def extra(self) -> list[str]:
        """Names of the columns that :meth:`prepare` adds."""
        return [expression.meta.output_name() for stage in self.stages for expression in stage]


def compile_expression(
    text: str, columns: Mapping[str, pl.DataType], where: str, *, prefix: str = "__e"
) -> Program:
    """The expression over columns of these types. ``prefix``: of the names of columns that it adds.

    Raises:
        SpecError: it is refused, or its types do not fit.
    """
    known = {name: type_of(dtype) for name, dtype in columns.items()}
    used = sorted(checked(text, where=where, columns=known, types=known).columns)
    return _compile(text, tuple((name, columns[name]) for name in used), where, prefix)


def compile_condition(
    text: str, columns: Mapping[str, pl.DataType], where: str, *, prefix: str = "__e"
) -> Program:
    """The expression, which is true or false of each row and never null: null counts as false.

    Raises:
        SpecError: as :func:`compile_expression`; or its answers are of another type.
    """
    condition = compile_expression(text, columns, where, prefix=prefix)
    if condition.type != pl.Boolean():
        raise SpecError(
            "a condition must be true or false", where=where, got=f"{text}, which is {condition.type}"
        )
    return Program(
        condition.stages,
        condition.value.fill_null(False),
        condition.type,
        condition.columns,
        condition.fault,
        condition.reason,
    )


@lru_cache(maxsize=1024)
def _compile(text: str, columns: tuple[tuple[str, pl.DataType], ...], where: str, prefix: str) -> Program:
    dtypes = dict(columns)
    tree = checked(text, where=where, types={name: type_of(dtype) for name, dtype in columns}).tree
    compiler = Compiler(prefix)
    parts: dict[int, Part] = {}
    for node in postorder(tree):
        parts[id(node)] = _part(node, [parts[id(one)] for one in _arguments(node)], dtypes, compiler)
    root = parts[id(tree)]
    faults = [*root.faults]
    why = pl.coalesce(*(pl.when(fault).then(pl.lit(reason)) for fault, reason in faults)) if faults else None
    value = root.expression
    if isinstance(tree, Column):
        value, faults = pl.col(tree.name), []
    elif root.named is not None:
        value = value.cast(root.named)
    elif root.type.kind is Kind.NULL:
        value = pl.lit(None)
    program = Program(
        tuple(map(tuple, compiler.stages)),
        value,
        pl.Null(),
        tuple(dtypes),
        combined([fault for fault, _ in faults]) if faults else None,
        pl.concat_str(pl.lit(f"{text[:_SHOWN]}: "), why)
        if why is not None and faults
        else pl.lit(None, pl.String),
    )
    made = _tried(program, dtypes, text, where)
    return Program(program.stages, value, made, program.columns, program.fault, program.reason)


def _tried(program: Program, dtypes: Mapping[str, pl.DataType], text: str, where: str) -> pl.DataType:
    """The type of the values, after a try over one row of nulls."""
    rows = pl.DataFrame(
        {name: pl.Series([None], dtype=dtype) for name, dtype in dtypes.items()} or {"": [None]}
    )
    extra = [] if program.fault is None else [program.fault.alias("fault"), program.reason.alias("reason")]
    try:
        made = program.prepare(rows.lazy()).select(program.value.alias("value"), *extra).collect()
    except (PolarsError, PanicException) as error:
        types = ", ".join(f"{name}: {dtype}" for name, dtype in dtypes.items())
        raise SpecError(
            "types do not fit",
            where=where,
            got=f"{text} ({types})" if types else text,
            hint=polars_message(error),
        ) from error
    return made.schema["value"]


def _arguments(node: Node) -> tuple[Node, ...]:
    return node.arguments if isinstance(node, Call) else ()


def _part(node: Node, arguments: list[Part], dtypes: Mapping[str, pl.DataType], compiler: Compiler) -> Part:
    if isinstance(node, Column):
        return load(pl.col(node.name), dtypes[node.name], compiler)
    if isinstance(node, Constant):
        return constant(node)
    made = OPERATIONS[node.name](compiler, node, arguments)
    return compiler.bind(made) if made.size > compiler.LARGE else made


def polars_message(error: BaseException) -> str:
    """Polars' message, without the plan that follows it."""
    return " ".join(str(error).split("\n\n")[0].split())
