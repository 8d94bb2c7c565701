"""What an online store says of itself without a data engine: what it holds of each build, and whether it is still the same store.

The code that decides what to do next goes by this index, and never by the values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from featurestore.errors import SpecError
from featurestore.online.embedded.index import EmbeddedIndex
from featurestore.online.redis.index import RedisIndex
from featurestore.online.redis.server import RedisServer
from featurestore.online.versions import OnlineVersion
from featurestore.resources.feature_store import FeatureStoreSpec
from featurestore.storage.objects import Storage


class OnlineIndex(Protocol):
    """Everything raises StorageError if the store does not answer. Safe to use from several threads."""

    def version(self, view: str, digest: str) -> OnlineVersion | None:
        """What the store holds of the build; None if it is nothing that can be read."""
        ...

    def delete(self, view: str, digest: str) -> None:
        """Forget all that is held of the build; nothing happens if there is nothing."""
        ...

    def instance_id(self) -> str:
        """Identifies this store: another value means that it was restarted and lost everything."""
        ...


def open_index(
    storage: Storage, store: FeatureStoreSpec, environ: Mapping[str, str] | None = None
) -> OnlineIndex:
    """The index of a FeatureStore's online store. ``environ``: has its credentials; None for the process's own.

    Raises:
        SpecError: a managed Redis outside of its cluster.
        CodeError: it needs a package that is not installed.
    """
    if store.online.redis is None:
        return EmbeddedIndex(storage)
    return RedisIndex(RedisServer.connect(redis_url(store), environ))


def redis_url(store: FeatureStoreSpec) -> str:
    """Where its Redis is.

    Raises:
        SpecError: it is kept by an operator, and this is the spec as its author wrote it: see the accepted one.
    """
    redis = store.online.redis
    if redis is not None and redis.url is not None:
        return redis.url
    raise SpecError(
        "a managed Redis is reachable only inside its cluster",
        where="FeatureStore spec.online.redis.managed",
        wanted="a url",
        got="managed",
        hint="On a laptop, use {duckdb: {}} or the url of a Redis",
    )
