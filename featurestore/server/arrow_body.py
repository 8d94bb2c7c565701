"""The rows of an Arrow stream that somebody sent, who may mean harm: they unpack to no more than was sent."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from featurestore.errors import RequestError

_COMPRESSED_BEFORE_1_0 = b"ARROW:experimental_compression"
_BODY = "the body of the request"
_PLAIN = "buffers that are not compressed, and columns of numbers, strings, bytes, times or lists of them"


def read_arrow_body(body: bytes) -> pa.Table:
    """``table[<the stream's columns>]``.

    Raises:
        RequestError: it is not an Arrow stream, or a short one may stand for many bytes: compressed, with dictionaries,
            or with buffers that are used more than once.
    """
    try:
        # By the metadata alone: what is compressed is unpacked as soon as a batch is read.
        for message in pa.ipc.MessageReader.open_stream(body):
            if message.type == "dictionary" or _is_compressed(message.metadata.to_pybytes()):
                raise _too_much("compressed buffers, or a dictionary")
        with pa.ipc.open_stream(body) as stream:
            for column in stream.schema:
                if not _is_plain(column.type):
                    raise _too_much(f"{column.type} in the column {column.name!r}")
            batches = list(stream)
            table = pa.Table.from_batches(batches, stream.schema)
        table.validate(full=True)
    except (pa.ArrowException, OSError, ValueError, struct.error) as error:
        raise RequestError("the body is not an Arrow stream", got=str(error)) from error
    if max(table.nbytes, sum(_viewed(table))) > len(body):
        raise _too_much("buffers that are used more than once")
    return table


def _too_much(got: str) -> RequestError:
    return RequestError(
        "this Arrow stream may unpack to more than was sent",
        where=_BODY,
        wanted=_PLAIN,
        got=got,
        hint="Write it without compression and without dictionaries, which categorical columns become",
    )


def _is_compressed(metadata: bytes) -> bool:
    """Whether the batch that a message's flatbuffer describes is (``Message.header``, ``RecordBatch.compression``)."""
    (message,) = struct.unpack_from("<I", metadata)
    header = _field(metadata, message, 2)
    if header is None:
        return False
    (offset,) = struct.unpack_from("<I", metadata, header)
    return _field(metadata, header + offset, 3) is not None or _COMPRESSED_BEFORE_1_0 in metadata


def _field(data: bytes, table: int, number: int) -> int | None:
    """Where a field of a table in a flatbuffer stands; None if it is absent."""
    vtable = table - struct.unpack_from("<i", data, table)[0]
    (size,) = struct.unpack_from("<H", data, vtable)
    at = 4 + 2 * number
    (offset,) = struct.unpack_from("<H", data, vtable + at) if at < size else (0,)
    return table + offset if offset else None


def _is_plain(kind: pa.DataType) -> bool:
    """Whether each value takes its own bytes. Of a list of nulls it does not: its length is only said."""
    types = pa.types
    if types.is_list(kind) or types.is_large_list(kind):
        return _is_plain(kind.value_type) and not types.is_null(kind.value_type)
    is_text = types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)
    is_bytes = types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind)
    return bool(is_text or is_bytes or types.is_primitive(kind) or types.is_null(kind))


def _viewed(table: pa.Table) -> Iterator[int]:
    """Bytes of the values of each array of views, which may all be views of the same bytes."""
    for column in table.columns:
        for array in column.chunks:
            while pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
                array = array.flatten()
            if len(array) and (pa.types.is_string_view(array.type) or pa.types.is_binary_view(array.type)):
                stop = array.offset + len(array)
                lengths = np.frombuffer(array.buffers()[1], np.int32, 4 * stop)[4 * array.offset :: 4]
                yield int(lengths[array.is_valid().to_numpy(zero_copy_only=False)].sum(dtype=np.int64))
