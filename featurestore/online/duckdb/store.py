"""The embedded online store: a generation's columns in memory, read by key; the next one beside it, on storage.

Start at ``online_reader.py`` for reading and ``publication.py`` for writing. See
:mod:`featurestore.online.duckdb.generations` for what stands where.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import reduce
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa

from featurestore.humanize import entity_count
from featurestore.online.backends import Inspection, OnlineStore
from featurestore.online.duckdb.generation_file import connected
from featurestore.online.duckdb.generations import GenerationIndex, folder_of
from featurestore.online.duckdb.index import EmbeddedIndex
from featurestore.online.duckdb.layers import Layers, load, opened, over
from featurestore.online.duckdb.online_reader import EmbeddedReader, NewestGeneration
from featurestore.online.duckdb.publication import DuckDBPublication, reading
from featurestore.online.entities import Stored
from featurestore.online.layout import Form
from featurestore.online.reading import OnlineQuery
from featurestore.resources.feature_store import FeatureStoreSpec
from featurestore.storage.objects import Storage


class DuckDBStore:
    """``clock``: seconds since any fixed moment."""

    def __init__(self, storage: Storage, clock: Callable[[], float] = time.monotonic) -> None:
        self._storage, self._clock = storage, clock
        self._newest: dict[tuple[str, str], NewestGeneration] = {}

    def reader(
        self, queries: Sequence[OnlineQuery], timeout_s: float | None = None, *, allow_stale: bool = False
    ) -> EmbeddedReader:
        """See :class:`featurestore.online.backends.OnlineStore`. Memory answers at once, and at all times."""
        return EmbeddedReader([(query, self._newest_of(query)) for query in queries])

    @property
    def index(self) -> EmbeddedIndex:
        """See :class:`featurestore.online.backends.OnlineStore`."""
        return EmbeddedIndex(self._storage)

    def publication(
        self, view: str, digest: str, form: Form, to_version: int, memory_bytes: int
    ) -> DuckDBPublication:
        """See :class:`featurestore.online.backends.OnlineStore`."""
        shelf = GenerationIndex.list(self._storage, folder_of(view, digest))
        return DuckDBPublication(shelf, form, to_version, memory_bytes)

    def immediate(
        self, view: str, digest: str, form: Form, *, has_created: bool = False, timeout_s: float | None = None
    ) -> None:
        """See :class:`featurestore.online.backends.OnlineStore`. A generation is written as a whole."""

    def stored(self, view: str, digest: str, form: Form, keys: pa.Array) -> tuple[int, Stored] | None:
        """See :class:`featurestore.online.backends.OnlineStore`. Files are looked into, and not loaded."""
        folder = folder_of(view, digest)
        newest = GenerationIndex.list(self._storage, folder).newest
        if newest is None:
            return None
        with TemporaryDirectory(prefix="featurestore-") as name, connected(Path(name)) as engine, reading():
            files = opened(engine, self._storage, folder, newest.files, form, Path(name))
            fetched = Layers(files).fetch(keys)
        return newest.version, Stored.joined(fetched) if fetched else Stored.empty(form)

    def inspect(self, view: str, digest: str, form: Form) -> Inspection:
        """See :class:`featurestore.online.backends.OnlineStore`."""
        folder = folder_of(view, digest)
        newest = GenerationIndex.list(self._storage, folder).newest
        if newest is None:
            return Inspection(None, "there is none yet")
        uri = self._storage.uri(f"{folder}/{newest.files[0].name}")
        again = f"Delete {uri}: `featurestore run` publishes it again from the offline store"
        try:
            entities = len(reduce(over, load(self._storage, folder, newest.files, form)))
        except Exception as error:  # noqa: BLE001 - whatever a damaged file makes of an engine
            return Inspection(False, f"{uri} cannot be read: {error}", again)
        if entities != newest.entities:
            got = f"{entity_count(entities)}, and was published with {newest.entities:,}"
            return Inspection(False, f"{uri} holds {got}", again)
        return Inspection(True, f"generation {newest.number}: {entity_count(entities)}")

    def _newest_of(self, query: OnlineQuery) -> NewestGeneration:
        key = query.view, query.digest
        newest = self._newest.setdefault(
            key, NewestGeneration(self._storage, folder_of(*key), query.form, self._clock)
        )
        for other in list(self._newest):
            # Of a build that another one replaced nothing stays in memory once its last reader is gone.
            if other[0] == query.view and other != key:
                self._newest.pop(other, None)
        return newest


def open_store(storage: Storage, store: FeatureStoreSpec) -> OnlineStore:
    """See :func:`featurestore.online.backends.open_online`."""
    return DuckDBStore(storage)
