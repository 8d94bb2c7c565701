"""Opens the Redis of a FeatureStore, of whichever kind its URL names."""

from __future__ import annotations

from collections.abc import Mapping

from featurestore.errors import SpecError
from featurestore.online.redis.cluster_client import RedisCluster
from featurestore.online.redis.deployment import RedisDeployment
from featurestore.online.redis.server import RedisServer
from featurestore.resources.feature_store import FeatureStoreSpec
from featurestore.resources.redis_url import RedisUrl


def open_redis(url: str, environ: Mapping[str, str] | None = None) -> RedisDeployment:
    """What a URL names. ``environ``: has the credentials; None for the process's own.

    Raises:
        CodeError: redis-py is not installed.
    """
    return (RedisCluster if RedisUrl.parse(url).kind == "cluster" else RedisServer)(url, environ)


def redis_of(store: FeatureStoreSpec, environ: Mapping[str, str] | None = None) -> RedisDeployment:
    """The Redis of a FeatureStore.

    Raises:
        SpecError: an operator keeps it, and this is the spec as its author wrote it: see the accepted one.
        CodeError: redis-py is not installed.
    """
    redis = store.online.redis
    if redis is None or redis.url is None:
        raise SpecError(
            "a managed Redis is reachable only inside its cluster",
            where="FeatureStore spec.online.redis.managed",
            wanted="a url",
            got="managed",
            hint="On a laptop, use {duckdb: {}} or the url of a Redis",
        )
    return open_redis(redis.url, environ)
