"""What an online store holds of each build, and whether it is still the same store: known without a data engine.

The code that decides what to do next goes by this index, and never by the values.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Protocol

from featurestore.online.versions import OnlineVersion
from featurestore.resources.feature_store import FeatureStoreSpec
from featurestore.storage.objects import Storage


class OnlineIndex(Protocol):
    """Everything raises StorageError if the store does not answer. Safe to use from several threads.

    ``address``: where the store is, for messages, without credentials.
    """

    address: str

    def version(self, view: str, digest: str) -> OnlineVersion | None:
        """What the store holds of the build; None if there is nothing readable."""
        ...

    def delete(self, view: str, digest: str) -> None:
        """Forget everything about the build; does nothing if there is nothing."""
        ...

    def forget_earlier(self, view: str, digest: str) -> None:
        """Forget what is kept of the build beside its newest version, for readers that looked just now."""
        ...

    def instance_id(self) -> str:
        """The identity of this store: another value means that it was restarted and lost everything."""
        ...


def open_index(
    storage: Storage, store: FeatureStoreSpec, environ: Mapping[str, str] | None = None
) -> OnlineIndex:
    """The index of a FeatureStore's online store, from the room that is named like the field of the spec that is set.

    ``environ``: has the store's credentials; None for the process's own environment.

    Raises:
        SpecError: a managed Redis outside of its cluster.
        CodeError: it needs a package that is not installed.
    """
    room = import_module(f"featurestore.online.{store.online.room}.index")
    index: OnlineIndex = room.open_index(storage, store, environ)
    return index
