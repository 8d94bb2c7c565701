"""How much is open in a quarantine: known without a data engine, and without reading what is in it.

The result of each batch holds what its batch and all before it put there and nobody ran again; what was dismissed
since is subtracted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from featurestore.arrivals.ledger import Ledger
from featurestore.arrivals.manifest import Action, Manifest
from featurestore.arrivals.result import BatchResult
from featurestore.humanize import count
from featurestore.quarantine.dismissal import Dismissal, closed, dismissals, standing
from featurestore.storage import paths
from featurestore.storage.objects import Storage
from featurestore.views.builds import BuildResult


@dataclass(frozen=True, slots=True)
class OpenQuarantine:
    """``files``: as a whole; ``rows``: of other files. ``last``: whether some of it is of the last batch."""

    files: int = 0
    rows: int = 0
    last: bool = False

    def __bool__(self) -> bool:
        return bool(self.files or self.rows)

    def __str__(self) -> str:
        """``2 files and 5 rows``."""
        parts = [count(n, noun) for n, noun in ((self.files, "file"), (self.rows, "row")) if n]
        return " and ".join(parts) or "nothing"


def open_of_pipeline(ledger: Ledger, result: BatchResult | None) -> OpenQuarantine:
    """What is open after the pipeline's last batch.

    Raises:
        StorageError: storage did not answer.
    """
    if result is None or not (result.open_files or result.open_rows):
        return OpenQuarantine()
    dismissed = standing(
        dismissals(ledger.storage, paths.quarantine("pipelines", result.pipeline)), ledger.rebuilds
    )
    gone = [rows for each in dismissed for _, _, rows in each.entries]
    done = closed(dismissed)
    return OpenQuarantine(
        max(0, result.open_files - gone.count(0)),
        max(0, result.open_rows - sum(gone)),
        any((result.number, file) not in done for file in result.caught),
    )


def open_of_view(storage: Storage, build: BuildResult | None) -> OpenQuarantine:
    """What is open in the quarantine of a build.

    Raises:
        StorageError: storage did not answer.
    """
    if build is None or not build.rows_quarantined:
        return OpenQuarantine()
    dismissed = dismissals(storage, paths.rejected_rows(build.view, build.digest))
    rows = max(0, build.rows_quarantined - sum(rows for each in dismissed for _, _, rows in each.entries))
    return OpenQuarantine(0, rows, bool(rows))


def open_after(storage: Storage, manifest: Manifest, caught: dict[int, int]) -> tuple[int, int]:
    """Files and rows that are open after the batch which caught these, dismissals left aside.

    ``caught``: as in :class:`BatchResult`.

    Raises:
        StorageError: storage did not answer.
    """
    ledger = Ledger(storage, manifest.pipeline)
    before = ledger.counted(manifest.number - 1) if manifest.number > 1 else None
    files, rows = (before.open_files, before.open_rows) if before else (0, 0)
    done = None
    for entry in manifest.entries:
        if entry.replays is None:
            continue
        if done is None:
            done = _dismissed(ledger)
        batch, file = entry.replays
        by_file = ledger.caught(batch)
        if entry.replays in done or file not in by_file:
            continue
        files -= by_file[file] == 0
        rows -= by_file[file]
    whole = sum(n == 0 for n in caught.values())
    return max(0, files + whole), max(0, rows + sum(caught.values()))


def open_in_all(
    ledger: Ledger,
    manifests: Mapping[int, Manifest],
    caught: Mapping[int, Mapping[int, int]],
    rebuilt: Callable[[int], bool],
) -> tuple[int, int]:
    """Files and rows that are open when ``caught`` is what is in quarantine of each batch, dismissals left aside.

    So a rebuild counts, which changes what batches long ago had caught. ``rebuilt``: whether it ran a batch again; then
    only what had been refused unread is still closed by having been run again from quarantine.

    Raises:
        StorageError: storage did not answer.
    """
    files = sum(n == 0 for by_file in caught.values() for n in by_file.values())
    rows = sum(n for by_file in caught.values() for n in by_file.values())
    done = _dismissed(ledger)
    for manifest in manifests.values():
        for entry in manifest.entries:
            if entry.replays is None:
                continue
            batch, file = entry.replays
            by_file = caught.get(batch, {})
            was_refused_unread = manifests[batch].entries[file].action is Action.REJECT
            if file in by_file and (was_refused_unread if rebuilt(batch) else entry.replays not in done):
                files -= by_file[file] == 0
                rows -= by_file[file]
    return max(0, files), max(0, rows)


def _dismissed(ledger: Ledger) -> dict[tuple[int, int], Dismissal]:
    dismissed = dismissals(ledger.storage, paths.quarantine("pipelines", ledger.pipeline))
    return closed(standing(dismissed, ledger.rebuilds))
