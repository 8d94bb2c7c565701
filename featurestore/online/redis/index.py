"""What a Redis holds of each build, without a data engine."""

from __future__ import annotations

from collections.abc import Mapping

from featurestore.online.index import OnlineIndex
from featurestore.online.redis.server import BuildKeys, RedisServer, read_held
from featurestore.online.versions import OnlineVersion
from featurestore.resources.feature_store import FeatureStoreSpec
from featurestore.storage.objects import Storage


class RedisIndex:
    """What a Redis holds: a key per build says it."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self.address = server.url

    def version(self, view: str, digest: str) -> OnlineVersion | None:
        """See :class:`featurestore.online.index.OnlineIndex`."""
        with self._server.answering() as client:
            return read_held(client.get(BuildKeys.of(view, digest).held))

    def delete(self, view: str, digest: str) -> None:
        """See :class:`featurestore.online.index.OnlineIndex`."""
        keys = BuildKeys.of(view, digest)
        # First what readers and publishers go by: neither uses values while they vanish.
        with self._server.answering() as client:
            client.unlink(keys.held, keys.publisher)
            owner = client.get(keys.owner)
        if owner not in (None, keys.build.encode()):
            return
        for names in self._server.entity_keys(keys):
            with self._server.answering() as client:
                client.unlink(*names)
        # Last: while there may be values, no other build takes their prefix.
        with self._server.answering() as client:
            client.unlink(keys.owner)

    def forget_earlier(self, view: str, digest: str) -> None:
        """See :class:`featurestore.online.index.OnlineIndex`. A value takes the place of the one before: nothing is kept."""

    def instance_id(self) -> str:
        """See :class:`featurestore.online.index.OnlineIndex`."""
        with self._server.answering() as client:
            return str(client.info("server")["run_id"])


def open_index(
    storage: Storage, store: FeatureStoreSpec, environ: Mapping[str, str] | None = None
) -> OnlineIndex:
    """See :func:`featurestore.online.index.open_index`."""
    return RedisIndex(RedisServer.of(store, environ))
