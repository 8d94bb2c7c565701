"""The requested features, in the form that the user wants."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from featurestore.errors import RequestError
from featurestore.views.value_status import Status

if TYPE_CHECKING:
    import pandas as pd

EVENT_TIME_SUFFIX = "__ts"
"""Of the columns that ``include_event_timestamps`` adds. It is Feast's."""
_SHOWN_ROWS, _SHOWN_COLUMNS, _SHOWN_WIDTH = 10, 12, 36


class Features:
    """The columns of the entities and then the features, one row per entity and in their order.

    Integers stay integers, and a value that is not there is null; :meth:`statuses` says why.

    ``event_times``: feature column to the event time of each value. With ``include_event_timestamps``, here or
    in a conversion, a column ``<feature>__ts`` with them stands after each feature.
    ``timestamp_column``: the entities' column whose times were read; None if the present was. ``index``: of the
    pandas frame that was asked with.
    """

    def __init__(
        self,
        entities: pa.Table,
        features: pa.Table,
        statuses: Mapping[str, npt.NDArray[np.uint8]],
        event_times: Mapping[str, pa.Array],
        *,
        include_event_timestamps: bool = False,
        timestamp_column: str | None = None,
        index: Any = None,
    ) -> None:
        self.timestamp_column = timestamp_column
        self._entities, self._features = entities, features
        self._statuses, self._event_times = statuses, event_times
        self._index = index
        self._with_times = include_event_timestamps
        self._table = self.to_arrow()

    def to_arrow(self, *, include_event_timestamps: bool = False) -> pa.Table:
        """An Arrow table.

        Raises:
            RequestError: a column of event times would have the name of another column.
        """
        columns = dict(zip(self._entities.column_names, self._entities.columns, strict=True))
        for name, values in zip(self._features.column_names, self._features.columns, strict=True):
            columns[name] = values
            if include_event_timestamps or self._with_times:
                added = f"{name}{EVENT_TIME_SUFFIX}"
                if added in columns or added in self._features.column_names:
                    raise RequestError(
                        f"two columns would have the name {added!r}",
                        where="include_event_timestamps",
                        hint="Rename the column of the entities, or ask for the event times alone",
                    )
                columns[added] = self._event_times[name]
        return pa.Table.from_arrays(list(columns.values()), names=list(columns))

    def to_polars(self, *, include_event_timestamps: bool = False) -> Any:
        """A Polars DataFrame.

        Raises:
            RequestError: Polars is not installed.
        """
        table = self.to_arrow(include_event_timestamps=include_event_timestamps)
        return _library("polars").from_arrow(table)

    def to_df(self, *, include_event_timestamps: bool = False) -> pd.DataFrame:
        """Feast's name of :meth:`to_pandas`."""
        return self.to_pandas(include_event_timestamps=include_event_timestamps)

    def to_pandas(self, *, include_event_timestamps: bool = False) -> pd.DataFrame:
        """A pandas DataFrame, with the index of the frame that was asked with, if that was a pandas frame.

        An integer or boolean column with a null is of a nullable type, not of floats.

        Raises:
            RequestError: pandas is not installed.
        """
        pandas = _library("pandas")
        table = self.to_arrow(include_event_timestamps=include_event_timestamps)
        nullable = {
            pa.bool_(): pandas.BooleanDtype(),
            **{
                getattr(pa, name.lower())(): getattr(pandas, f"{name}Dtype")()
                for name in ("Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64")
            },
        }
        columns = [
            column.to_pandas(types_mapper=nullable.get if column.null_count else None)
            for column in table.columns
        ]
        frame: pd.DataFrame = pandas.concat(columns, axis=1, keys=table.column_names)
        return frame if self._index is None else frame.set_axis(self._index, axis=0)

    def to_dict(self, *, include_event_timestamps: bool = False) -> dict[str, list[Any]]:
        """Column name to its values as Python objects."""
        table = self.to_arrow(include_event_timestamps=include_event_timestamps)
        values: dict[str, list[Any]] = table.to_pydict()
        return values

    def statuses(self) -> dict[str, list[Status]]:
        """The status of each value, by feature column."""
        return {name: [Status(number) for number in numbers] for name, numbers in self._statuses.items()}

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """So that Polars, DuckDB, pandas and others take the result as it is."""
        return self._table.__arrow_c_stream__(requested_schema)

    def __repr__(self) -> str:
        names = self._table.column_names[:_SHOWN_COLUMNS]
        shown = self._table.select(names).slice(0, _SHOWN_ROWS)
        columns = [[name, *self._cells(name, shown.column(name).to_pylist())] for name in names]
        lines = _aligned(columns, [_is_number(field.type) for field in shown.schema])
        rows, more = len(self), len(self._table.column_names) - len(names)
        foot = f"{rows:,} row{'' if rows == 1 else 's'}"
        foot += f", {rows - _SHOWN_ROWS:,} of them not shown" if rows > _SHOWN_ROWS else ""
        foot += f", as of the times in {self.timestamp_column!r}" if self.timestamp_column else ""
        foot += f"; columns not shown: {', '.join(self._table.column_names[_SHOWN_COLUMNS:])}" if more else ""
        return "\n".join([*lines, f"[{foot}]"])

    def _cells(self, name: str, values: Sequence[Any]) -> list[str]:
        statuses = self._statuses.get(name)
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


def _library(name: str) -> ModuleType:
    """A library that only some users have, and that this package must not need."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise RequestError(
            f"{name} is not installed", hint=f"`pip install {name}`, or use to_arrow() or to_dict()"
        ) from error
