"""The online store in Redis: one packed value per entity and view, read with one ``MGET`` for all views or parts of them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import pyarrow as pa

from featurestore.humanize import entity_count
from featurestore.online.backends import Inspection, OnlineStore
from featurestore.online.entities import Stored
from featurestore.online.layout import Form
from featurestore.online.packed.packing import Packing
from featurestore.online.reading import OnlineQuery
from featurestore.online.redis.deployment import RedisDeployment
from featurestore.online.redis.held import read_parts
from featurestore.online.redis.immediate import RedisImmediate
from featurestore.online.redis.index import RedisIndex
from featurestore.online.redis.last_values import LastValues
from featurestore.online.redis.online_reader import RedisReader
from featurestore.online.redis.opening import redis_of
from featurestore.online.redis.publication import RedisPublication
from featurestore.resources.feature_store import FeatureStoreSpec
from featurestore.storage.objects import Storage

_SCANNED = 200
"""Answers with keys of a build that are counted: some 200,000 keys."""


class RedisStore:
    """Keeps connections; safe to keep for the life of a process."""

    def __init__(self, redis: RedisDeployment) -> None:
        self._redis = redis

    def reader(
        self, queries: Sequence[OnlineQuery], timeout_s: float | None = None, *, allow_stale: bool = False
    ) -> RedisReader:
        """See :class:`featurestore.online.backends.OnlineStore`."""
        last = LastValues() if allow_stale else None
        return RedisReader(self._redis.within(timeout_s), queries, timeout_s, last)

    @property
    def index(self) -> RedisIndex:
        """See :class:`featurestore.online.backends.OnlineStore`."""
        return RedisIndex(self._redis)

    def publication(
        self, view: str, digest: str, form: Form, to_version: int, memory_bytes: int
    ) -> RedisPublication:
        """See :class:`featurestore.online.backends.OnlineStore`."""
        return RedisPublication.begin(self._redis, self._redis.keys_of(view, digest), form, to_version)

    def immediate(
        self, view: str, digest: str, form: Form, *, has_created: bool = False, timeout_s: float | None = None
    ) -> RedisImmediate:
        """See :class:`featurestore.online.backends.OnlineStore`."""
        redis = self._redis.within(timeout_s)
        return RedisImmediate(redis, redis.keys_of(view, digest), form, has_created)

    def stored(self, view: str, digest: str, form: Form, keys: pa.Array) -> tuple[int, Stored] | None:
        """See :class:`featurestore.online.backends.OnlineStore`."""
        build, texts = self._redis.keys_of(view, digest), keys.to_pylist()
        held_names, names = build.held(texts), build.names(texts)
        answered = self._redis.get_many([*held_names, *names])
        held = read_parts(answered[: len(held_names)])
        if held is None:
            return None
        values = answered[len(held_names) :]
        places = [place for place, value in enumerate(values) if value is not None]
        packed = [value for value in values if value is not None]
        present = keys.take(pa.array(places, pa.int64()))
        packing = Packing(form, build.checksum)
        return held.version, packing.unpack(present, [names[place] for place in places], packed)

    def inspect(self, view: str, digest: str, form: Form) -> Inspection:
        """See :class:`featurestore.online.backends.OnlineStore`. The keys of its entities are counted."""
        keys = self._redis.keys_of(view, digest)
        held = self.index.version(view, digest)
        if held is None:
            return Inspection(None, "nothing is published yet")
        counted = 0
        pieces = self._redis.scan(keys.pattern)
        for piece in islice(pieces, _SCANNED):
            counted += len(piece)
            if counted >= held.entities:
                return Inspection(True, entity_count(held.entities))
        if next(pieces, None) is not None:
            known = entity_count(held.entities)
            return Inspection(True, f"{known}, of which the first {counted:,} were looked at")
        marked = keys.parts[0].held.decode()
        hint = f"Delete the key {marked} in {self._redis.url}: `featurestore run` publishes all of it again"
        got = f"{self._redis.url} holds {counted:,} of {entity_count(held.entities)}: others were deleted"
        return Inspection(False, got, hint)


def open_store(storage: Storage, store: FeatureStoreSpec) -> OnlineStore:
    """See :func:`featurestore.online.backends.open_online`."""
    return RedisStore(redis_of(store))
