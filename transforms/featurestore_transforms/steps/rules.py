"""Rules that rows may break, and how a plan marks those that do.

A plan carries one number per row, ``__rule``: null while the row is good, else the first rule that it broke. Why it
broke it is worked out only in a second pass, with ``explain``, over the few files that need it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl

from featurestore.resources.data_pipeline import Otherwise
from featurestore.storage.delta import FILE, ROW

RULE, REASON = "__rule", "__reason"
MARKS = (FILE, ROW, RULE, REASON)


@dataclass(frozen=True, slots=True)
class RowRule:
    """``name``: as quarantine shows it. ``otherwise``: what happens to rows that break it."""

    name: str
    otherwise: Otherwise = Otherwise.QUARANTINE


@dataclass(slots=True)
class RowRules:
    """The rules of one plan; a row's ``__rule`` is an index into ``known``."""

    explain: bool = False
    known: list[RowRule] = field(default_factory=list)

    def begin(self, frame: pl.LazyFrame) -> pl.LazyFrame:
        """The frame with no row marked yet."""
        index = {RULE: pl.lit(None, pl.Int16)}
        if self.explain:
            index[REASON] = pl.lit(None, pl.String)
        return frame.with_columns(**index)

    def mark(self, frame: pl.LazyFrame, broken: list[tuple[RowRule, pl.Expr, pl.Expr]]) -> pl.LazyFrame:
        """The frame with rows marked where ``(rule, breaks it, why)`` says so, if they are not marked yet."""
        if not broken:
            return frame
        # Each test stands in the plan once: nested ones would double it with every rule.
        first = [pl.when(breaks).then(pl.lit(self._code(one), pl.Int16)) for one, breaks, _ in broken]
        index = {RULE: pl.coalesce(pl.col(RULE), *first)}
        if self.explain:
            why = pl.coalesce(*(pl.when(breaks).then(why) for _, breaks, why in broken))
            index[REASON] = pl.when(pl.col(RULE).is_null()).then(why).otherwise(pl.col(REASON))
        return frame.with_columns(**index)

    def _code(self, rule: RowRule) -> int:
        if rule not in self.known:
            self.known.append(rule)
        return self.known.index(rule)


def is_good() -> pl.Expr:
    return pl.col(RULE).is_null()


def user_columns(frame: pl.LazyFrame) -> dict[str, pl.DataType]:
    """Name to type of the columns that are the user's."""
    return {name: dtype for name, dtype in frame.collect_schema().items() if name not in MARKS}
