"""What an online store says of itself without a data engine: what it holds of each build, and whether it is there.

Whoever decides what is to be done next goes by these index, and never by the values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from featurestore.errors import SpecError
from featurestore.online.embedded.index import GenerationIndex, folder_of
from featurestore.online.redis.server import Keys, RedisServer, read_held
from featurestore.online.versions import OnlineVersion
from featurestore.resources.store import FeatureStoreSpec
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
        """What tells this store from one that has started anew and lost all."""
        ...


class EmbeddedIndex:
    """Marks of the embedded store: pointers in the storage root."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def version(self, view: str, digest: str) -> OnlineVersion | None:
        """See :class:`OnlineIndex`."""
        newest = GenerationIndex.list(self._storage, folder_of(view, digest)).newest
        return OnlineVersion(newest.version, newest.entities) if newest else None

    def delete(self, view: str, digest: str) -> None:
        """See :class:`OnlineIndex`."""
        self._storage.delete(folder_of(view, digest))

    def instance_id(self) -> str:
        """See :class:`OnlineIndex`. It is as lasting as the storage root, which is looked at."""
        self._storage.names("online")
        return self._storage.root


class RedisIndex:
    """Marks of a Redis: a key per build."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server

    def version(self, view: str, digest: str) -> OnlineVersion | None:
        """See :class:`OnlineIndex`."""
        with self._server.answering() as client:
            return read_held(client.get(Keys.of(view, digest).held))

    def delete(self, view: str, digest: str) -> None:
        """See :class:`OnlineIndex`."""
        keys = Keys.of(view, digest)
        # First what readers and publishers go by: neither uses values while they vanish.
        with self._server.answering() as client:
            client.unlink(keys.held, keys.publisher)
        for names in self._server.entity_keys(keys):
            with self._server.answering() as client:
                client.unlink(*names)

    def instance_id(self) -> str:
        """See :class:`OnlineIndex`."""
        with self._server.answering() as client:
            return str(client.info("server")["run_id"])


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
        "the operator keeps this Redis, and there is none outside of its cluster",
        where="FeatureStore spec.online.redis.managed",
        wanted="a url",
        got="managed",
        hint="On a laptop, use {duckdb: {}} or the url of a Redis",
    )
