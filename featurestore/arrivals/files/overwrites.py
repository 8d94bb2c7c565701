"""What another version of a file that was taken before does: ``onOverwrite``."""

from __future__ import annotations

from collections.abc import Sequence

from featurestore.arrivals.arrival import Arrival
from featurestore.arrivals.checkpoint import KnownArrival
from featurestore.arrivals.ledger import live
from featurestore.arrivals.manifest import Action, Entry
from featurestore.resources.data_pipeline import OnOverwrite

OVERWRITTEN = "file:overwritten"
"""The rule that a version breaks which ``onOverwrite: Reject`` refuses."""


def decide(arrival: Arrival, known: Sequence[KnownArrival], on_overwrite: OnOverwrite) -> Entry | None:
    """What to do with an arrival, given what is known of its file; None if this version is known."""
    if not known:
        return Entry(arrival)
    if any(row.version == arrival.version for row in known):
        return None
    follows = known[-1].place
    before = next((row for row in reversed(known) if row.action is not Action.REJECT), known[-1])
    reason = (
        f"the file was overwritten: version {before.version} was taken in batch {before.batch}, "
        f"this is version {arrival.version}"
    )
    match on_overwrite:
        case OnOverwrite.REJECT:
            refused = f"{reason}, and onOverwrite is Reject"
            return Entry(arrival, Action.REJECT, follows=follows, rule=OVERWRITTEN, reason=refused)
        case OnOverwrite.APPEND:
            return Entry(arrival, Action.TAKE, follows=follows, reason=reason)
        case OnOverwrite.REPLACE:
            return Entry(arrival, Action.REPLACE, replaces=live(known), follows=follows)
