"""Columns of another pipeline's dataset, joined to rows by key. The number of rows never changes."""

from __future__ import annotations

import polars as pl

from featurestore.errors import SpecError, did_you_mean
from featurestore.expressions.run.cast import fit_to
from featurestore.resources.transform import Lookup
from featurestore.storage.delta import BATCH, FILE, ROW, SYSTEM_COLUMNS
from featurestore_transforms.steps.rules import user_columns


def look_up(frame: pl.LazyFrame, step: Lookup, table: pl.LazyFrame, where: str) -> pl.LazyFrame:
    """The rows with columns of the newest row of ``table`` that has their key; null if there is none.

    A null key matches nothing. ``table``: ``frame[<columns of the dataset>, __batch, __file, __row]``. Its keys are compared
    in the types of ``frame``'s; a key that does not fit there has no equal there.

    Raises:
        SpecError: a column is not there, is there already, or keys have types that are never equal.
    """
    here, there = user_columns(frame), table.collect_schema()
    for name in [*step.keys.values(), *step.columns]:
        if name not in there or name in SYSTEM_COLUMNS:
            raise SpecError(
                f"pipeline {step.pipeline!r} has no column {name!r}",
                where=where,
                hint=did_you_mean(name, [known for known in there if known not in SYSTEM_COLUMNS]),
            )
    taken = sorted(set(step.columns.values()) & set(here))
    if taken:
        raise SpecError(
            "the column exists already",
            where=where,
            got=", ".join(map(repr, taken)),
            hint="Give it another name in `columns`, or drop the old one before",
        )
    keys = [
        _key(mine, here[mine], theirs, there[theirs], where).alias(f"__key_{index}")
        for index, (mine, theirs) in enumerate(step.keys.items())
    ]
    names = [f"__key_{index}" for index in range(len(keys))]
    newest = (
        table.sort(BATCH, FILE, ROW)
        .select(*keys, *(pl.col(there).alias(here) for there, here in step.columns.items()))
        .drop_nulls(names)
        .unique(subset=names, keep="last", maintain_order=True)
    )
    return frame.join(newest, left_on=list(step.keys), right_on=names, how="left", maintain_order="left")


def _key(mine: str, here: pl.DataType, theirs: str, there: pl.DataType, where: str) -> pl.Expr:
    found = fit_to(pl.col(theirs), there, here, exact=True)
    if found is None:
        raise SpecError(
            "keys of a lookup have different types",
            where=where,
            wanted=f"{theirs}: {here}, as {mine} is",
            got=str(there),
            hint="A `cast` step before makes them the same",
        )
    if there.is_float() and here.is_float():
        # Rounded to fewer digits, keys that differ would be equal.
        return pl.when(found.value.cast(there) == pl.col(theirs)).then(found.value)
    return found.value
