"""What a rebuild does with the arrivals of a batch: the manifest that is run instead of the batch's own.

Entries keep their places, so that rows keep their identity. Skipped are arrivals that a later one replaced, and what
was run again from quarantine: under the new spec all of its file is run where it first came.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from featurestore.arrivals.checkpoint import KnownArrival
from featurestore.arrivals.ledger import Ledger
from featurestore.arrivals.manifest import Action, Entry, Manifest
from featurestore.arrivals.rebuild import Rebuild

LEFT_OUT = "file:gone"
_REASON = "it could not be read any more when history was run again, and was left out"


def rerun(ledger: Ledger, rebuild: Rebuild, manifest: Manifest, done: int) -> Manifest:
    """The manifest as the rebuild runs it, when batches 1 … ``done`` are committed.

    A batch that came after the rebuild was planned is run again under its own spec.

    Raises:
        StorageError: storage did not answer.
    """
    left_out = set(rebuild.left_out)
    entries = []
    for file, entry in enumerate(manifest.entries):
        place = (manifest.number, file)
        if place in left_out:
            entry = replace(entry, action=Action.REJECT, replays=None, rule=LEFT_OUT, reason=_REASON)
        entries.append(again(ledger, place, entry, done))
    if manifest.number > rebuild.last:
        return replace(manifest, entries=tuple(entries))
    return replace(manifest, spec_digest=rebuild.spec_digest, lookups=rebuild.lookups, entries=tuple(entries))


def again(ledger: Ledger, place: tuple[int, int], entry: Entry, done: int) -> Entry:
    """What is done with one arrival. ``place``: its batch and the index of its file."""
    known = ledger.known(entry.arrival.uri)
    if entry.action is Action.REPLAY:
        if not runs_by_itself(entry.replays, known):
            return replace(entry, action=Action.SKIP)
        entry = replace(entry, action=Action.REPLACE if entry.replaces else Action.TAKE, replays=None)
    if entry.action is not Action.REJECT and is_superseded(ledger, place, known, done):
        return replace(entry, action=Action.SKIP)
    return entry


def runs_by_itself(replays: tuple[int, int] | None, known: Iterable[KnownArrival]) -> bool:
    """Whether what was run again from quarantine had been refused unread, so that its file is not run where it came.

    ``known``: all entries of its file.
    """
    return any(row.place == replays and row.action is Action.REJECT for row in known)


def is_superseded(ledger: Ledger, place: tuple[int, int], known: Iterable[KnownArrival], done: int) -> bool:
    """Whether a later arrival of a batch up to ``done`` has taken the place of this one."""
    known = list(known)
    for row in known:
        if row.place <= place or row.batch > done:
            continue
        if row.action is Action.REPLACE:
            return True
        if (
            row.action is Action.REPLAY
            and runs_by_itself(row.replays, known)
            and place in ledger.manifest(row.batch).entries[row.file].replaces
        ):
            return True
    return False
