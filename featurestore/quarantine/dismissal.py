"""Entries of a quarantine that somebody closed without running them again: which, by whom, when and why.

They stand beside the quarantine's table, numbered, and are never changed: ``_dismissed/000000000001.json``.
"""

from __future__ import annotations

from collections.abc import Sequence

from featurestore.arrivals.rebuild import Rebuilds
from featurestore.resources.model import Model
from featurestore.storage import paths
from featurestore.storage.objects import Storage


class Dismissal(Model):
    """``entries``: ``(batch, file, rows)``; of a file as a whole, 0 rows. ``at_us``: UTC microseconds.

    ``generation``: of the dataset then. What a later rebuild finds in the same file is another finding, and open.
    """

    because: str
    by: str
    at_us: int
    entries: tuple[tuple[int, int, int], ...]
    generation: int = 0


def dismissals(storage: Storage, table: str) -> list[Dismissal]:
    """All dismissals of the quarantine whose table stands there, the oldest first.

    Raises:
        StorageError: storage did not answer.
    """
    folder = paths.dismissed(table)
    return [Dismissal.model_validate_json(storage.read(f"{folder}/{name}")) for name in storage.names(folder)]


def standing(dismissed: Sequence[Dismissal], rebuilds: Rebuilds) -> list[Dismissal]:
    """The dismissals of a pipeline without what was run again since.

    Raises:
        StorageError: storage did not answer.
    """

    if not dismissed or not rebuilds.generation():
        return list(dismissed)

    def stands(batch: int, generation: int) -> bool:
        promoted = rebuilds.rebuilt_in(batch, fresh=False)
        return promoted is None or promoted.number <= generation

    return [
        each.model_copy(
            update={"entries": tuple(entry for entry in each.entries if stands(entry[0], each.generation))}
        )
        for each in dismissed
    ]


def try_dismiss(storage: Storage, table: str, number: int, dismissal: Dismissal) -> bool:
    """True if it is written as the ``number``-th; False if another was first: look again at what is open.

    Raises:
        StorageError: storage did not answer.
    """
    path = f"{paths.dismissed(table)}/{paths.number(number)}.json"
    return storage.put_if_absent(path, dismissal.model_dump_json(by_alias=True).encode())


def closed(dismissed: Sequence[Dismissal]) -> dict[tuple[int, int], Dismissal]:
    """``(batch, file)`` to the dismissal that closed it."""
    return {(batch, file): each for each in dismissed for batch, file, _ in each.entries}
