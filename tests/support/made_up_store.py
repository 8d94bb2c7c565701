"""A third online store, in the memory of this process: what ``index.py`` and ``store.py`` of its room would be."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from featurestore.errors import Conflict, StorageError
from featurestore.online.answer import answer
from featurestore.online.backends import Inspection, OnlineStore
from featurestore.online.entities import Stored
from featurestore.online.entity_keys import KeyIndex
from featurestore.online.index import OnlineIndex
from featurestore.online.layout import Form
from featurestore.online.publication import Publication
from featurestore.online.reading import Keys, OnlineQuery, OnlineReader, OnlineValues, array_values
from featurestore.online.versions import OnlineVersion
from featurestore.resources.feature_store import FeatureStoreSpec, Offline, Online
from featurestore.resources.model import Model
from featurestore.resources.rule import exactly_one
from featurestore.storage.objects import Storage

Builds = dict[tuple[str, str], tuple[int, Stored]]
"""View and digest to the version of the view's table, and the values."""


class Memory(Model):
    """The field of the spec."""

    @property
    def opened(self) -> tuple[str, ...]:
        return ()


class OnlineWithMemory(Online):
    """``spec.online`` with one field more, as an edit of ``feature_store.py`` would have it."""

    memory: Memory | None = None
    rules = (exactly_one("duckdb", "redis", "memory"),)


def spec_with_memory(root: str) -> FeatureStoreSpec:
    online = OnlineWithMemory(memory=Memory())
    return FeatureStoreSpec(offline=Offline(uri=root)).model_copy(update={"online": online})


def register(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the room ``featurestore/online/memory`` until the test ends."""
    for name in ("memory", "memory.index", "memory.store"):
        monkeypatch.setitem(sys.modules, f"featurestore.online.{name}", sys.modules[__name__])
    BUILDS.clear()


BUILDS: Builds = {}


class MemoryIndex:
    address = "memory"

    def version(self, view: str, digest: str) -> OnlineVersion | None:
        held = BUILDS.get((view, digest))
        return None if held is None else OnlineVersion(held[0], len(held[1]))

    def delete(self, view: str, digest: str) -> None:
        BUILDS.pop((view, digest), None)

    def forget_earlier(self, view: str, digest: str) -> None:
        """Nothing but the newest version is kept."""

    def instance_id(self) -> str:
        return str(id(BUILDS))


class MemoryStore:
    index = MemoryIndex()

    def reader(
        self, queries: Sequence[OnlineQuery], timeout_s: float | None = None, *, allow_stale: bool = False
    ) -> OnlineReader:
        return MemoryReader(queries)

    def publication(
        self, view: str, digest: str, form: Form, to_version: int, memory_bytes: int
    ) -> Publication:
        return MemoryPublication((view, digest), form, to_version, BUILDS.get((view, digest)))

    def immediate(
        self, view: str, digest: str, form: Form, *, has_created: bool = False, timeout_s: float | None = None
    ) -> None:
        """It has what is published."""

    def stored(self, view: str, digest: str, form: Form, keys: pa.Array) -> tuple[int, Stored] | None:
        held = BUILDS.get((view, digest))
        if held is None:
            return None
        return held[0], held[1].take(np.flatnonzero(KeyIndex.of(keys).find(held[1].keys) >= 0))

    def inspect(self, view: str, digest: str, form: Form) -> Inspection:
        held = self.index.version(view, digest)
        return Inspection(held is not None, "in memory")


@dataclass
class MemoryReader:
    queries: Sequence[OnlineQuery]

    def read(self, keys: Sequence[Keys], now_us: int) -> list[OnlineValues]:
        return [self._read(query, wanted, now_us) for query, wanted in zip(self.queries, keys, strict=True)]

    async def read_async(self, keys: Sequence[Keys], now_us: int) -> list[OnlineValues]:
        return self.read(keys, now_us)

    async def aclose(self) -> None:
        pass

    def _read(self, query: OnlineQuery, keys: Keys, now_us: int) -> OnlineValues:
        if (query.view, query.digest) not in BUILDS:
            raise StorageError("the online store does not hold this view", where=query.view)
        version, stored = BUILDS[query.view, query.digest]
        place = KeyIndex.of(stored.keys).find(pa.array(keys, pa.binary()))
        return array_values(query, answer(query, stored, place, now_us), version)


@dataclass
class MemoryPublication:
    build: tuple[str, str]
    form: Form
    version: int
    before: tuple[int, Stored] | None
    parts: list[Stored] = field(default_factory=list)
    removed: list[pa.Array] = field(default_factory=list)
    is_anew: bool = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is kept beside."""

    @property
    def bases(self) -> tuple[int, ...] | None:
        return None if self.before is None else (self.before[0],)

    def fetch(self, keys: pa.Array) -> Stored:
        if self.before is None:
            return Stored.empty(self.form)
        return self.before[1].take(np.flatnonzero(KeyIndex.of(keys).find(self.before[1].keys) >= 0))

    def put(self, stored: Stored) -> None:
        self.parts.append(stored)

    def replace(self, stored: Stored) -> None:
        self.put(stored)

    def begin_anew(self) -> None:
        self.is_anew = True
        self.parts.clear()

    def remove(self, keys: pa.Array) -> None:
        self.removed.append(keys)

    def finish(self) -> OnlineVersion:
        if BUILDS.get(self.build) is not self.before:
            raise Conflict("another publication was first", where=str(self.build))
        parts = [Stored.empty(self.form), *self.parts]
        if self.before is not None and not self.is_anew:
            old = self.before[1]
            gone = pa.concat_arrays([*(part.keys for part in parts), *self.removed])
            stays = pc.invert(pc.is_in(old.keys, value_set=gone)).to_numpy(zero_copy_only=False)
            parts.append(old.take(np.flatnonzero(stays)))
        stored = Stored.joined(parts)
        BUILDS[self.build] = (self.version, stored)
        return OnlineVersion(self.version, len(stored))


def open_index(
    storage: Storage, store: FeatureStoreSpec, environ: Mapping[str, str] | None = None
) -> OnlineIndex:
    return MemoryIndex()


def open_store(storage: Storage, store: FeatureStoreSpec) -> OnlineStore:
    return MemoryStore()
