"""What a file is that is not of its pipeline's format, by its first bytes, and how to declare it."""

from __future__ import annotations

import re

_PACKED = (
    (b"\x1f\x8b", "it is compressed with gzip. Set spec.source.compression: Gzip"),
    (b"\x28\xb5\x2f\xfd", "it is compressed with zstd. Set spec.source.compression: Zstd"),
    (b"PK\x03\x04", "it is a zip archive (or an Office document). Unpack it first"),
    (b"BZh", "it is compressed with bzip2. Decompress it first, or compress it with gzip or zstd"),
    (b"\xfd7zXZ\x00", "it is compressed with xz. Decompress it first, or compress it with gzip or zstd"),
    (b"\x04\x22\x4d\x18", "it is compressed with lz4. Decompress it first, or compress it with gzip or zstd"),
    (b"PAR1", "it is a Parquet file. Set spec.source.format: Parquet"),
    (b"ARROW1", "it is an Arrow file. Set spec.source.format: Arrow"),
    (b"\xff\xff\xff\xff", "it is an Arrow stream. Set spec.source.format: Arrow"),
    (b"ORC", "it is an ORC file, which is not read. Write Parquet"),
    (b"Obj\x01", "it is an Avro file, which is not read. Write Parquet"),
    (b"\x89HDF", "it is an HDF5 file, which is not read. Write Parquet"),
    (b"\xd0\xcf\x11\xe0", "it is an Excel workbook. Export it as CSV"),
    (b"%PDF", "it is a PDF document"),
    (b"\x89PNG", "it is a PNG image"),
    (b"\xff\xd8\xff", "it is a JPEG image"),
    (b"SQLite format 3", "it is a SQLite database"),
)
_BINARY = re.compile(rb"[\x00-\x08\x0e-\x1f]")
_HTML = (b"<!doctype html", b"<html", b"<head", b"<body")


def packed(start: bytes) -> str | None:
    """What kind of binary file begins with these bytes; None if they may be text.

    >>> packed(bytes([0x1f, 0x8b, 8, 0]))
    'it is compressed with gzip. Set spec.source.compression: Gzip'
    """
    what = next((what for mark, what in _PACKED if start.startswith(mark)), None)
    # A header may begin with a mark of letters: ORCID, PAR1.
    letters = start[:4].isalnum() and not _BINARY.search(start[:1024])
    return None if letters else what


def instead(start: bytes) -> str | None:
    """What a file is whose format is a binary one and that does not begin as that does; None if that cannot be told.

    >>> instead(b"id,name"), instead(bytes([0x1f, 0x8b, 8, 0]))
    ('it seems to be text. Set spec.source.format: CSV or JSON', 'it is compressed with gzip. Unpack it first')
    """
    if (what := packed(start)) is not None:
        return (
            what.partition(" Set spec.source.compression")[0] + " Unpack it first"
            if "compression" in what
            else what
        )
    if (what := foreign(start)) is not None:
        return what
    if not start.strip() or _BINARY.search(start):
        return None
    return "it seems to be text. Set spec.source.format: CSV or JSON"


def foreign(text: bytes) -> str | None:
    """Which other format the text is in; None if that cannot be told.

    >>> foreign(b"<!DOCTYPE html><title>404")
    'it is an HTML page, maybe of an error'
    """
    start = text[:1024].lstrip().lower()
    if start.startswith(_HTML):
        return "it is an HTML page, maybe of an error"
    if start.startswith((b"<?xml", b"<error>", b"<!doctype")):
        return "it is XML, maybe of an error"
    first = b"".join(start.split()[:2])
    if first.startswith(b'{"') and b'":' in start.replace(b'" :', b'":'):
        return "it seems to be JSON. Set spec.source.format: JSON"
    if first.startswith((b"[{", b"[[")):
        return "it seems to be a JSON array. Set spec.source.format: JSON, and spec.source.json.layout: Array"
    return None
