"""The embedded online store: a generation's columns in memory, read by key; the next one beside it, on storage.

Readers look for the next generation at every read (in object storage at most once a second), load it when it is
whole, and never see half of one. See :mod:`featurestore.online.duckdb.generations` for what stands where.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from featurestore.errors import NotFound, StorageError
from featurestore.online.answer import answer
from featurestore.online.backends import Inspection, OnlineStore, entity_count
from featurestore.online.duckdb.generation_file import load
from featurestore.online.duckdb.generations import (
    KEPT,
    Generation,
    GenerationIndex,
    folder_of,
    pointer_path,
)
from featurestore.online.duckdb.index import EmbeddedIndex
from featurestore.online.duckdb.publication import DuckDBPublication
from featurestore.online.entities import Stored
from featurestore.online.entity_keys import KeyIndex, key_texts
from featurestore.online.layout import Form
from featurestore.resources.feature_store import FeatureStoreSpec
from featurestore.storage.objects import Storage
from featurestore.views.feature_query import FeatureQuery, FeatureValues

_REMOTE_AGE_S = 1.0
"""How long readers trust what they saw in object storage, where each look takes a round trip."""


@dataclass(slots=True)
class _Loaded:
    """A generation in memory. ``looked_s``: when the next one was last looked for."""

    generation: Generation
    form: Form
    stored: Stored
    index: KeyIndex
    looked_s: float


class DuckDBStore:
    """``clock``: seconds since any fixed moment."""

    def __init__(self, storage: Storage, clock: Callable[[], float] = time.monotonic) -> None:
        self._storage, self._clock = storage, clock
        self._loaded: dict[tuple[str, str], _Loaded] = {}

    def read_many(self, lookups: Sequence[FeatureQuery], now_us: int) -> list[FeatureValues]:
        """See :class:`featurestore.online.backends.OnlineStore`."""
        return [self._read(lookup, now_us) for lookup in lookups]

    @property
    def index(self) -> EmbeddedIndex:
        """See :class:`featurestore.online.backends.OnlineStore`."""
        return EmbeddedIndex(self._storage)

    def publication(self, view: str, digest: str, form: Form, to_version: int) -> DuckDBPublication:
        """See :class:`featurestore.online.backends.OnlineStore`."""
        return DuckDBPublication.begin(
            GenerationIndex.list(self._storage, folder_of(view, digest)), form, to_version
        )

    def inspect(self, view: str, digest: str, form: Form) -> Inspection:
        """See :class:`featurestore.online.backends.OnlineStore`."""
        folder = folder_of(view, digest)
        newest = GenerationIndex.list(self._storage, folder).newest
        if newest is None:
            return Inspection(None, "there is none yet")
        uri = self._storage.uri(f"{folder}/{newest.file}")
        again = f"Delete {uri}: `featurestore run` publishes it again from the offline store"
        try:
            entities = len(load(self._storage, folder, newest, form))
        except Exception as error:  # noqa: BLE001 - whatever a damaged file makes of an engine
            return Inspection(False, f"{uri} cannot be read: {error}", again)
        if entities != newest.entities:
            got = f"{entity_count(entities)}, and was published with {newest.entities:,}"
            return Inspection(False, f"{uri} holds {got}", again)
        return Inspection(True, f"generation {newest.number}: {entity_count(entities)}")

    def _read(self, lookup: FeatureQuery, now_us: int) -> FeatureValues:
        loaded = self._newest(lookup)
        place = loaded.index.find(key_texts(lookup.entities))
        known = np.flatnonzero(place >= 0)
        stored = loaded.stored.take(place[known], loaded.form.needed(lookup.outputs))
        here = np.full(len(place), -1, np.int64)
        here[known] = np.arange(len(known))
        return answer(loaded.form, lookup, stored, here, now_us)

    def _newest(self, lookup: FeatureQuery) -> _Loaded:
        key = lookup.view, lookup.digest
        loaded, now_s = self._loaded.get(key), self._clock()
        if loaded is not None and self._is_newest(loaded, folder_of(*key), now_s):
            return loaded
        folder = folder_of(*key)
        for _ in range(KEPT):
            try:
                newest = GenerationIndex.list(self._storage, folder).newest
            except StorageError:
                if loaded is None:
                    raise
                # No answer does not mean that there is a newer one, or none: the one in memory is whole.
                newest = loaded.generation
            if newest is None:
                break
            if loaded is None or newest != loaded.generation:
                form = Form.of(lookup.spec) if loaded is None else loaded.form
                try:
                    stored = load(self._storage, folder, newest, form)
                except NotFound:
                    continue  # so many newer ones came meanwhile that it is gone
                loaded = _Loaded(newest, form, stored, KeyIndex.of(stored.keys), now_s)
            loaded.looked_s = now_s
            self._loaded[key] = loaded
            return loaded
        self._loaded.pop(key, None)
        raise StorageError(
            "the online store does not hold this view",
            where=self._storage.uri(folder),
            hint="`featurestore run` publishes it from the offline store",
        )

    def _is_newest(self, loaded: _Loaded, folder: str, now_s: float) -> bool:
        if not self._storage.is_local:
            return now_s - loaded.looked_s < _REMOTE_AGE_S
        # Old files are removed, so a store that was lost, or moved on by many, is noticed by its own file.
        own, following = (
            f"{folder}/{loaded.generation.file}",
            pointer_path(folder, loaded.generation.number + 1),
        )
        return os.path.exists(self._storage.uri(own)) and not os.path.exists(self._storage.uri(following))


def open_store(storage: Storage, store: FeatureStoreSpec) -> OnlineStore:
    """See :func:`featurestore.online.backends.open_online`."""
    return DuckDBStore(storage)
