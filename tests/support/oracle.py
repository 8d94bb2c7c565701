"""What a store must answer, worked out in plain Python over all files at once.

Slow and simple on purpose: lists of dicts, no engine, no batches. It knows the promises and not the code.
A row is a dict of the user's columns; ``Traced`` adds where it stands in the order of arrival.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

Row = dict[str, Any]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class Traced:
    """A row, the ``(batch, file, row)`` it came from, and when its batch was planned."""

    row: Row
    at: tuple[int, int, int]
    known: datetime


@dataclass(frozen=True)
class Step:
    """One transform twice: as the resource says it, and in plain Python on the rows of one file.

    ``apply`` gives the rows that go on, and those that broke a rule: ``(row number, rule)``.
    """

    spec: dict[str, Any]
    apply: Callable[[list[tuple[int, Row]]], tuple[list[tuple[int, Row]], list[tuple[int, str]]]]


def transformed(
    rows: Sequence[Row], steps: Iterable[Step]
) -> tuple[list[tuple[int, Row]], list[tuple[int, str]]]:
    """Good rows of one file with their row numbers, and the broken ones with their rules."""
    good = list(enumerate(dict(row) for row in rows))
    broken: list[tuple[int, str]] = []
    for step in steps:
        good, more = step.apply(good)
        broken += more
    return good, broken


def one_per_key(rows: Iterable[Traced], keys: Sequence[str], order_by: str | None) -> list[Traced]:
    """The dataset's ``deduplicate``: the last in order, then the last to arrive; null keys are all kept."""
    kept: list[Traced] = []
    best: dict[tuple[Any, ...], Traced] = {}
    for traced in rows:
        key = tuple(traced.row[k] for k in keys)
        if None in key:
            kept.append(traced)
        elif key not in best or _rank(traced, order_by) > _rank(best[key], order_by):
            best[key] = traced
    return kept + list(best.values())


def _rank(traced: Traced, order_by: str | None) -> tuple[Any, ...]:
    if order_by is None:
        return (traced.at,)
    value = traced.row[order_by]
    return (value is not None, value if value is not None else 0, traced.at)


@dataclass(frozen=True)
class FeatureRow:
    """A row of a view: keys, event time, created time, values by column, and where it came from."""

    keys: tuple[Any, ...]
    event: datetime
    created: datetime
    values: Mapping[str, Any]
    at: tuple[int, int, int]


def newest(
    rows: Iterable[FeatureRow], keys: tuple[Any, ...], t: datetime | None, as_of: datetime | None = None
) -> FeatureRow | None:
    """The row with the greatest event time ≤ t, then created time, then place; whatever its age."""
    if t is None or None in keys:
        return None
    found = [
        row for row in rows if row.keys == keys and row.event <= t and (as_of is None or row.created <= as_of)
    ]
    return max(found, key=lambda row: (row.event, row.created, row.at), default=None)


def latest_value(
    rows: Iterable[FeatureRow], keys: tuple[Any, ...], t: datetime | None, column: str, ttl: timedelta | None
) -> tuple[Any, str]:
    """Value and status of a column or expression feature at t."""
    row = newest(rows, keys, t)
    if row is None or t is None:
        return None, "NOT_FOUND"
    if ttl is not None and row.event < t - ttl:
        return None, "OUTSIDE_MAX_AGE"
    value = row.values[column]
    return value, "NULL_VALUE" if value is None else "PRESENT"


def floor(t: datetime, hop: timedelta) -> datetime:
    """The greatest multiple of hop since 1970 that is not after t; right for times before 1970 too."""
    return EPOCH + ((t - EPOCH) // MICROSECOND // (hop // MICROSECOND)) * hop


def window_value(
    rows: Iterable[FeatureRow],
    keys: tuple[Any, ...],
    t: datetime | None,
    column: str,
    function: str,
    window: timedelta,
    hop: timedelta,
) -> tuple[Any, str]:
    """Value and status of an aggregate over ``floor(t − window, hop) ≤ event time ≤ t``."""
    if newest(rows, keys, t) is None or t is None:
        return None, "NOT_FOUND"
    start = floor(t - window, hop)
    inside = sorted(
        (row for row in rows if row.keys == keys and start <= row.event <= t),
        key=lambda row: (row.event, row.created, row.at),
    )
    values = [row.values[column] for row in inside if row.values[column] is not None]
    value = _aggregate(function, values)
    return value, "NULL_VALUE" if value is None else "PRESENT"


def _aggregate(function: str, values: list[Any]) -> Any:
    if function == "Count":
        return len(values)
    if not values:
        return None
    by_name: dict[str, Callable[[list[Any]], Any]] = {
        "Sum": sum,
        "Min": min,
        "Max": max,
        "Mean": lambda v: sum(v) / len(v),
        "First": lambda v: v[0],
        "Last": lambda v: v[-1],
    }
    return by_name[function](values)
