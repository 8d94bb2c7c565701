"""What is known of pushes whose values were put before their batch: which of them a publication settles."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from featurestore.arrivals.ledger import Ledger
from featurestore.errors import StorageError
from featurestore.failpoint import hit
from featurestore.storage import paths
from featurestore.storage.delta import Table
from featurestore.storage.objects import Storage

_ABANDONED_US = 3_600_000_000
"""A push that was announced so long ago and put nothing since was killed between the two."""


@dataclass(frozen=True, slots=True)
class PendingPush:
    """``uri``: of the file of the ``pipeline`` with its rows, as the ledger names it.

    ``announced_us``: when it was announced; None once values of it were put.
    """

    pipeline: str
    uri: str
    announced_us: int | None


class PendingPushes(Protocol):
    """Of one build of a view."""

    def pending(self) -> Mapping[str, PendingPush]:
        """The pushes that no publication has settled."""
        ...

    def settle(self, pushes: Collection[str]) -> None:
        """Take these pushes back, with every value of theirs: what is published is read from now on."""
        ...


def settle(storage: Storage, pushes: PendingPushes, commit: int, now_us: int) -> None:
    """Take back what a publication has brought: what is read then is the dataset's ``commit``, and what was pushed since.

    It is done when all values are published, and before that is said to be so: whoever is killed between is followed
    by a publication that does it again.
    """
    ledgers: dict[str, _Committed] = {}
    settled = []
    for name, push in pushes.pending().items():
        committed = ledgers.setdefault(push.pipeline, _Committed(storage, push.pipeline, commit))
        abandoned = push.announced_us is not None and push.announced_us < now_us - _ABANDONED_US
        known = committed.ledger.known(push.uri)
        if known[0].batch <= committed.batch if known else abandoned:
            settled.append(name)
    hit("before-settle")
    pushes.settle(settled)
    hit("after-settle")


class _Committed:
    """What a version of a pipeline's dataset holds."""

    def __init__(self, storage: Storage, pipeline: str, commit: int) -> None:
        self.ledger = Ledger(storage, pipeline)
        self._commit = commit

    @cached_property
    def batch(self) -> int:
        """The last batch that is in it, whatever became of its rows."""
        ledger = self.ledger
        path = paths.dataset(ledger.pipeline)
        try:
            table = Table.open(ledger.storage, path, self._commit)
        except StorageError:
            # The version is cleaned up: a later one was committed, of which another publication follows.
            table = Table.open(ledger.storage, path)
        return 0 if table is None else table.committed(ledger.uid())
