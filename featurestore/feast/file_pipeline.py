"""Pipelines of the files that Feast reads in place."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from featurestore.feast.feature_types import of_arrow
from featurestore.feast.remark import LeftOut, Remarks
from featurestore.feast.repository import FeastSource
from featurestore.feast.resource_draft import ResourceDraft, draft
from featurestore.feast.resource_names import ResourceNames
from featurestore.resources.value import ColumnType

NO_ENTITY = "everything"
"""Join key of views without an entity, and the name of what they are of."""
NO_ENTITY_VALUE = "all"
"""What each of their rows has there, and what requests give."""


@dataclass
class FilePipeline:
    """The pipeline of a ``FileSource``. ``without_entity``: a view of its dataset has no entity."""

    name: str
    source: FeastSource
    without_entity: bool = False

    def column(self, name: str) -> str:
        """The name in the dataset of a column of the files."""
        return self.source.mapping.get(name, name)

    @cached_property
    def held(self) -> dict[str, str]:
        """Columns of the dataset, with the Arrow types that files have them in; none if files could not be read."""
        return {self.column(name): arrow for name, arrow in self.source.columns}

    def type_of(self, column: str) -> ColumnType | None:
        """The type of a column of the dataset; None if it is not known, or nothing here has it."""
        return of_arrow(self.held.get(column, ""))

    @property
    def timestamp(self) -> str:
        """The column with the event time.

        Raises:
            LeftOut: none is named, and there is none or more than one that it can be.
        """
        if self.source.timestamp_field:
            return self.column(self.source.timestamp_field)
        times = [
            column
            for column in self.held
            if self.type_of(column) is ColumnType.TIMESTAMP and column != self.created
        ]
        if len(times) == 1:
            return times[0]
        why = self.source.unreadable or f"columns of times: {', '.join(times) or 'none'}"
        raise LeftOut(f"its source names no timestamp_field, and the files do not tell it ({why})")

    @property
    def created(self) -> str:
        return self.column(self.source.created)

    def uri(self, folder: Path) -> str:
        """Where the files are: relative if they are in ``folder``, the project."""
        path = self.source.path
        if self.source.local and Path(path).is_relative_to(folder):
            path = str(Path(path).relative_to(folder))
        # What a bucket has there is not known: a name without an ending is a folder's.
        bare = not self.source.local and not PurePosixPath(path).suffix and "*" not in path
        return f"{path.rstrip('/')}/**/*.parquet" if self.source.is_folder or bare else path

    def document(self, folder: Path, remarks: Remarks) -> ResourceDraft:
        steps: list[ResourceDraft] = []
        renamed = {
            old: new
            for old, new in self.source.mapping.items()
            if old != new and (not self.held or any(old == name for name, _ in self.source.columns))
        }
        if renamed:
            steps.append({"rename": {"columns": renamed}})
        if self.without_entity:
            steps.append({"derive": {"columns": {NO_ENTITY: f"'{NO_ENTITY_VALUE}'"}}})
        # Feast's users write a file anew: what it holds now is what counts.
        source = {"uri": self.uri(folder), "format": "Parquet", "onOverwrite": "Replace"}
        spec: ResourceDraft = {"source": source, "transforms": steps} if steps else {"source": source}
        return draft("DataPipeline", self.name, spec, self.source, self.source.kind, remarks)


class FilePipelines:
    """The pipelines that views need: sources that differ in nothing that matters share one."""

    def __init__(self) -> None:
        self._names = ResourceNames()
        self._found: dict[tuple[Any, ...], FilePipeline] = {}

    def of(self, source: FeastSource) -> FilePipeline:
        mapping = tuple(sorted(source.mapping.items()))
        key = source.path, mapping, source.timestamp_field, source.created
        if key not in self._found:
            self._found[key] = FilePipeline(self._names.new(_plain_name(source)), source)
        return self._found[key]

    def __iter__(self) -> Any:
        return iter(self._found.values())


def _plain_name(source: FeastSource) -> str:
    """Its name or, where that is its path, the last part of it."""
    path = PurePosixPath(source.name.rstrip("/"))
    return path.stem if len(path.parts) > 1 or path.suffix == ".parquet" else source.name


def outermost(folders: list[str]) -> tuple[str, ...]:
    """Those that are in no other of them, each once.

    >>> outermost(["/a/b", "/a", "/c", "/a"])
    ('/a', '/c')
    """
    paths = dict.fromkeys(map(Path, folders))
    return tuple(
        str(path) for path in paths if not any(path != one and path.is_relative_to(one) for one in paths)
    )


def folder_of(source: FeastSource) -> str:
    """The local folder that its files are in."""
    return source.path if source.is_folder else os.path.dirname(source.path)
