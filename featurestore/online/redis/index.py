"""What a Redis holds of each build, without a data engine."""

from __future__ import annotations

from collections.abc import Mapping

from featurestore.online.index import OnlineIndex
from featurestore.online.redis.deployment import RedisDeployment
from featurestore.online.redis.early_values import EarlyValues
from featurestore.online.redis.held import read_parts
from featurestore.online.redis.opening import redis_of
from featurestore.online.versions import OnlineVersion
from featurestore.resources.feature_store import FeatureStoreSpec
from featurestore.storage.objects import Storage


class RedisIndex:
    """What a Redis holds: a key per build says it, and in a cluster one per part of a build."""

    def __init__(self, redis: RedisDeployment) -> None:
        self._redis = redis
        self.address = redis.url

    def version(self, view: str, digest: str) -> OnlineVersion | None:
        """See :class:`featurestore.online.index.OnlineIndex`."""
        keys = self._redis.keys_of(view, digest)
        return read_parts(self._redis.get_many([part.held for part in keys.parts]))

    def delete(self, view: str, digest: str) -> None:
        """See :class:`featurestore.online.index.OnlineIndex`."""
        redis, keys = self._redis, self._redis.keys_of(view, digest)
        # First what readers and publishers go by: neither uses values while they vanish.
        redis.unlink([name for part in keys.parts for name in (part.held, part.publisher, part.pending)])
        EarlyValues(redis, keys).clear()
        owners = [part.owner for part in keys.parts]
        if not set(redis.get_many(owners)) <= {None, keys.build.encode()}:
            return
        for names in redis.scan(keys.pattern):
            redis.unlink(names)
        # Last: while there may be values, no other build takes their prefix.
        redis.unlink(owners)

    def forget_earlier(self, view: str, digest: str) -> None:
        """See :class:`featurestore.online.index.OnlineIndex`.

        A value takes the place of the one before. Values of pushes that no batch has taken yet are forgotten, too: of
        which time they are is not known here, and they are read again when their batch is published.
        """
        EarlyValues(self._redis, self._redis.keys_of(view, digest)).clear()

    def instance_id(self) -> str:
        """See :class:`featurestore.online.index.OnlineIndex`."""
        return " ".join(sorted(str(server["run_id"]) for server in self._redis.info("server")))


def open_index(
    storage: Storage, store: FeatureStoreSpec, environ: Mapping[str, str] | None = None
) -> OnlineIndex:
    """See :func:`featurestore.online.index.open_index`."""
    return RedisIndex(redis_of(store, environ))
