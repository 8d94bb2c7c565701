"""The generations of a build in the embedded store, and which is the newest: readable without a data engine.

    online/<view>/<digest>/00000007.json               the seventh generation: version, entities, its files
    online/<view>/<digest>/00000005-<uuid>.duckdb      its base: keys and sections of all entities, as of the fifth
    online/<view>/<digest>/00000007-<uuid>.duckdb      a delta: the same, of the entities that changed since

What is kept of an entity stands whole in the last file that has its key. A file is written first and named by the next
number's pointer then, which is put if absent: of two who began at the same generation one is first, and the other
begins again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

from featurestore.digest import canonical_json
from featurestore.storage import paths
from featurestore.storage.objects import Storage

LAYOUT = 2
"""Grows with every change that older readers would misread."""
KEPT = 3
"""Generations that stay: a reader may have looked up the one before just now."""

_POINTER = re.compile(r"(\d{8,})\.json")
_FILE = re.compile(r"(\d{8,})-[0-9a-f]{32}\.duckdb")


class DatabaseFile(NamedTuple):
    """The name of a DuckDB file, and of how many entities it has something."""

    name: str
    entities: int


@dataclass(frozen=True, slots=True)
class Generation:
    """``number``: 1, 2, 3 …; ``version``: of the view's table; ``files``: the base, then deltas, the newest last."""

    number: int
    version: int
    entities: int
    files: tuple[DatabaseFile, ...]

    def pointer(self) -> bytes:
        return canonical_json(
            {
                "layout": LAYOUT,
                "version": self.version,
                "entities": self.entities,
                "files": [{"name": file.name, "entities": file.entities} for file in self.files],
            }
        )


@dataclass(frozen=True, slots=True)
class GenerationIndex:
    """The generations of one build, as they were listed.

    ``last``: the greatest number that is taken; 0 if none. ``newest``: its generation, None if there is none
    that can be read: of another layout, or its file is gone.
    """

    storage: Storage
    folder: str
    last: int
    newest: Generation | None

    @classmethod
    def list(cls, storage: Storage, folder: str) -> GenerationIndex:
        """Raises StorageError if storage does not answer."""
        names = set(storage.names(folder))
        last = max((int(pointer[1]) for name in names if (pointer := _POINTER.fullmatch(name))), default=0)
        return cls(storage, folder, last, _find(storage, folder, last, names) if last else None)

    def publish(self, generation: Generation) -> bool:
        """True if this generation is the newest from now on; False if another was first."""
        if not self.storage.put_if_absent(pointer_path(self.folder, generation.number), generation.pointer()):
            return False
        self._remove_before(generation.number - KEPT + 1)
        return True

    def forget_earlier(self) -> None:
        """Remove all generations but the newest, and files that no pointer names."""
        if self.newest is None:
            return
        self._remove_before(self.newest.number)
        self._remove_files(self.newest.number + 1, (self.newest,))

    def _remove_before(self, oldest: int) -> None:
        """Remove what no reader looks for any more, and the files of those who were not first or were killed."""
        names = self.storage.names(self.folder)
        numbers = {int(pointer[1]) for name in names if (pointer := _POINTER.fullmatch(name))}
        for number in numbers:
            if number < oldest:
                self.storage.delete(pointer_path(self.folder, number))
        kept = [_read(self.storage, self.folder, number) for number in numbers if number >= oldest]
        self._remove_files(oldest, [generation for generation in kept if generation is not None])

    def _remove_files(self, before: int, kept: Collection[Generation]) -> None:
        """Remove files with lesser numbers that none of these generations has."""
        named = {file.name for generation in kept for file in generation.files}
        for name in self.storage.names(self.folder):
            file = _FILE.fullmatch(name)
            if file and int(file[1]) < before and name not in named:
                self.storage.delete(f"{self.folder}/{name}")


def pointer_path(folder: str, number: int) -> str:
    return f"{folder}/{number:08d}.json"


def folder_of(view: str, digest: str) -> str:
    """Where the generations of a build are."""
    return f"{paths.online(view)}/{digest}"


def _find(storage: Storage, folder: str, number: int, names: Collection[str]) -> Generation | None:
    generation = _read(storage, folder, number)
    return (
        generation
        if generation is not None and all(file.name in names for file in generation.files)
        else None
    )


def _read(storage: Storage, folder: str, number: int) -> Generation | None:
    data = storage.find(pointer_path(folder, number))
    if data is None:
        return None
    try:
        value = json.loads(data)
        if value["layout"] != LAYOUT:
            return None
        files = tuple(DatabaseFile(file["name"], int(file["entities"])) for file in value["files"])
        generation = Generation(number, int(value["version"]), int(value["entities"]), files)
    except (ValueError, KeyError, TypeError):
        return None  # damaged: the next publication writes a generation after it
    return generation if files and all(_FILE.fullmatch(file.name) for file in files) else None
