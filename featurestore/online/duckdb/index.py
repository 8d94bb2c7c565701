"""What the embedded store holds of each build, without a data engine."""

from __future__ import annotations

from collections.abc import Mapping

from featurestore.online.duckdb.generations import GenerationIndex, folder_of
from featurestore.online.index import OnlineIndex
from featurestore.online.versions import OnlineVersion
from featurestore.resources.feature_store import FeatureStoreSpec
from featurestore.storage.objects import Storage


class EmbeddedIndex:
    """What the embedded store holds, read off the pointers in the storage root."""

    address = "embedded DuckDB"

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def version(self, view: str, digest: str) -> OnlineVersion | None:
        """See :class:`featurestore.online.index.OnlineIndex`."""
        newest = GenerationIndex.list(self._storage, folder_of(view, digest)).newest
        return OnlineVersion(newest.version, newest.entities) if newest else None

    def delete(self, view: str, digest: str) -> None:
        """See :class:`featurestore.online.index.OnlineIndex`."""
        self._storage.delete(folder_of(view, digest))

    def forget_earlier(self, view: str, digest: str) -> None:
        """See :class:`featurestore.online.index.OnlineIndex`."""
        GenerationIndex.list(self._storage, folder_of(view, digest)).forget_earlier()

    def instance_id(self) -> str:
        """See :class:`featurestore.online.index.OnlineIndex`. It is as lasting as the storage root, which is looked at."""
        self._storage.names("online")
        return self._storage.root


def open_index(
    storage: Storage, store: FeatureStoreSpec, environ: Mapping[str, str] | None = None
) -> OnlineIndex:
    """See :func:`featurestore.online.index.open_index`."""
    return EmbeddedIndex(storage)
