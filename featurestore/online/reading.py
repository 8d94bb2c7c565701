"""Reading an online store: what is prepared once, and what each read brings and gets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np

from featurestore.arrays import Flags, Ints, Statuses
from featurestore.online.entity_windows import EntityWindows, KeptEntity
from featurestore.online.layout import Form
from featurestore.resources.feature_view import FeatureViewSpec
from featurestore.resources.outputs import Output
from featurestore.resources.value import ColumnType
from featurestore.timestamps import duration_us
from featurestore.views.feature_query import FeatureValues
from featurestore.views.value_column import (
    ListColumn,
    NumberColumn,
    ValueColumn,
    arrow_columns,
    event_time_column,
)
from featurestore.views.value_status import Status

Keys = Sequence[bytes | None]
"""Of each requested entity what :func:`featurestore.online.entity_keys.key_texts` gives: None where a key is null."""
FewRow = tuple[int, int | None, Sequence[object] | None]
"""Status of an entity, event time of its newest row, and values of the asked outputs, None if none has one.

The status is that of outputs that are read; those over windows have a value wherever the entity has a row.
"""
_PRESENT, _NULL_VALUE, _NOT_FOUND = int(Status.PRESENT), int(Status.NULL_VALUE), int(Status.NOT_FOUND)
UNKNOWN: FewRow = (_NOT_FOUND, None, None)


@dataclass(frozen=True)
class OnlineQuery:
    """Outputs of a view. ``spec``: the resource that describes what is served, ``digest`` the build that serves."""

    view: str
    spec: FeatureViewSpec
    digest: str
    outputs: tuple[Output, ...]

    @cached_property
    def form(self) -> Form:
        return Form.of(self.spec)

    @cached_property
    def kinds(self) -> list[tuple[str, ColumnType]]:
        """Names and types of the outputs."""
        return [(output.name, output.type) for output in self.outputs]

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Of each output, the column of the view's table that it is read from."""
        return tuple(output.column for output in self.outputs)

    @cached_property
    def ttl_us(self) -> int | None:
        return None if self.spec.ttl is None else duration_us(self.spec.ttl)

    @cached_property
    def are_windows(self) -> tuple[bool, ...]:
        """Of each output, whether it is computed when it is read."""
        return tuple(output.window_us is not None for output in self.outputs)

    @cached_property
    def has_windows(self) -> bool:
        """Whether one is."""
        return any(self.are_windows)

    @cached_property
    def plain(self) -> OnlineQuery:
        """The outputs that are read, without those that are computed."""
        return replace(self, outputs=tuple(output for output in self.outputs if output.window_us is None))

    @cached_property
    def _entity_windows(self) -> EntityWindows:
        return EntityWindows(self.form, [output for output in self.outputs if output.window_us is not None])

    def with_windows(self, newest: FewRow, kept: KeptEntity, now_us: int) -> FewRow:
        """All outputs of an entity. ``newest``: the ``plain`` ones."""
        status, time_us, values = newest
        if time_us is None:
            return newest
        plain, windows = iter(values or ()), iter(self._entity_windows.values(kept, now_us))
        row = [next(windows) if is_window else next(plain, None) for is_window in self.are_windows]
        return status, time_us, row


@dataclass(slots=True)
class OnlineValues:
    """What a view answers, one value per requested entity and in the order of the request.

    ``columns``: by output. ``event_times``: of the entity's newest row that counts, NOT_FOUND where there is none.
    ``version``: of the view's table that the store holds whole; values may be of a later one. ``is_stale``: the store
    did not answer, and this is what it answered before.
    """

    columns: Mapping[str, ValueColumn]
    event_times: ValueColumn
    version: int
    is_stale: bool = False


class OnlineReader(Protocol):
    """Reads some views, in one round trip. Safe to use from several threads, and after a fork."""

    def read(self, keys: Sequence[Keys], now_us: int) -> list[OnlineValues]:
        """What each of the views answers now. ``keys``: for each of them. ``now_us``: UTC microseconds.

        Raises:
            StorageError: the store does not answer, or does not hold a view; never read as "no such entity".
        """
        ...

    async def read_async(self, keys: Sequence[Keys], now_us: int) -> list[OnlineValues]:
        """The same, without blocking the loop."""
        ...

    async def aclose(self) -> None:
        """Close what was opened for the loop that runs; the next awaited read opens it again."""
        ...


def few_values(query: OnlineQuery, rows: Sequence[FewRow], version: int) -> OnlineValues:
    """Rows of few entities as columns."""
    kinds = query.kinds
    codes = [row[0] for row in rows]
    times = [row[1] for row in rows]
    known = [_NOT_FOUND if time is None else _PRESENT for time in times]
    nothing = (None,) * len(kinds)
    values = list(zip(*[row[2] or nothing for row in rows])) or [()] * len(kinds)  # noqa: B905 - takes a third longer
    columns: dict[str, ValueColumn] = {}
    for (name, kind), is_window, column in zip(kinds, query.are_windows, values, strict=True):
        statuses = known if is_window else codes
        columns[name] = ListColumn(
            kind, column, _with_nulls(statuses, column) if None in column else statuses
        )
    return OnlineValues(columns, ListColumn(ColumnType.TIMESTAMP, times, known), version)


def array_values(query: OnlineQuery, values: FeatureValues, version: int) -> OnlineValues:
    """Columns of Arrow as such."""
    return OnlineValues(arrow_columns(query.outputs, values), event_time_column(values), version)


def number_times(time_us: Ints, statuses: Statuses, absent: Flags | None) -> ValueColumn:
    """Event times of many entities. ``statuses``: of the entities; ``absent``: which are not present, None if all are."""
    if absent is None:
        return NumberColumn(ColumnType.TIMESTAMP, time_us, statuses, None)
    unknown = statuses == np.uint8(_NOT_FOUND)
    known = np.where(unknown, np.uint8(_NOT_FOUND), np.uint8(_PRESENT))
    return NumberColumn(ColumnType.TIMESTAMP, time_us, known, unknown if unknown.any() else None)


def _with_nulls(codes: list[int], column: Sequence[object]) -> list[int]:
    return [
        _NULL_VALUE if value is None and code == _PRESENT else code
        for code, value in zip(codes, column, strict=True)
    ]
