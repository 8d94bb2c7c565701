"""The file of an arrival, opened in the format that its pipeline names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from featurestore.arrivals.arrival import Arrival
from featurestore.resources.data_pipeline import Compression, Format, Source
from featurestore.resources.location import locate
from featurestore.resources.text_format import Layout
from featurestore_transforms.sources.arrow_file import ArrowFile
from featurestore_transforms.sources.csv_file import CsvFile
from featurestore_transforms.sources.json_file import JsonFile
from featurestore_transforms.sources.parquet_file import ParquetFile
from featurestore_transforms.sources.path_partitions import path_columns, path_values
from featurestore_transforms.sources.reader import ArrivalReader, UnreadableArrival
from featurestore_transforms.sources.source_file import codec, explaining, open_stream, require_pinned
from featurestore_transforms.sources.stream import limit

_MOST_TEXT_BYTES = 4 << 20
_MOST_BYTES = 64 << 20
"""Of a file that is tried as a whole. The rows of Parquet and Arrow are read without those after them."""


def open_reader(arrival: Arrival, source: Source, memory_bytes: int, base: str) -> ArrivalReader:
    """See :func:`featurestore_transforms.sources.reader.open_reader`. Nothing but the outside of the file is looked at.

    Raises:
        UnreadableArrival: the file is gone, was changed, is empty, or has another format.
        StorageError: storage did not answer.
    """
    arrival = replace(arrival, uri=locate(arrival.uri, base))
    require_pinned(arrival)
    if arrival.size_bytes == 0:
        raise UnreadableArrival("file:empty", "the file has no bytes")
    packed = codec(arrival.uri, source.compression)
    openers: dict[Format, Callable[[], ParquetFile | ArrowFile | CsvFile | JsonFile]] = {
        Format.PARQUET: lambda: ParquetFile(arrival, memory_bytes),
        Format.ARROW: lambda: ArrowFile(arrival, memory_bytes),
        Format.CSV: lambda: CsvFile(arrival, source.csv, packed),
        Format.JSON: lambda: JsonFile(arrival, source.json_, packed),
    }
    partitions = path_values(arrival.uri, source.partitions)
    with explaining(arrival):
        file = openers[source.format or Format.PARQUET]()
    file.partitions = partitions
    return file


def open_head(
    arrival: Arrival, source: Source, memory_bytes: int, base: str, scratch: Path
) -> tuple[ArrivalReader, bool]:
    """See :func:`featurestore_transforms.sources.reader.open_head`.

    Raises:
        UnreadableArrival: as :func:`open_reader`; or a JSON array that is too long to be tried.
        StorageError: storage did not answer.
    """
    if source.format in (Format.CSV, Format.JSON):
        return _text_head(arrival, source, memory_bytes, base, scratch)
    reader = open_reader(arrival, source, memory_bytes, base)
    if arrival.size_bytes <= _MOST_BYTES:
        return reader, True
    limit(reader.stream)
    return reader, False


def unused_path_columns(arrival: Arrival, source: Source) -> tuple[str, ...]:
    """See :func:`featurestore_transforms.sources.reader.unused_path_columns`."""
    taken = {partition.name for partition in source.partitions}
    return tuple(name for name in path_columns(arrival.uri) if name not in taken)


def _text_head(
    arrival: Arrival, source: Source, memory_bytes: int, base: str, scratch: Path
) -> tuple[ArrivalReader, bool]:
    here = replace(arrival, uri=locate(arrival.uri, base))
    packed = codec(here.uri, source.compression)
    if packed is None and here.size_bytes <= _MOST_TEXT_BYTES:
        return open_reader(arrival, source, memory_bytes, base), True
    require_pinned(here)
    with explaining(here), open_stream(here, packed) as stream:
        data = stream.read(_MOST_TEXT_BYTES + 1)
    if len(data) <= _MOST_TEXT_BYTES:
        return open_reader(arrival, source, memory_bytes, base), True
    if source.format is Format.JSON and source.json_.layout is Layout.ARRAY:
        raise UnreadableArrival(
            "file:large", f"a JSON array of more than {_MOST_TEXT_BYTES >> 20} MiB cannot be tried"
        )
    head = scratch / "head"
    # The last line may be cut, and a value in quotes may hold an end of line: what comes before is whole rows.
    head.write_bytes(data[: data.rfind(b"\n") + 1])
    status = head.stat()
    size = status.st_size
    cut = Arrival(str(head), f"{status.st_mtime_ns}-{size}", size, arrival.modified_us)
    plain = source.model_copy(update={"compression": Compression.NONE, "partitions": ()})
    reader = open_reader(cut, plain, memory_bytes, base)
    reader.partitions = path_values(here.uri, source.partitions)
    return reader, False
