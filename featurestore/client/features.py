"""Features as asked for, in the form that is wanted."""

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

_SHOWN_ROWS, _SHOWN_COLUMNS, _SHOWN_WIDTH = 10, 12, 36


class Features:
    """The columns of the entities and then the features, one row per entity and in their order.

    Integers stay integers, and a value that is not there is null; :meth:`statuses` says why.
    """

    def __init__(self, entities: pa.Table, features: pa.Table, statuses: Mapping[str, npt.NDArray[np.uint8]]):
        self._table = pa.Table.from_arrays(
            [*entities.columns, *features.columns], names=[*entities.column_names, *features.column_names]
        )
        self._statuses = statuses

    def to_arrow(self) -> pa.Table:
        return self._table

    def to_polars(self) -> Any:
        """A Polars DataFrame.

        Raises:
            RequestError: Polars is not installed.
        """
        return _library("polars").from_arrow(self._table)

    def to_pandas(self) -> pd.DataFrame:
        """A pandas DataFrame. An integer or boolean column with a null is of a nullable type, not of floats.

        Raises:
            RequestError: pandas is not installed.
        """
        pandas = _library("pandas")
        nullable = {
            pa.bool_(): pandas.BooleanDtype(),
            **{
                getattr(pa, name.lower())(): getattr(pandas, f"{name}Dtype")()
                for name in ("Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64")
            },
        }
        columns = [
            column.to_pandas(types_mapper=nullable.get if column.null_count else None)
            for column in self._table.columns
        ]
        frame: pd.DataFrame = pandas.concat(columns, axis=1, keys=self._table.column_names)
        return frame

    def to_dict(self) -> dict[str, list[Any]]:
        """Column name to its values as Python objects."""
        values: dict[str, list[Any]] = self._table.to_pydict()
        return values

    def statuses(self) -> dict[str, list[Status]]:
        """Feature column to the status of each of its values."""
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
