"""Thrift's compact protocol, as far as it takes to read the footer and the page headers of Parquet.

https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md. Every step takes at least one byte
of what there is, so that nothing grows beyond the bytes that it is read from.
"""

from __future__ import annotations

from typing import Any

_DEPTH = 32
_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(1, 13)
_NUMBERS = (_I16, _I32, _I64)


def read_struct(data: bytes, at: int = 0, depth: int = 0) -> tuple[dict[int, Any], int]:
    """Fields of a struct by their ids, and where it ends.

    >>> read_struct(bytes([0x15, 0x02, 0x18, 0x01, 0x61, 0x00]))
    ({1: 1, 2: b'a'}, 6)

    Raises:
        IndexError: the bytes end before it does.
        ValueError: it is not a struct.
    """
    if depth > _DEPTH:
        raise ValueError("structs within structs, too deep")
    fields: dict[int, Any] = {}
    field = 0
    while True:
        head, at = data[at], at + 1
        if head == 0:
            return fields, at
        if head >> 4:
            field += head >> 4
        else:
            field, at = _number(data, at)
        kind = head & 15
        if kind in _NUMBERS:
            # Most fields are numbers, and most of these have one byte: a footer has hundreds, and a small file little else.
            byte = data[at]
            if byte < 128:
                fields[field], at = (byte >> 1) ^ -(byte & 1), at + 1
            else:
                fields[field], at = _number(data, at)
        elif kind in (_TRUE, _FALSE):
            fields[field] = kind == _TRUE
        else:
            fields[field], at = _value(data, at, kind, depth)


def _value(data: bytes, at: int, kind: int, depth: int) -> tuple[Any, int]:
    if kind == _BINARY:
        size = data[at]
        if size < 128:
            at += 1
        else:
            size, at = _varint(data, at)
        return _bytes(data, at, size)
    if kind == _STRUCT:
        return read_struct(data, at, depth + 1)
    if kind in _NUMBERS:
        return _number(data, at)
    if kind in (_LIST, _SET):
        head, at = data[at], at + 1
        size = head >> 4
        if size == 15:
            size, at = _varint(data, at)
        values = []
        for _ in range(size):
            value, at = _value(data, at, head & 15, depth + 1)
            values.append(value)
        return values, at
    if kind in (_TRUE, _FALSE, _BYTE):  # inside of lists truth values take a byte
        return data[at], at + 1
    if kind == _DOUBLE:
        return _bytes(data, at, 8)
    raise ValueError(f"no value is of kind {kind}")


def _bytes(data: bytes, at: int, size: int) -> tuple[bytes, int]:
    if at + size > len(data):
        raise IndexError("the bytes end")
    return data[at : at + size], at + size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte, at = data[at], at + 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, at
        shift += 7
        if shift > 63:
            raise ValueError("a number of more than 64 bits")


def _number(data: bytes, at: int) -> tuple[int, int]:
    zigzag, at = _varint(data, at)
    return (zigzag >> 1) ^ -(zigzag & 1), at
