"""How far behind its source a pipeline of a stream is: offsets that no committed batch holds yet."""

from __future__ import annotations

from collections.abc import Iterable

from featurestore.arrivals.arrival import Arrival
from featurestore.arrivals.ledger import Ledger
from featurestore.arrivals.manifest import Action
from featurestore.arrivals.position import messages
from featurestore.arrivals.source import ArrivalSource


def offsets(arrivals: Iterable[Arrival]) -> int:
    """How many offsets these arrivals of a stream have together. Holes count as well: nothing tells them from afar.

    >>> offsets([Arrival("kafka://t/id/0", "120-480", 0, 0), Arrival("kafka://t/id/1", "0-40", 0, 0)])
    400
    """
    return sum(messages(arrival) for arrival in arrivals)


def stream_lag(ledger: Ledger, source: ArrivalSource, done: int) -> int:
    """Offsets that the source has now, and no batch up to ``done``.

    Raises:
        StorageError: source or storage did not answer.
    """
    new = list(ledger.new_entries(source.arrivals(), source.decide))
    begun = [
        entry
        for number in range(done + 1, ledger.last_batch() + 1)
        for entry in ledger.manifest(number).entries
    ]
    return offsets(entry.arrival for entry in (*new, *begun) if entry.action is Action.TAKE)
