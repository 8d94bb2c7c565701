"""Reading from the embedded store: from the newest generation, which is looked for at every read.

In object storage it is looked for at most once a second. Readers never see half of a generation.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from functools import reduce
from threading import Thread

from featurestore.errors import NotFound, StorageError
from featurestore.online.duckdb.generations import KEPT, Generation, GenerationIndex, pointer_path
from featurestore.online.duckdb.layers import load, over
from featurestore.online.duckdb.loaded import LoadedGeneration
from featurestore.online.duckdb.shared import SharedGenerations
from featurestore.online.layout import Form
from featurestore.online.reading import Keys, OnlineQuery, OnlineValues
from featurestore.storage.objects import Storage

_REMOTE_AGE_S = 1.0
"""How long readers trust what they saw in object storage, where each look takes a round trip."""
_LOADED_AT_ONCE = 50_000
"""Entities of a generation that a read loads by itself, which takes some hundredths of a second."""


class NewestGeneration:
    """The newest generation of one build, in memory. ``clock``: seconds since any fixed moment.

    A large one is loaded beside the one before, which answers until then: no read waits for it.
    """

    def __init__(self, storage: Storage, folder: str, form: Form, clock: Callable[[], float]) -> None:
        self._storage, self._folder, self._form, self._clock = storage, folder, form, clock
        self._loaded: LoadedGeneration | None = None
        self._looked_s = 0.0
        self._own: tuple[str, ...] = ()
        self._following = ""
        self._loading: Thread | None = None
        self._failure: StorageError | None = None

    @property
    def is_at_hand(self) -> bool:
        """Whether :meth:`get` answers from memory."""
        return self._loaded is not None and (self._is_loading or self._is_newest(self._clock()))

    def get(self) -> LoadedGeneration:
        """The newest one, or the one before while the newest is loaded.

        Raises:
            StorageError: there is none, or it cannot be loaded.
        """
        now_s = self._clock()
        loaded = self._loaded
        if loaded is not None and (self._is_newest(now_s) or self._is_loading):
            return loaded
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure
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
            if loaded is not None and newest != loaded.generation and newest.entities > _LOADED_AT_ONCE:
                self._loading = Thread(target=self._load_beside, args=(newest, loaded, now_s), daemon=True)
                self._loading.start()
                return loaded
            try:
                loaded = self._load(newest, loaded)
            except NotFound:
                continue  # so many newer ones came meanwhile that it is gone
            self._keep(loaded, now_s)
            return loaded
        self._loaded = None
        raise StorageError(
            "the online store does not hold this view",
            where=self._storage.uri(self._folder),
            hint="`featurestore run` publishes it from the offline store",
        )

    @property
    def _is_loading(self) -> bool:
        return self._loading is not None and self._loading.is_alive()

    def _load(self, newest: Generation, loaded: LoadedGeneration | None) -> LoadedGeneration:
        """``loaded``: what is in memory, of which files that stay are not read again."""
        files = newest.files
        if loaded is not None and files == loaded.generation.files:
            return loaded.renamed(newest)

        def from_files() -> LoadedGeneration:
            held = () if loaded is None else loaded.generation.files
            if loaded is not None and files[: len(held)] == held:
                above = load(self._storage, self._folder, files[len(held) :], self._form)
                return LoadedGeneration(newest, reduce(over, above, loaded.stored))
            return LoadedGeneration(
                newest, reduce(over, load(self._storage, self._folder, files, self._form))
            )

        shared = SharedGenerations.of_process()
        if shared is None:
            return from_files()
        return shared.get(self._storage.uri(self._folder), newest, self._form, from_files)

    def _load_beside(self, newest: Generation, loaded: LoadedGeneration, now_s: float) -> None:
        try:
            self._keep(self._load(newest, loaded), now_s)
        except NotFound:
            pass  # whoever reads next looks for a newer one
        except StorageError as error:
            self._failure = error

    def _keep(self, loaded: LoadedGeneration, now_s: float) -> None:
        generation = loaded.generation
        # What is old is removed, so a store that was lost, or moved on by many, is noticed by what was its own.
        names = pointer_path(self._folder, generation.number), f"{self._folder}/{generation.files[-1].name}"
        self._own = tuple(map(self._storage.uri, names))
        self._following = self._storage.uri(pointer_path(self._folder, generation.number + 1))
        self._looked_s, self._loaded = now_s, loaded

    def _is_newest(self, now_s: float) -> bool:
        if not self._storage.is_local:
            return now_s - self._looked_s < _REMOTE_AGE_S
        return all(map(os.path.exists, self._own)) and not os.path.exists(self._following)


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
