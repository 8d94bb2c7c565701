"""Batches of a training set as arrays, which frameworks make tensors of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from featurestore.errors import RequestError


def arrays_of(batch: pa.RecordBatch, fill: Mapping[str, Any], texts: bool) -> dict[str, npt.NDArray[Any]]:
    """Column name to an array of its own memory: numbers, truth values, times as microseconds since 1970.

    A null among floats is NaN; any other takes what ``fill`` has for its column. Lists of numbers that are of one length are
    rows of a matrix. ``texts``: these are allowed, too, as an array of objects.

    >>> batch = pa.record_batch({"n": [1, None], "x": [0.5, None]})
    >>> arrays_of(batch, {"n": 0}, texts=False)
    {'n': array([1, 0]), 'x': array([0.5, nan])}

    Raises:
        RequestError: a column has nulls without a ``fill``, or is of a type that no tensor has.
    """
    return {
        name: _array(name, column, fill, texts)
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
    }


def _array(name: str, column: pa.Array, fill: Mapping[str, Any], texts: bool) -> npt.NDArray[Any]:
    kind = column.type
    if name in fill:
        column = column.fill_null(pa.scalar(fill[name], kind))
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    if pa.types.is_timestamp(kind):
        column = column.cast(pa.timestamp("us", kind.tz)).cast(pa.int64())
    elif pa.types.is_list(kind):
        return _matrix(name, column)
    elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)) and not (
        texts and is_text
    ):
        raise RequestError(
            "a column is of a type that no tensor has",
            where=f"column {name!r}",
            got=str(kind),
            hint="Name the columns that you want: columns=[…]",
        )
    if column.null_count and not pa.types.is_floating(kind):
        raise RequestError(
            "a column has nulls, which its tensor cannot hold",
            where=f"column {name!r}",
            got=f"{column.null_count} of {len(column)} values, of type {kind}",
            hint=f"Say what stands for them: fill={{{name!r}: …}}",
        )
    return np.array(column.to_numpy(zero_copy_only=False))


def _matrix(name: str, column: pa.ListArray) -> npt.NDArray[Any]:
    values = column.flatten()
    widths = set(column.value_lengths().to_pylist())
    if len(widths) > 1 or None in widths or values.null_count:
        raise RequestError(
            "lists of a column are not all of one length and without nulls",
            where=f"column {name!r}",
            got=f"lengths {sorted(widths, key=str)[:10]}",
            hint="Name the columns that you want: columns=[…]",
        )
    return np.array(values.to_numpy(zero_copy_only=False)).reshape(len(column), -1)
