"""Reading from the embedded store: from the newest generation, which is looked for at every read.

In object storage it is looked for at most once a second. Readers never see half of a generation.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence

from featurestore.errors import NotFound, StorageError
from featurestore.online.duckdb.generation_file import load
from featurestore.online.duckdb.generations import KEPT, GenerationIndex, pointer_path
from featurestore.online.duckdb.loaded import LoadedGeneration
from featurestore.online.layout import Form
from featurestore.online.reading import Keys, OnlineQuery, OnlineValues
from featurestore.storage.objects import Storage

_REMOTE_AGE_S = 1.0
"""How long readers trust what they saw in object storage, where each look takes a round trip."""


class NewestGeneration:
    """The newest generation of one build, in memory. ``clock``: seconds since any fixed moment."""

    def __init__(self, storage: Storage, folder: str, form: Form, clock: Callable[[], float]) -> None:
        self._storage, self._folder, self._form, self._clock = storage, folder, form, clock
        self._loaded: LoadedGeneration | None = None
        self._looked_s = 0.0
        self._own = self._following = ""

    @property
    def is_at_hand(self) -> bool:
        """Whether :meth:`get` answers from memory."""
        return self._loaded is not None and self._is_newest(self._clock())

    def get(self) -> LoadedGeneration:
        """The newest one.

        Raises:
            StorageError: there is none, or the first one cannot be loaded.
        """
        now_s = self._clock()
        loaded = self._loaded
        if loaded is not None and self._is_newest(now_s):
            return loaded
        for _ in range(KEPT):
            try:
                newest = GenerationIndex.list(self._storage, self._folder).newest
            except StorageError:
                if loaded is None:
                    raise
                # No answer does not mean that there is a newer one, or none: the one in memory is whole.
                newest = loaded.generation
            if newest is None:
                break
            if loaded is None or newest != loaded.generation:
                try:
                    stored = load(self._storage, self._folder, newest, self._form)
                except NotFound:
                    continue  # so many newer ones came meanwhile that it is gone
                loaded = LoadedGeneration(newest, stored)
            self._keep(loaded, now_s)
            return loaded
        self._loaded = None
        raise StorageError(
            "the online store does not hold this view",
            where=self._storage.uri(self._folder),
            hint="`featurestore run` publishes it from the offline store",
        )

    def _keep(self, loaded: LoadedGeneration, now_s: float) -> None:
        generation = loaded.generation
        # Old files are removed, so a store that was lost, or moved on by many, is noticed by its own file.
        self._own = self._storage.uri(f"{self._folder}/{generation.file}")
        self._following = self._storage.uri(pointer_path(self._folder, generation.number + 1))
        self._looked_s, self._loaded = now_s, loaded

    def _is_newest(self, now_s: float) -> bool:
        if not self._storage.is_local:
            return now_s - self._looked_s < _REMOTE_AGE_S
        return os.path.exists(self._own) and not os.path.exists(self._following)


class EmbeddedReader:
    """See :class:`featurestore.online.reading.OnlineReader`."""

    def __init__(self, views: Sequence[tuple[OnlineQuery, NewestGeneration]]) -> None:
        self._views = views

    def read(self, keys: Sequence[Keys], now_us: int) -> list[OnlineValues]:
        return [
            newest.get().read(query, wanted, now_us)
            for (query, newest), wanted in zip(self._views, keys, strict=True)
        ]

    async def read_async(self, keys: Sequence[Keys], now_us: int) -> list[OnlineValues]:
        if all(newest.is_at_hand for _, newest in self._views):
            return self.read(keys, now_us)
        return await asyncio.to_thread(self.read, keys, now_us)

    async def aclose(self) -> None:
        """Nothing is open."""
