"""Queries over the rows of one file, and the identity of rows after steps that may make new ones."""

from __future__ import annotations

import polars as pl

from featurestore.errors import SpecError
from featurestore.expressions.dialect import tokens
from featurestore.expressions.query_text import query_text
from featurestore.storage.delta import FILE, ROW
from featurestore_transforms.steps.rules import MARKS, REASON, RULE, is_good, user_columns

_UNORDERED = frozenset(("GROUP", "DISTINCT", "JOIN", "IN", "EXISTS", "OVER"))
"""Words of queries whose results have no order."""


def user_rows(frame: pl.LazyFrame) -> pl.LazyFrame:
    """What queries and callables see: the good rows, the user's columns and ``__row``."""
    return frame.filter(is_good()).select(*user_columns(frame), ROW)


def run_query(frame: pl.LazyFrame, query: str, where: str, memory_bytes: int) -> pl.LazyFrame:
    """The query's result for the good rows of one file, with the marked rows.

    The same rows give the same rows with the same numbers again, even if the query says nothing of their order.
    ``memory_bytes``: what the run may take. The query may use half of it: the rows themselves need some.

    Raises:
        SpecError: the query is refused, does not fit the columns, or takes more time or memory than it may.
    """
    # Few batches have a query, and DuckDB takes a twentieth of a second to load.
    from featurestore_transforms.steps.query_engine import answer

    text = query_text(query, where=where)
    frame = frame.collect(engine="streaming").lazy()
    answered = answer(user_rows(frame).collect(), text, where, max_bytes=memory_bytes // 2)
    if not _is_ordered(query):
        kept = [ROW] if answered.schema.get(ROW) == pl.Int64 else []
        answered = answered.sort(
            [*kept, *(name for name in answered.columns if name != ROW)], maintain_order=True
        )
    made = answered.lazy()
    return traced(frame, made, where)


def traced(before: pl.LazyFrame, made: pl.LazyFrame, where: str) -> pl.LazyFrame:
    """A step's result for the good rows of a file, with the marked rows, which it did not see.

    Rows keep their number if it is still there and tells them apart, else they are renumbered. A step that gets
    no rows gives none.

    Raises:
        SpecError: a column has a name that is not for users.
    """
    check_names(made, where)
    index = pl.int_range(pl.len(), dtype=pl.Int64)
    if made.collect_schema().get(ROW) == pl.Int64:
        lost = (pl.col(ROW).is_duplicated() | pl.col(ROW).is_null()).any()
        made = made.with_columns(pl.when(lost).then(index).otherwise(pl.col(ROW)).alias(ROW))
    else:
        made = made.select(pl.exclude(ROW)).with_columns(index.alias(ROW))
    marks = [name for name in MARKS if name in before.collect_schema()]
    nothing = {RULE: pl.lit(None, pl.Int16), REASON: pl.lit(None, pl.String)}
    good = made.join(before.select(FILE).head(1), how="cross").with_columns(
        nothing[name].alias(name) for name in marks if name in nothing
    )
    marked = before.filter(~is_good()).select(marks)
    return pl.concat([good.select(*user_columns(good), *marks), marked], how="diagonal")


def check_names(frame: pl.LazyFrame, where: str) -> None:
    """Raise SpecError unless all columns have names that users may give.

    Raises:
        SpecError: one begins with two underscores, or Polars would take it for a pattern of names.
    """
    for name in user_columns(frame):
        if name.startswith("__"):
            raise SpecError("names that begin with two underscores are reserved", where=where, got=repr(name))
        if name == "*" or (name.startswith("^") and name.endswith("$")):
            raise SpecError(
                "the name of a column would be read as a pattern of names", where=where, got=repr(name)
            )


def _is_ordered(query: str) -> bool:
    """Whether the query orders its rows, or leaves them in the order that they have."""
    depth = 0
    words = []
    for token in tokens(query):
        depth += {"(": 1, ")": -1}.get(token.text, 0)
        if depth == 0 and token.word == "ORDER":
            return True
        words.append(token.word)
    return words.count("SELECT") == 1 and not _UNORDERED.intersection(words)
