"""The file of an arrival, opened in the format that its pipeline names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from featurestore.arrivals.arrival import Arrival
from featurestore.resources.data_pipeline import Format, Source
from featurestore.resources.location import locate
from featurestore_transforms.sources.arrow_file import ArrowFile
from featurestore_transforms.sources.csv_file import CsvFile
from featurestore_transforms.sources.json_file import JsonFile
from featurestore_transforms.sources.parquet_file import ParquetFile
from featurestore_transforms.sources.path_partitions import path_values
from featurestore_transforms.sources.reader import ArrivalReader, UnreadableFile
from featurestore_transforms.sources.source_file import codec, explaining, require_pinned


def open_reader(arrival: Arrival, source: Source, memory_bytes: int, base: str) -> ArrivalReader:
    """See :func:`featurestore_transforms.sources.reader.open_reader`. Nothing but the outside of the file is looked at.

    Raises:
        UnreadableFile: the file is gone, was changed, is empty, or has another format.
        StorageError: storage did not answer.
    """
    arrival = replace(arrival, uri=locate(arrival.uri, base))
    require_pinned(arrival)
    if arrival.size_bytes == 0:
        raise UnreadableFile("file:empty", "the file has no bytes")
    packed = codec(arrival.uri, source.compression)
    openers: dict[Format, Callable[[], ParquetFile | ArrowFile | CsvFile | JsonFile]] = {
        Format.PARQUET: lambda: ParquetFile(arrival, memory_bytes),
        Format.ARROW: lambda: ArrowFile(arrival, memory_bytes),
        Format.CSV: lambda: CsvFile(arrival, source.csv, packed),
        Format.JSON: lambda: JsonFile(arrival, source.json_, packed),
    }
    partitions = path_values(arrival.uri, source.partitions)
    with explaining(arrival):
        file = openers[source.format]()
    file.partitions = partitions
    return file
