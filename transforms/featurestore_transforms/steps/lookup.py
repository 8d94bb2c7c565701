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
    here, dataset_columns = user_columns(frame), table.collect_schema()
    for name in [*step.keys.values(), *step.columns]:
        if name not in dataset_columns or name in SYSTEM_COLUMNS:
            raise SpecError(
                f"pipeline {step.pipeline!r} has no column {name!r}",
                where=where,
                hint=did_you_mean(name, [known for known in dataset_columns if known not in SYSTEM_COLUMNS]),
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
        _key(mine, here[mine], theirs, dataset_columns[theirs], where).alias(f"__key_{index}")
        for index, (mine, theirs) in enumerate(step.keys.items())
    ]
    names = [f"__key_{index}" for index in range(len(keys))]
    newest = (
        table.sort(BATCH, FILE, ROW)
        .select(
            *keys,
            *(pl.col(their_column).alias(our_column) for their_column, our_column in step.columns.items()),
        )
        .drop_nulls(names)
        .unique(subset=names, keep="last", maintain_order=True)
    )
    return frame.join(newest, left_on=list(step.keys), right_on=names, how="left", maintain_order="left")


def _key(mine: str, our_type: pl.DataType, theirs: str, their_type: pl.DataType, where: str) -> pl.Expr:
    fit = fit_to(pl.col(theirs), their_type, our_type, exact=True)
    if fit is None:
        raise SpecError(
            "keys of a lookup have different types",
            where=where,
            wanted=f"{theirs}: {our_type}, as {mine} is",
            got=str(their_type),
            hint="A `cast` step before makes them the same",
        )
    if their_type.is_float() and our_type.is_float():
        # Rounded to fewer digits, keys that differ would be equal.
        return pl.when(fit.value.cast(their_type) == pl.col(theirs)).then(fit.value)
    return fit.value
