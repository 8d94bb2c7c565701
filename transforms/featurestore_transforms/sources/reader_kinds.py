"""Which reader the arrivals of a source need: the one place of the engine that knows all kinds of sources."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from featurestore.arrivals.arrival import Arrival
from featurestore.resources.data_pipeline import Source
from featurestore_transforms.sources.formats import open_file
from featurestore_transforms.sources.reader import ArrivalReader


class ReaderKind(NamedTuple):
    """``serves``: whether a spec is of this kind. ``open``: makes a reader of one of its arrivals,
    given the memory in bytes that a run may take."""

    serves: Callable[[Source], bool]
    open: Callable[[Arrival, Source, int], ArrivalReader]


READER_KINDS = (ReaderKind(lambda source: True, open_file),)
"""The first that serves is taken."""


def open_reader(arrival: Arrival, source: Source, memory_bytes: int) -> ArrivalReader:
    """A reader of the arrival's rows. ``memory_bytes``: what a run may take.

    Raises:
        UnreadableFile: it is gone, was changed, is empty, or is not what the source says.
        StorageError: storage did not answer.
    """
    kind = next(kind for kind in READER_KINDS if kind.serves(source))
    return kind.open(arrival, source, memory_bytes)
