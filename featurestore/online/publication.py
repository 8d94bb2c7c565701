"""One publication: how a store is brought from what it holds to one version of a view's table."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self

import pyarrow as pa

from featurestore.online.entities import Stored
from featurestore.online.versions import OnlineVersion


class Publication(Protocol):
    """Readers see an entity as it was or as it will be, never between.

    ``bases``: versions of the view's table that stored values may be of, all of one entity of the same one; None
    if nothing is stored that can be read. All that writes raises Conflict if another publication has begun
    since, and StorageError if the store does not answer. Of each entity something is written once at most. When the
    context is left, what was kept beside is gone.
    """

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    @property
    def bases(self) -> tuple[int, ...] | None: ...

    def fetch(self, keys: pa.Array) -> Stored:
        """What is stored of the entities with these keys; those that are not stored are left out."""
        ...

    def put(self, stored: Stored) -> None:
        """Store these entities: what was stored of them, brought forward."""
        ...

    def replace(self, stored: Stored) -> None:
        """Store these entities, and leave nothing of what was stored of them: rows of theirs went."""
        ...

    def remove(self, keys: pa.Array) -> None:
        """Leave nothing of the entities with these keys; nothing happens to those that are not stored."""
        ...

    def begin_anew(self) -> None:
        """From here on all entities are put, whatever was written before, and nothing is left of any other."""
        ...

    def finish(self) -> OnlineVersion:
        """From now on the store holds the version of this publication."""
        ...
