"""Reading from the embedded store: from the newest generation, which is looked for at every read.

In object storage it is looked for at most once a second. Readers never see half of a generation.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from threading import Lock, Thread

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
_SETTLED_NS = 100_000_000
"""How long a folder has to rest until another time of change is sure to follow another change: a clock's tick, and much more."""
_LOCAL_AGE_S = 1.0
"""How long a folder's time of change is trusted by itself: where folders are shared, other machines' clocks set it."""
_LOADED_AT_ONCE = 50_000
"""Entities of a generation that a read loads by itself, which takes some hundredths of a second."""


@dataclass(slots=True)
class _InMemory:
    """A generation that was loaded, and by what it is seen that it is the newest.

    ``own``: its pointer and its last file: what is old is removed, so a store that was lost, or moved on by many, is noticed
    by them. ``following``: the pointer after it. ``looked_s``: when the folder was looked at, ``settled_ns``: its time of
    change then, −1 if another change might have the same.
    """

    loaded: LoadedGeneration
    own: tuple[str, ...]
    following: str
    looked_s: float
    settled_ns: int = -1


class NewestGeneration:
    """The newest generation of one build, in memory. ``clock``: seconds since any fixed moment.

    One thread loads it, for all that wait. A large one is loaded beside the one before, which answers until then: no
    read waits for it.
    """

    def __init__(self, storage: Storage, folder: str, form: Form, clock: Callable[[], float]) -> None:
        self._storage, self._folder, self._form, self._clock = storage, folder, form, clock
        self._path = storage.uri(folder)
        self._held: _InMemory | None = None
        self._loading: Thread | None = None
        self._failure: StorageError | None = None
        self._pid, self._turn = os.getpid(), Lock()

    def at_hand(self) -> LoadedGeneration | None:
        """What :meth:`get` answers, if it is in memory."""
        held = self._held
        if held is not None and (self._is_newest(held, self._clock()) or self._is_loading):
            return held.loaded
        return None

    def get(self) -> LoadedGeneration:
        """The newest one, or the one before while the newest is loaded.

        Raises:
            StorageError: there is none, or it cannot be loaded.
        """
        at_hand = self.at_hand()
        if at_hand is not None:
            return at_hand
        if self._pid != os.getpid():  # Whoever had the turn when this process was forked is not in it.
            self._pid, self._turn = os.getpid(), Lock()
        held = self._held
        if held is None or self._storage.is_local:
            self._turn.acquire()
        elif not self._turn.acquire(blocking=False):
            # A look at object storage takes a round trip, or the time in which it does not answer: one read waits for that.
            return held.loaded
        try:
            return self.at_hand() or self._look()
        finally:
            self._turn.release()

    def _look(self) -> LoadedGeneration:
        now_s, held = self._clock(), self._held
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure
        loaded = None if held is None else held.loaded
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
        else:
            if held is not None:
                return held.loaded  # it is whole, and as new as what this process can load
            raise StorageError(
                "newer generations come faster than one is loaded",
                where=self._storage.uri(self._folder),
                hint="Read again",
            )
        self._held = None
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
        names = pointer_path(self._folder, generation.number), f"{self._folder}/{generation.files[-1].name}"
        following = self._storage.uri(pointer_path(self._folder, generation.number + 1))
        self._held = _InMemory(loaded, tuple(map(self._storage.uri, names)), following, now_s)

    def _is_newest(self, held: _InMemory, now_s: float) -> bool:
        if not self._storage.is_local:
            return now_s - held.looked_s < _REMOTE_AGE_S
        try:
            changed_ns = os.stat(self._path).st_mtime_ns
        except OSError:
            return False
        if changed_ns == held.settled_ns and now_s - held.looked_s < _LOCAL_AGE_S:
            return True
        if os.path.exists(held.following) or not all(map(os.path.exists, held.own)):
            return False
        if changed_ns < time.time_ns() - _SETTLED_NS:
            held.looked_s, held.settled_ns = now_s, changed_ns
        return True


class EmbeddedReader:
    """See :class:`featurestore.online.reading.OnlineReader`."""

    def __init__(self, views: Sequence[tuple[OnlineQuery, NewestGeneration]]) -> None:
        # A view that is read by several keys is read from one generation.
        self._newest = list(dict.fromkeys(newest for _, newest in views))
        self._queries = [(query, self._newest.index(newest)) for query, newest in views]

    def read(self, keys: Sequence[Keys], now_us: int) -> list[OnlineValues]:
        return self._read([newest.get() for newest in self._newest], keys, now_us)

    async def read_async(self, keys: Sequence[Keys], now_us: int) -> list[OnlineValues]:
        loaded = [at_hand for newest in self._newest if (at_hand := newest.at_hand()) is not None]
        if len(loaded) < len(self._newest):
            return await asyncio.to_thread(self.read, keys, now_us)
        return self._read(loaded, keys, now_us)

    def _read(self, loaded: list[LoadedGeneration], keys: Sequence[Keys], now_us: int) -> list[OnlineValues]:
        return [
            loaded[place].read(query, wanted, now_us)
            for (query, place), wanted in zip(self._queries, keys, strict=True)
        ]

    async def aclose(self) -> None:
        """Nothing is open."""
