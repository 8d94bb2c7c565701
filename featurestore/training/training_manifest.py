"""The manifest of a version of a training set: its shards, and all that they were made of.

Nothing in it is of the time, the place or the process that made it: the same digest has the same manifest, byte by byte.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Any

from pydantic import Field

from featurestore.digest import canonical_json, digest
from featurestore.profiles.column_statistics import ColumnStatistics
from featurestore.resources.model import Model

FORMAT = 1
"""Of the files of a version: order, row groups, encodings. Another one is another digest."""
ROW_GROUP_ROWS = 65_536


class ColumnRole(StrEnum):
    KEY = "Key"
    REQUEST = "Request"
    TIME = "Time"
    LABEL = "Label"
    FEATURE = "Feature"


class TrainingColumn(Model):
    """A column of every shard, in their order.

    ``type``: as pyarrow writes it, such as ``int64`` or ``timestamp[us, tz=UTC]``. ``feature``: ``view:feature``, if it
    is one.
    """

    name: str
    type: str
    role: ColumnRole
    feature: str = ""


class TrainingShard(Model):
    """A Parquet file. ``path``: below the folder of the version. ``row_groups``: rows of each."""

    path: str
    rows: int
    size_bytes: int
    sha256: str
    row_groups: tuple[int, ...]


class TrainingPart(Model):
    """A part of the split, ``all`` without one. ``earliest_us`` and ``latest_us``: of the labels' times.

    ``rows_without_features``: rows in which no feature has a value.
    """

    name: str
    rows: int
    size_bytes: int
    shards: tuple[TrainingShard, ...]
    earliest_us: int | None = None
    latest_us: int | None = None
    rows_without_features: int = 0
    statistics: dict[str, ColumnStatistics] = Field(default_factory=dict)


class PinnedView(Model):
    """``digest``: of the build, ``version``: of its table, ``commit``: of its dataset that it holds, ``spec``: of the view."""

    name: str
    digest: str
    version: int
    commit: int
    spec: str


class PinnedDefinition(Model):
    """A view on demand or a service, as the resource of this digest describes it."""

    name: str
    spec: str


class PinnedFile(Model):
    """A file of labels: its version is an etag, or time and size."""

    uri: str
    version: str
    size_bytes: int


class PinnedLabels(Model):
    """A commit of a dataset or of a Delta table, or files. ``uid``: of the dataset or the table."""

    pipeline: str = ""
    uid: str = ""
    uri: str = ""
    version: int | None = None
    files: tuple[PinnedFile, ...] = ()


class Pins(Model):
    """All that decides what the rows of a version are, besides its definition."""

    views: tuple[PinnedView, ...]
    on_demand: tuple[PinnedDefinition, ...] = ()
    service: PinnedDefinition | None = None
    labels: PinnedLabels
    code: dict[str, str]
    """Name of a package to its version."""


class LabelLeak(Model):
    """A feature that is equal to a label in all ``rows`` rows where both have a value."""

    feature: str
    label: str
    rows: int


class TrainingManifest(Model):
    """``digest``: names the version. ``definition``: of all that the spec says about rows. ``spec``: digest of the resource.

    ``erasures``: those that took rows out of it or of what it was made of; it cannot be made again then. ``erased_rows``:
    number of an erasure, and how many rows it took out of it.
    """

    format: int = FORMAT
    name: str
    digest: str
    spec: str
    definition: dict[str, Any]
    pins: Pins
    columns: tuple[TrainingColumn, ...]
    rows: int
    size_bytes: int
    rows_left_out: int = 0
    parts: tuple[TrainingPart, ...]
    leaks: tuple[LabelLeak, ...] = ()
    erasures: tuple[int, ...] = ()
    erased_rows: tuple[tuple[int, int], ...] = ()

    def to_bytes(self) -> bytes:
        """As it is stored."""
        return canonical_json(self.model_dump(mode="json", by_alias=True))

    def classes(self) -> Iterator[tuple[str, str, str, int]]:
        """How often each value of a label occurs that has few: part, label, value and rows."""
        for part in self.parts:
            for label, statistics in part.statistics.items():
                for value, rows in (statistics.values or {}).items():
                    yield part.name, label, value, rows

    def part(self, name: str) -> TrainingPart | None:
        """The part of this name, if there is one."""
        return next((part for part in self.parts if part.name == name), None)


def version_digest(name: str, definition: dict[str, Any], pins: Pins) -> str:
    """Names a version: the same digest gives the same bytes."""
    return digest(
        {
            "format": FORMAT,
            "name": name,
            "definition": definition,
            "pins": pins.model_dump(mode="json", by_alias=True),
        }
    )
