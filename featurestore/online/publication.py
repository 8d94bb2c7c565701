"""One publication: how a store is brought from what it holds to one version of a view's table."""

from __future__ import annotations

from typing import Protocol

import pyarrow as pa

from featurestore.online.entities import Stored
from featurestore.online.versions import OnlineVersion


class Publication(Protocol):
    """Readers see an entity as it was or as it will be, never between.

    ``bases``: versions of the view's table that stored values may be of, all of one entity of the same one; None
    if nothing is stored that can be read. All that writes raises Conflict if another publication has begun
    since, and StorageError if the store does not answer.
    """

    @property
    def bases(self) -> tuple[int, ...] | None: ...

    def fetch(self, keys: pa.Array) -> Stored:
        """What is stored of the entities with these keys; those that are not stored are left out."""
        ...

    def put(self, stored: Stored) -> None:
        """Store these entities in the place of what was stored of them."""
        ...

    def remove(self, keys: pa.Array) -> None:
        """Forget the entities with these keys; nothing happens to those that are not stored."""
        ...

    def finish(self, *, rebuilt: bool) -> OnlineVersion:
        """From now on the store holds the version of this publication.

        ``rebuilt``: all entities were put, and what is stored of any other is forgotten.
        """
        ...
