"""The online store in Redis: one packed value per entity and view, read with one ``MGET`` for all views."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import numpy as np
import pyarrow as pa

from featurestore.errors import StorageError
from featurestore.online.answer import answer
from featurestore.online.backends import Inspection, OnlineStore, entity_count
from featurestore.online.entity_keys import key_texts
from featurestore.online.layout import Form
from featurestore.online.packed.packing import Packing
from featurestore.online.redis.index import RedisIndex
from featurestore.online.redis.publication import RedisPublication
from featurestore.online.redis.server import Keys, RedisServer, read_held
from featurestore.online.versions import PACKED_LAYOUT
from featurestore.resources.feature_store import FeatureStoreSpec
from featurestore.storage.objects import Storage
from featurestore.views.feature_query import FeatureQuery, FeatureValues

_SCANNED = 200
"""Answers with keys of a build that are counted: some 200,000 keys."""
_READ_AT_ONCE = 10_000
"""Keys of one MGET: the server does nothing else meanwhile."""


class RedisStore:
    """Keeps connections; safe to keep for the life of a process."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self._forms: dict[tuple[str, str], tuple[Form, Packing]] = {}

    def read_many(self, lookups: Sequence[FeatureQuery], now_us: int) -> list[FeatureValues]:
        """See :class:`featurestore.online.backends.OnlineStore`."""
        keys = [Keys.of(lookup.view, lookup.digest) for lookup in lookups]
        texts = [key_texts(lookup.entities) for lookup in lookups]
        names: list[bytes] = [each.held.encode() for each in keys]
        for each, text in zip(keys, texts, strict=True):
            names += [each.prefix + key for key in text.drop_null().to_pylist()]
        values: list[bytes | None] = []
        with self._server.answering() as client:
            for first in range(0, len(names), _READ_AT_ONCE):
                values += client.mget(names[first : first + _READ_AT_ONCE])
        found, at = [], len(lookups)
        for place, (lookup, text) in enumerate(zip(lookups, texts, strict=True)):
            self._require_held(lookup, values[place])
            count = len(text) - text.null_count
            found.append(self._answer(lookup, text, values[at : at + count], now_us))
            at += count
        return found

    @property
    def index(self) -> RedisIndex:
        """See :class:`featurestore.online.backends.OnlineStore`."""
        return RedisIndex(self._server)

    def publication(self, view: str, digest: str, form: Form, to_version: int) -> RedisPublication:
        """See :class:`featurestore.online.backends.OnlineStore`."""
        return RedisPublication.begin(self._server, Keys.of(view, digest), form, to_version)

    def _answer(
        self, lookup: FeatureQuery, text: pa.Array, values: Sequence[bytes | None], now_us: int
    ) -> FeatureValues:
        """``values``: of the entities whose key is not null."""
        there = np.fromiter((value is not None for value in values), np.bool_, len(values))
        rows = np.flatnonzero(text.is_valid().to_numpy(zero_copy_only=False))[there]
        place = np.full(len(text), -1, np.int64)
        place[rows] = np.arange(len(rows))
        form, packing = self._form(lookup)
        packed = [value for value in values if value is not None]
        stored = packing.unpack(text.take(pa.array(rows)), packed, form.needed(lookup.outputs))
        return answer(form, lookup, stored, place, now_us)

    def inspect(self, view: str, digest: str, form: Form) -> Inspection:
        """See :class:`featurestore.online.backends.OnlineStore`. The keys of its entities are counted."""
        keys = Keys.of(view, digest)
        with self._server.answering() as client:
            held = read_held(client.get(keys.held))
        if held is None:
            return Inspection(None, "nothing is published yet")
        seen = 0
        pieces = self._server.entity_keys(keys)
        for piece in islice(pieces, _SCANNED):
            seen += len(piece)
            if seen >= held.entities:
                return Inspection(True, entity_count(held.entities))
        if next(pieces, None) is not None:
            known = entity_count(held.entities)
            return Inspection(True, f"{known}, of which the first {seen:,} were looked at")
        hint = (
            f"Delete the key {keys.held} in {self._server.url}: `featurestore run` publishes all of it again"
        )
        got = f"{self._server.url} holds {seen:,} of {entity_count(held.entities)}: others were deleted"
        return Inspection(False, got, hint)

    def _require_held(self, lookup: FeatureQuery, data: bytes | None) -> None:
        if read_held(data) is None:
            raise StorageError(
                f"the online store does not hold the view {lookup.view!r}",
                where=f"{Keys.of(lookup.view, lookup.digest).held} at {self._server.url}",
                wanted=f"layout {PACKED_LAYOUT}",
                got="nothing" if data is None else data.decode(errors="replace"),
                hint="`featurestore run` publishes it from the offline store",
            )

    def _form(self, lookup: FeatureQuery) -> tuple[Form, Packing]:
        known = self._forms.get((lookup.view, lookup.digest))
        if known is None:
            form = Form.of(lookup.spec)
            known = self._forms[lookup.view, lookup.digest] = (
                form,
                Packing(form, Keys.of(lookup.view, lookup.digest).prefix),
            )
        return known


def open_store(storage: Storage, store: FeatureStoreSpec) -> OnlineStore:
    """See :func:`featurestore.online.backends.open_online`."""
    return RedisStore(RedisServer.of(store))
