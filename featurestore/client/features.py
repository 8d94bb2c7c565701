"""The requested features, in the form that the user wants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from featurestore.client.answers import Answer, library, pandas_frame
from featurestore.errors import RequestError
from featurestore.views.value_status import Status

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

EVENT_TIME_SUFFIX = "__ts"
"""Of the columns that ``include_event_timestamps`` adds. It is Feast's."""
_SHOWN_ROWS, _SHOWN_COLUMNS, _SHOWN_WIDTH = 10, 12, 36


class Features:
    """The columns of the entities and then the features, one row per entity and in their order.

    Integers stay integers, and a value that is not there is null; :meth:`statuses` says why.

    ``answer``: the features alone. With ``include_event_timestamps``, here or in a conversion, a column
    ``<feature>__ts`` with the event time of each value stands after each feature. ``timestamp_column``: the entities'
    column whose times were read; None if the present was. ``index``: of the pandas frame that was asked with.

    Raises:
        RequestError: a column of event times would have the name of another column.
    """

    def __init__(
        self,
        entities: pa.Table,
        answer: Answer,
        *,
        include_event_timestamps: bool = False,
        timestamp_column: str | None = None,
        index: Any = None,
    ) -> None:
        self.timestamp_column, self.answer = timestamp_column, answer
        self._entities, self._index = entities, index
        self._with_times = include_event_timestamps
        if include_event_timestamps:
            self._require_names()

    def to_arrow(self, *, include_event_timestamps: bool = False) -> pa.Table:
        """An Arrow table.

        Raises:
            RequestError: a column of event times would have the name of another column.
        """
        columns = dict(zip(self._entities.column_names, self._entities.columns, strict=True))
        with_times = include_event_timestamps or self._with_times
        if with_times:
            self._require_names()
        for name, values in self.answer.columns.items():
            columns[name] = values.to_arrow()
            if with_times:
                columns[f"{name}{EVENT_TIME_SUFFIX}"] = self.answer.times[name].to_arrow()
        return pa.Table.from_arrays(list(columns.values()), names=list(columns))

    def to_polars(self, *, include_event_timestamps: bool = False) -> Any:
        """A Polars DataFrame.

        Raises:
            RequestError: Polars is not installed.
        """
        table = self.to_arrow(include_event_timestamps=include_event_timestamps)
        return library("polars").from_arrow(table)

    def to_df(self, *, include_event_timestamps: bool = False) -> pd.DataFrame:
        """Feast's name of :meth:`to_pandas`."""
        return self.to_pandas(include_event_timestamps=include_event_timestamps)

    def to_pandas(self, *, include_event_timestamps: bool = False) -> pd.DataFrame:
        """A pandas DataFrame, with the index of the frame that was asked with, if that was a pandas frame.

        An integer or boolean column with a null is of a nullable type, not of floats.

        Raises:
            RequestError: pandas is not installed.
        """
        table = self.to_arrow(include_event_timestamps=include_event_timestamps)
        frame: pd.DataFrame = pandas_frame(table)
        return frame if self._index is None else frame.set_axis(self._index, axis=0)

    def to_dict(self, *, include_event_timestamps: bool = False) -> dict[str, list[Any]]:
        """Column name to its values as Python objects."""
        if include_event_timestamps or self._with_times:
            values: dict[str, list[Any]] = self.to_arrow(include_event_timestamps=True).to_pydict()
            return values
        return {**self._entities.to_pydict(), **self.answer.to_dict()}

    def statuses(self) -> dict[str, list[Status]]:
        """The status of each value, by feature column."""
        return self.answer.statuses()

    def event_times(self) -> dict[str, npt.NDArray[Any]]:
        """The event time of each value, by feature column, as ``datetime64[us]``: NaT where the entity has no row."""
        return self.answer.event_times()

    @property
    def commits(self) -> Mapping[str, int]:
        """View to the version of its table that the values came from: see :class:`featurestore.client.answers.Answer`."""
        return self.answer.commits

    def __len__(self) -> int:
        return len(self.answer)

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """So that Polars, DuckDB, pandas and others take the result as it is."""
        return self.to_arrow().__arrow_c_stream__(requested_schema)

    def __repr__(self) -> str:
        table = self.to_arrow()
        names = table.column_names[:_SHOWN_COLUMNS]
        shown = table.select(names).slice(0, _SHOWN_ROWS)
        columns = [[name, *self._cells(name, shown.column(name).to_pylist())] for name in names]
        lines = _aligned(columns, [_is_number(field.type) for field in shown.schema])
        rows, more = len(self), len(table.column_names) - len(names)
        foot = f"{rows:,} row{'' if rows == 1 else 's'}"
        foot += f", {rows - _SHOWN_ROWS:,} of them not shown" if rows > _SHOWN_ROWS else ""
        foot += f", as of the times in {self.timestamp_column!r}" if self.timestamp_column else ""
        foot += f"; columns not shown: {', '.join(table.column_names[_SHOWN_COLUMNS:])}" if more else ""
        return "\n".join([*lines, f"[{foot}]"])

    def _require_names(self) -> None:
        taken = {*self._entities.column_names, *self.answer.columns}
        for name in self.answer.columns:
            if (added := f"{name}{EVENT_TIME_SUFFIX}") in taken:
                raise RequestError(
                    f"two columns would have the name {added!r}",
                    where="include_event_timestamps",
                    hint="Rename the column of the entities, or ask for the event times alone",
                )

    def _cells(self, name: str, values: Sequence[Any]) -> list[str]:
        column = self.answer.columns.get(name)
        statuses = None if column is None else column.statuses
        cells = []
        for place, value in enumerate(values):
            text = "null" if value is None else str(value)
            if value is None and statuses is not None and statuses[place] != Status.NULL_VALUE:
                text = f"null ({Status(statuses[place])})"
            cells.append(text if len(text) <= _SHOWN_WIDTH else text[: _SHOWN_WIDTH - 1] + "…")
        return cells


def _aligned(columns: Sequence[Sequence[str]], right: Sequence[bool]) -> list[str]:
    """Rows of cells under each other, numbers to the right; a rule below the names."""
    padded = []
    for cells, to_right in zip(columns, right, strict=True):
        width = max(len(cell) for cell in cells)
        padded.append([cell.rjust(width) if to_right else cell.ljust(width) for cell in cells])
        padded[-1].insert(1, "─" * width)
    return ["  ".join(row).rstrip() for row in zip(*padded, strict=True)]


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))
