"""What was read, column by column, in the form that the caller wants."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy.typing as npt
import pyarrow as pa

from featurestore.arrays import Statuses
from featurestore.errors import RequestError
from featurestore.views.value_column import ValueColumn
from featurestore.views.value_status import Status


@dataclass(slots=True)
class Answer:
    """The features of each entity, in the order of the request. Columns are named as the features are asked for.

    ``columns``: name to values and statuses. ``times``: name to the event time of each value. ``commits``: view to the
    version of its table that the online store held whole when it answered; values may be of a later one. Offline: the
    version that was read; a view of which nothing had to be read is not among them. ``is_stale``: the online store did not
    answer, and these are the values that it answered last.
    """

    columns: Mapping[str, ValueColumn]
    times: Mapping[str, ValueColumn]
    commits: Mapping[str, int]
    rows: int
    is_stale: bool = False

    def to_dicts(self) -> list[dict[str, Any]]:
        """One dict per entity, None where a value is not there."""
        names = list(self.columns)
        columns = [column.to_list() for column in self.columns.values()]
        return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]

    def to_dict(self) -> dict[str, list[Any]]:
        """Column name to its values as Python objects."""
        return {name: column.to_list() for name, column in self.columns.items()}

    def to_numpy(self) -> dict[str, npt.NDArray[Any]]:
        """Column name to an array.

        Where a value is not there: NaN among floats, NaT among times, None among texts and lists; integers and
        truth values are in a masked array then.
        """
        return {name: column.to_numpy() for name, column in self.columns.items()}

    def to_arrow(self) -> pa.Table:
        """A table of the declared types."""
        return pa.table({name: column.to_arrow() for name, column in self.columns.items()})

    def to_polars(self) -> Any:
        """A Polars DataFrame.

        Raises:
            RequestError: Polars is not installed.
        """
        return library("polars").from_arrow(self.to_arrow())

    def to_pandas(self) -> Any:
        """A pandas DataFrame. An integer or boolean column with a null is of a nullable type, not of floats.

        Raises:
            RequestError: pandas is not installed.
        """
        return pandas_frame(self.to_arrow())

    def statuses(self) -> dict[str, list[Status]]:
        """The status of each value, by column."""
        return {
            name: [Status(code) for code in codes.tolist()] for name, codes in self.status_codes().items()
        }

    def status_codes(self) -> dict[str, Statuses]:
        """The same as arrays of the numbers of :class:`featurestore.views.value_status.Status`."""
        return {name: column.statuses for name, column in self.columns.items()}

    def event_times(self) -> dict[str, npt.NDArray[Any]]:
        """The event time of each value, by column, as ``datetime64[us]``: NaT where the entity has no row."""
        return {name: times.to_numpy() for name, times in self.times.items()}

    def __len__(self) -> int:
        return self.rows

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """So that Polars, DuckDB, pandas and others take the answer as it is."""
        return self.to_arrow().__arrow_c_stream__(requested_schema)


def pandas_frame(table: pa.Table) -> Any:
    """A pandas DataFrame whose integers stay integers."""
    pandas = library("pandas")
    nullable = {
        pa.bool_(): pandas.BooleanDtype(),
        **{
            getattr(pa, name.lower())(): getattr(pandas, f"{name}Dtype")()
            for name in ("Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64")
        },
    }
    columns = [
        column.to_pandas(types_mapper=nullable.get if column.null_count else None) for column in table.columns
    ]
    return pandas.concat(columns, axis=1, keys=table.column_names)


def library(name: str) -> ModuleType:
    """A library that only some users have, and that this package must not need."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise RequestError(
            f"{name} is not installed", hint=f"`pip install {name}`, or use to_arrow() or to_dict()"
        ) from error
