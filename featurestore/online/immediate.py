"""Values that are read from the moment that their rows are pushed, until the publication of their batch brings them."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import pyarrow as pa

from featurestore.online.pending_pushes import PendingPushes


class PushedFile(NamedTuple):
    """The file with the rows of a push. ``uri``: as the pipeline's ledger names it."""

    pipeline: str
    uri: str


class ImmediateValues(PendingPushes, Protocol):
    """Of one build. Everything may be done twice, and raises StorageError if the store does not answer.

    ``push``: 40 characters that name one. A push is announced before its rows are durable: whatever publishes them later
    then knows of it, and takes back what was put of it.
    """

    def announce(self, push: str, file: PushedFile, keys: pa.Array, now_us: int) -> bool:
        """Say that a push may put values of these entities; False if nothing of the build is published yet.

        ``keys``: as :func:`featurestore.online.entity_keys.key_texts` gives them, none of them null.
        """
        ...

    def put(self, push: str, file: PushedFile, rows: pa.Table, now_us: int) -> bool:
        """Have these rows read, as columns of the view's table; False if the push is not announced any more.

        Of two rows of an entity the later event time wins, then the later created time, then the later push; without a
        column of created times the later push. A row whose time is yet to come is read from then on.
        """
        ...
