"""What every online store can do, and which one a FeatureStore has. A store's package is loaded when it is opened."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple, Protocol

from featurestore.resources.feature_store import FeatureStoreSpec
from featurestore.storage.objects import Storage

if TYPE_CHECKING:
    import pyarrow as pa

    from featurestore.online.entities import Stored
    from featurestore.online.immediate import ImmediateValues
    from featurestore.online.index import OnlineIndex
    from featurestore.online.layout import Form
    from featurestore.online.publication import Publication
    from featurestore.online.reading import OnlineQuery, OnlineReader


class Inspection(NamedTuple):
    """Whether a store holds all that it says of a build. ``sound``: None if it says nothing. ``hint``: what to do if not."""

    sound: bool | None
    message: str
    hint: str = ""


class OnlineStore(Protocol):
    """Where values for inference are kept, by view and digest of the build.

    Everything raises StorageError if the store does not answer. Safe to use from several threads.
    """

    def reader(
        self, queries: Sequence[OnlineQuery], timeout_s: float | None = None, *, allow_stale: bool = False
    ) -> OnlineReader:
        """What reads these outputs, again and again.

        ``timeout_s``: how long a read may wait for the store in all. ``allow_stale``: while it does not, what it answered last
        is read.
        """
        ...

    @property
    def index(self) -> OnlineIndex:
        """What it holds of each build, and forgetting it."""
        ...

    def publication(
        self, view: str, digest: str, form: Form, to_version: int, memory_bytes: int
    ) -> Publication:
        """A publication that brings the store to this version, with so much memory. It ends any other in progress."""
        ...

    def immediate(
        self, view: str, digest: str, form: Form, *, has_created: bool = False, timeout_s: float | None = None
    ) -> ImmediateValues | None:
        """What is read of rows before their batch is published; None if this store has only what is published.

        ``has_created``: whether the rows bring a created time of their own. ``timeout_s``: for each answer.
        """
        ...

    def stored(self, view: str, digest: str, form: Form, keys: pa.Array) -> tuple[int, Stored] | None:
        """What is kept of the entities with these keys, and of which version the store is; None if it holds nothing.

        Raises:
            UnreadableValue: a value is damaged.
        """
        ...

    def inspect(self, view: str, digest: str, form: Form) -> Inspection:
        """Whether all is there that the index says of the build: values are looked at, as reading one would not."""
        ...


def open_online(storage: Storage, store: FeatureStoreSpec) -> OnlineStore:
    """The online store of a FeatureStore, from the room that is named like the field of the spec that is set.

    Keep it for the life of a process: it caches, and pools connections.

    Raises:
        SpecError: a managed Redis outside of its cluster.
        CodeError: it needs a package that is not installed.
    """
    room = import_module(f"featurestore.online.{store.online.room}.store")
    online: OnlineStore = room.open_store(storage, store)
    return online
