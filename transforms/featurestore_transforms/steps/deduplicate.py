"""Rows of the same key, and which of them is the last."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from featurestore.resources.transform import Deduplicate, SortKey, SortOrder
from featurestore.storage.delta import FILE
from featurestore_transforms.steps.rules import RULE, is_good

LAST = "__last"
_PLACE, _INDEX = "__place", "__index"


def flag_last(
    frame: pl.LazyFrame, keys: Sequence[str], order_by: SortKey | None, tie: Sequence[str]
) -> pl.LazyFrame:
    """The rows with ``__last: bool``: whether a row is the last of its key in ``order_by``, then in ``tie``.

    Nulls come first, NaN after all numbers. ``tie`` tells any two rows apart.
    """
    order = [pl.col(name) for name in tie]
    place = order[0]
    if order_by is not None or len(order) > 1:
        descending = [False] * len(order)
        if order_by is not None:
            order = [pl.col(order_by.column), *order]
            descending = [order_by.order is SortOrder.DESCENDING, *descending]
        place = pl.arg_sort_by(order, descending=descending, nulls_last=False).arg_sort()
    placed = frame.with_columns(place.alias(_PLACE))
    # The greatest of a group is found in one pass; sorting within groups takes many times as long.
    last = pl.col(_PLACE) == pl.col(_PLACE).max().over(list(keys))
    return placed.with_columns(last.alias(LAST)).drop(_PLACE)


def deduplicate(frame: pl.LazyFrame, step: Deduplicate) -> pl.LazyFrame:
    """One row of each key of each file: of equals the last, as the rows stand, be it after a sort.

    Marked rows stay, and so do rows with null in their key.
    """
    keyless = pl.any_horizontal(pl.col(key).is_null() for key in step.keys)
    rows = flag_last(frame.with_row_index(_INDEX), [FILE, RULE, *step.keys], step.order_by, [_INDEX])
    return rows.filter(pl.col(LAST) | keyless | ~is_good()).drop(LAST, _INDEX)
