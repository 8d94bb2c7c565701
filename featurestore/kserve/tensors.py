"""Tensors of KServe's protocol v2 as columns of entities, and features as tensors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
from kserve import InferInput
from kserve.errors import InvalidInput

_TENSORS = {
    pa.bool_(): "BOOL",
    pa.int8(): "INT8",
    pa.int16(): "INT16",
    pa.int32(): "INT32",
    pa.int64(): "INT64",
    pa.uint8(): "UINT8",
    pa.uint16(): "UINT16",
    pa.uint32(): "UINT32",
    pa.uint64(): "UINT64",
    pa.float32(): "FP32",
    pa.float64(): "FP64",
    pa.string(): "BYTES",
    pa.large_string(): "BYTES",
}
_EXACT = 2**53
"""Up to here each whole number is a float of its own."""


def column_of(tensor: InferInput) -> list[Any]:
    """The values of a tensor of one column; texts of BYTES.

    Raises:
        InvalidInput: it has more than one column, or is not what it says.
    """
    try:
        values = tensor.as_numpy()
    except (ValueError, TypeError) as error:
        raise InvalidInput(
            f"the input {tensor.name!r} is not what its shape and datatype say: {error}"
        ) from error
    if values.ndim == 0 or values.size != values.shape[0]:
        raise InvalidInput(
            f"the input {tensor.name!r} has the shape {tensor.shape}: wanted one value for each row"
        )
    try:
        return [value.decode() if isinstance(value, bytes) else value for value in values.ravel().tolist()]
    except UnicodeDecodeError as error:
        raise InvalidInput(f"the input {tensor.name!r} has bytes that are not UTF-8") from error


def tensor_of(name: str, column: pa.ChunkedArray | Sequence[Any]) -> InferInput:
    """A feature as a tensor of one column.

    What is not there is NaN among floats, which JSON has as null. Integers that are not all there are floats then, as
    pandas has them.

    Raises:
        InvalidInput: a tensor cannot hold the values.
    """
    values = column if isinstance(column, pa.ChunkedArray) else pa.chunked_array([pa.array(column)])
    kind = values.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        items: list[Any] = [None if value is None else value.isoformat() for value in values.to_pylist()]
        datatype: str | None = "BYTES"
    else:
        items, datatype = values.to_pylist(), _TENSORS.get(kind)
    if datatype is None:
        raise InvalidInput(f"the feature {name!r} is of type {kind}, which is not that of a tensor")
    if None in items and not datatype.startswith("FP"):
        if not pa.types.is_integer(kind) or any(item is not None and abs(item) > _EXACT for item in items):
            raise InvalidInput(
                f"the feature {name!r} has no value in row {items.index(None)}, which a tensor of {datatype} cannot"
                " tell: say what stands for it by fill"
            )
        datatype = "FP64"
    if datatype.startswith("FP"):
        items = [math.nan if item is None else float(item) for item in items]
    return InferInput(name=name, shape=[len(items)], datatype=datatype, data=items)
