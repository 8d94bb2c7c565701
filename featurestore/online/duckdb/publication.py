"""Publishing to the embedded store: what stays and what changes are written as one new generation."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from featurestore.errors import Conflict, NotFound, StorageError
from featurestore.failpoint import hit
from featurestore.online.duckdb.generation_file import add, load
from featurestore.online.duckdb.generations import GenerationIndex
from featurestore.online.entities import Stored
from featurestore.online.entity_keys import KeyIndex
from featurestore.online.layout import Form
from featurestore.online.versions import OnlineVersion


@dataclass(slots=True)
class DuckDBPublication:
    """Collects what changes, and writes it with the rest as one new generation at the end."""

    _shelf: GenerationIndex
    _form: Form
    _version: int
    _old: Stored | None
    _put: list[Stored] = field(default_factory=list)
    _removed: list[pa.Array] = field(default_factory=list)

    @classmethod
    def begin(cls, shelf: GenerationIndex, form: Form, to_version: int) -> DuckDBPublication:
        """A publication that writes the generation after the newest one."""
        old = None
        if shelf.newest is not None:
            try:
                old = load(shelf.storage, shelf.folder, shelf.newest, form)
            except (NotFound, StorageError):
                old = None  # lost or damaged: everything is rebuilt
        return cls(shelf, form, to_version, old)

    @property
    def bases(self) -> tuple[int, ...] | None:
        """See :class:`featurestore.online.publication.Publication`."""
        newest = self._shelf.newest
        return None if newest is None or self._old is None else (newest.version,)

    def fetch(self, keys: pa.Array) -> Stored:
        """See :class:`featurestore.online.publication.Publication`."""
        if self._old is None:
            return Stored.empty(self._form)
        place = KeyIndex.of(keys).find(self._old.keys)
        return self._old.take(np.flatnonzero(place >= 0))

    def put(self, stored: Stored) -> None:
        """See :class:`featurestore.online.publication.Publication`."""
        self._put.append(stored)

    def remove(self, keys: pa.Array) -> None:
        """See :class:`featurestore.online.publication.Publication`."""
        self._removed.append(keys)

    def finish(self, *, rebuilt: bool) -> OnlineVersion:
        """See :class:`featurestore.online.publication.Publication`."""
        parts = list(self._put)
        if not rebuilt and self._old is not None:
            gone = pa.concat_arrays([*(part.keys for part in parts), *self._removed, self._old.keys[:0]])
            kept = pc.invert(pc.is_in(self._old.keys, value_set=gone)).to_numpy(zero_copy_only=False)
            parts.append(self._old.take(np.flatnonzero(kept)))
        stored = Stored.joined(parts) if parts else Stored.empty(self._form)
        generation = add(self._shelf, stored, self._version)
        hit("during-publish")
        if not self._shelf.publish(generation):
            raise Conflict("another publication was first", where=self._shelf.storage.uri(self._shelf.folder))
        return OnlineVersion(self._version, len(stored))
