"""The pages of a Parquet column chunk, counted and measured before anything of them is unpacked.

Readers believe the footer: they allocate what it says, and pass over pages that it does not count. So the footer and
the headers of the pages (https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift) are read
here too, and held against each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from featurestore_transforms.sources.compact import read_struct
from featurestore_transforms.sources.reader import UnreadableArrival

ReadAt = Callable[[int, int], bytes]
"""``(offset, size)`` to bytes of the file, fewer where it ends."""

_HEADER_BYTES = 8192
_TAIL_BYTES = 8
_DATA, _DICTIONARY, _DATA_2 = 0, 2, 3
_BODIES: dict[Any, int] = {_DATA: 5, _DICTIONARY: 7, _DATA_2: 8}
"""Type of a page to the field of its header that counts its values."""
_DICTIONARY_CODED = (2, 8)


@dataclass(frozen=True, slots=True)
class Chunk:
    """A column of a row group: how many values, and at which bytes of the file."""

    where: str
    values: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class RowGroup:
    """``chunks``: one for each leaf of the schema."""

    rows: int
    chunks: tuple[Chunk, ...]


@dataclass(frozen=True, slots=True)
class _Page:
    kind: Any
    values: int
    rows: int | None
    packed_bytes: int
    unpacked_bytes: int
    header_bytes: int
    coded: bool


def read_row_groups(read_at: ReadAt, size_bytes: int, room_bytes: int) -> tuple[int, tuple[RowGroup, ...]]:
    """The number of rows that the footer gives to the file, and its row groups.

    Raises:
        UnreadableArrival: there is no footer, it contradicts itself or the file's size, or columns are encrypted.
    """
    tail = read_at(size_bytes - _TAIL_BYTES, _TAIL_BYTES)
    size = int.from_bytes(tail[:4], "little")
    if not 0 < size <= size_bytes - _TAIL_BYTES:
        raise UnreadableArrival("file:corrupt", f"a footer of {size:,} bytes in a file of {size_bytes:,}")
    if size > room_bytes:
        raise UnreadableArrival(
            "file:tooLarge",
            f"a footer of {size:,} bytes, and there is room for {room_bytes:,}. "
            "Raise spec.resources.memory if this is meant",
        )
    try:
        footer, _ = read_struct(read_at(size_bytes - _TAIL_BYTES - size, size))
        groups = tuple(_row_group(place, group, size_bytes) for place, group in enumerate(footer.get(4, [])))
        rows = int(footer[3])
    except (IndexError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnreadableArrival("file:corrupt", "the footer is not a Thrift struct of Parquet's") from error
    total = sum(group.rows for group in groups)
    # Some writers leave it 0.
    if rows not in (0, total):
        raise UnreadableArrival(
            "file:corrupt", f"the footer counts {rows:,} rows, and its row groups {total:,}"
        )
    return total, groups


def _row_group(place: int, group: dict[int, Any], size_bytes: int) -> RowGroup:
    chunks = tuple(_chunk(place, chunk, size_bytes) for chunk in group[1])
    if group[3] < 0:
        raise UnreadableArrival("file:corrupt", f"row group {place} has {group[3]:,} rows")
    return RowGroup(group[3], chunks)


def _chunk(group: int, chunk: dict[int, Any], size_bytes: int) -> Chunk:
    if 8 in chunk or 9 in chunk:
        raise UnreadableArrival("file:unsupported", "columns of the Parquet file are encrypted")
    if chunk.get(1):
        raise UnreadableArrival("file:unsupported", "columns of the Parquet file are in other files")
    meta = chunk[3]
    where = f"row group {group}, column {b'.'.join(meta[3]).decode(errors='replace')!r}"
    values, start, dictionary = meta[5], meta[9], meta.get(11)
    if dictionary is not None and 0 < dictionary < start:
        start = dictionary
    end = start + meta[7]
    if not 0 <= start <= end <= size_bytes or values < 0:
        raise UnreadableArrival(
            "file:corrupt", f"{where}: {values:,} values at bytes {start:,} to {end:,} of {size_bytes:,}"
        )
    return Chunk(where, values, start, end)


def unfolded_bytes(
    group: RowGroup, leaf: int, width: int, repeated: bool, read_at: ReadAt, room_bytes: int
) -> int:
    """About how many bytes the values of a chunk take when each stands for itself.

    ``width``: bytes of a value at least. ``repeated``: it is in lists.

    Raises:
        UnreadableArrival: its pages do not hold the values that the footer counts, or one has no room in memory.
    """
    chunk = group.chunks[leaf]
    if not repeated and chunk.values != group.rows:
        raise _miscounted(
            chunk, f"the row group has {group.rows:,} rows", f"the column {chunk.values:,} values"
        )
    values, rows, counted, entry_bytes, size = 0, 0, True, 0, 0
    for page in _pages(chunk, read_at):
        if page.unpacked_bytes > room_bytes:
            raise UnreadableArrival(
                "file:tooLarge",
                f"{chunk.where}: a page unpacks to {page.unpacked_bytes:,} bytes, and there is room for "
                f"{room_bytes:,}. Raise spec.resources.memory, or write smaller pages",
            )
        if page.kind == _DICTIONARY:
            entry_bytes = page.unpacked_bytes // max(page.values, 1)
            continue
        values += page.values
        if page.rows is None:
            counted = False
        else:
            rows += page.rows
        each = max(width, entry_bytes) if page.coded else width
        size += max(page.unpacked_bytes, page.values * each)
    if values != chunk.values:
        raise _miscounted(chunk, f"the footer counts {chunk.values:,} values", f"its pages hold {values:,}")
    if counted and rows != group.rows:
        raise _miscounted(chunk, f"the footer counts {group.rows:,} rows", f"its pages hold {rows:,}")
    return size


def _pages(chunk: Chunk, read_at: ReadAt) -> Iterator[_Page]:
    """The pages between the beginning and the end of the chunk, those that the footer does not count too."""
    at, values = chunk.start, 0
    while at < chunk.end:
        page = _page(read_at, at, chunk.end)
        if page is None and values < chunk.values:
            # Some writers leave the header of the dictionary out of the chunk's size (PARQUET-816).
            page = _page(read_at, at, chunk.end + _HEADER_BYTES)
            if page is None:
                raise UnreadableArrival("file:corrupt", f"{chunk.where}: no page begins at byte {at:,}")
        if page is None:
            return  # what follows the last page is none
        at += page.header_bytes + page.packed_bytes
        if page.kind in _BODIES:
            values += page.values if page.kind != _DICTIONARY else 0
            yield page


def _page(read_at: ReadAt, at: int, end: int) -> _Page | None:
    """The page whose header begins here, and which ends before ``end``; None if there is none."""
    size = _HEADER_BYTES
    while True:
        data = read_at(at, min(size, end - at))
        try:
            header, length = read_struct(data)
            break
        except IndexError:
            if len(data) < size:
                return None
            size *= 16
        except ValueError:
            return None
    kind = header.get(1)
    body = header.get(_BODIES.get(kind, 0), {1: 0})
    sizes = [header.get(2), header.get(3), body.get(1) if isinstance(body, dict) else None]
    numbers = [number for number in sizes if isinstance(number, int) and number >= 0]
    if len(numbers) < len(sizes) or at + length + numbers[1] > end:
        return None
    return _Page(
        kind=kind,
        values=numbers[2],
        rows=body.get(3) if kind == _DATA_2 else None,
        packed_bytes=numbers[1],
        unpacked_bytes=numbers[0],
        header_bytes=length,
        coded=body.get(4 if kind == _DATA_2 else 2) in _DICTIONARY_CODED,
    )


def _miscounted(chunk: Chunk, wanted: str, got: str) -> UnreadableArrival:
    return UnreadableArrival("file:corrupt", f"{chunk.where}: {wanted} and {got}")
