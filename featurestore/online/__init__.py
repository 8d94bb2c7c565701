"""Online stores: the newest values of every entity, for inference.

Two stores, one protocol: DuckDB, embedded (the default), and Redis. Start reading at ``layout.py`` for what is
kept of an entity, at ``answer.py`` for how a value at a time comes from it, at ``publish.py`` for how a store
is brought from one version of a view's table to a later one. Importing this loads no data engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from featurestore.resources.store import FeatureStoreSpec
from featurestore.storage.objects import Storage
from featurestore.views.query import FeatureQuery, FeatureValues

if TYPE_CHECKING:
    from featurestore.online.index import OnlineIndex
    from featurestore.online.layout import Form
    from featurestore.online.publication import Publication


class OnlineStore(Protocol):
    """Where values for inference are kept, by view and digest of the build.

    Everything raises StorageError if the store does not answer. Safe to use from several threads.
    """

    def read_many(self, lookups: Sequence[FeatureQuery], now_us: int) -> list[FeatureValues]:
        """What each of the views answers now, in one round trip. ``now_us``: UTC microseconds.

        Raises:
            StorageError: the store does not hold a view; this is never read as "no such entity".
        """
        ...

    @property
    def index(self) -> OnlineIndex:
        """What it holds of each build, and forgetting it."""
        ...

    def publication(self, view: str, digest: str, form: Form, to_version: int) -> Publication:
        """A publication that brings the store to this version. It ends any other that goes on."""
        ...


def open_online(storage: Storage, store: FeatureStoreSpec) -> OnlineStore:
    """The online store of a FeatureStore. Keep it for the life of a process: it caches and pools connections.

    Raises:
        SpecError: a managed Redis outside of its cluster.
        CodeError: it needs a package that is not installed.
    """
    if store.online.redis is not None:
        from featurestore.online.index import redis_url
        from featurestore.online.redis.server import RedisServer
        from featurestore.online.redis.store import RedisStore

        return RedisStore(RedisServer.connect(redis_url(store)))
    from featurestore.online.embedded.store import DuckDBStore

    return DuckDBStore(storage)
