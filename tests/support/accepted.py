"""Resources that are accepted without a process of the command line, which loads libraries for a second."""

from __future__ import annotations

from pathlib import Path

from featurestore.registry.project import open_project
from featurestore.resources.document import load


def accept(folder: Path, file: str = "store.yaml") -> None:
    """As ``featurestore apply -f FILE`` in that folder does for a file in which all is right."""
    loaded = load([folder / file])
    loaded.check()
    registry = open_project(folder, {}, folder).registry
    for resource in loaded.resources:
        registry.accept(resource)
