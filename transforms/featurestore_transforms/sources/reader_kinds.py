"""Which reader the arrivals of a source need: the one place of the engine that knows all kinds of sources."""

from __future__ import annotations

from collections.abc import Callable

from featurestore.arrivals.arrival import Arrival
from featurestore.resources.data_pipeline import Source
from featurestore_transforms.sources.formats import open_file
from featurestore_transforms.sources.reader import ArrivalReader

READER_KINDS: dict[str, Callable[[Arrival, Source], ArrivalReader]] = {}
"""Scheme of a source's URI to what opens its arrivals. All other schemes are files."""


def open_reader(arrival: Arrival, source: Source) -> ArrivalReader:
    """A reader of the arrival's rows.

    Raises:
        UnreadableFile: it is gone, was changed, is empty, or is not what the source says.
        StorageError: storage did not answer.
    """
    scheme, separator, _ = source.uri.partition("://")
    opened = READER_KINDS.get(scheme, open_file) if separator else open_file
    return opened(arrival, source)
