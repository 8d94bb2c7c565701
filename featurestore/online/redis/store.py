"""The online store in Redis: one packed value per entity and view, read with one ``MGET`` for all views."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import pyarrow as pa

from featurestore.online.backends import Inspection, OnlineStore, entity_count
from featurestore.online.entities import Stored
from featurestore.online.layout import Form
from featurestore.online.packed.packing import Packing
from featurestore.online.reading import OnlineQuery
from featurestore.online.redis.index import RedisIndex
from featurestore.online.redis.last_values import LastValues
from featurestore.online.redis.online_reader import RedisReader
from featurestore.online.redis.publication import RedisPublication
from featurestore.online.redis.server import BuildKeys, RedisServer, read_held
from featurestore.resources.feature_store import FeatureStoreSpec
from featurestore.storage.objects import Storage

_SCANNED = 200
"""Answers with keys of a build that are counted: some 200,000 keys."""


class RedisStore:
    """Keeps connections; safe to keep for the life of a process."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server

    def reader(
        self, queries: Sequence[OnlineQuery], timeout_s: float | None = None, *, allow_stale: bool = False
    ) -> RedisReader:
        """See :class:`featurestore.online.backends.OnlineStore`."""
        return RedisReader(self._server.within(timeout_s), queries, LastValues() if allow_stale else None)

    @property
    def index(self) -> RedisIndex:
        """See :class:`featurestore.online.backends.OnlineStore`."""
        return RedisIndex(self._server)

    def publication(
        self, view: str, digest: str, form: Form, to_version: int, memory_bytes: int
    ) -> RedisPublication:
        """See :class:`featurestore.online.backends.OnlineStore`."""
        return RedisPublication.begin(self._server, BuildKeys.of(view, digest), form, to_version)

    def stored(self, view: str, digest: str, form: Form, keys: pa.Array) -> tuple[int, Stored] | None:
        """See :class:`featurestore.online.backends.OnlineStore`."""
        names = BuildKeys.of(view, digest)
        with self._server.answering() as client:
            data, *values = client.mget([names.held, *(names.prefix + key for key in keys.to_pylist())])
        held = read_held(data)
        if held is None:
            return None
        places = [place for place, value in enumerate(values) if value is not None]
        there = keys.take(pa.array(places, pa.int64()))
        packing = Packing(form, names.prefix, names.checksum)
        return held.version, packing.unpack(there, [values[place] for place in places])

    def inspect(self, view: str, digest: str, form: Form) -> Inspection:
        """See :class:`featurestore.online.backends.OnlineStore`. The keys of its entities are counted."""
        keys = BuildKeys.of(view, digest)
        with self._server.answering() as client:
            held = read_held(client.get(keys.held))
        if held is None:
            return Inspection(None, "nothing is published yet")
        counted = 0
        pieces = self._server.entity_keys(keys)
        for piece in islice(pieces, _SCANNED):
            counted += len(piece)
            if counted >= held.entities:
                return Inspection(True, entity_count(held.entities))
        if next(pieces, None) is not None:
            known = entity_count(held.entities)
            return Inspection(True, f"{known}, of which the first {counted:,} were looked at")
        hint = (
            f"Delete the key {keys.held} in {self._server.url}: `featurestore run` publishes all of it again"
        )
        got = f"{self._server.url} holds {counted:,} of {entity_count(held.entities)}: others were deleted"
        return Inspection(False, got, hint)


def open_store(storage: Storage, store: FeatureStoreSpec) -> OnlineStore:
    """See :func:`featurestore.online.backends.open_online`."""
    return RedisStore(RedisServer.of(store))
