"""Closing what is in quarantine without running it again."""

from __future__ import annotations

from typing import Literal

from featurestore.arrivals.rebuild import Rebuilds
from featurestore.errors import RequestError
from featurestore.quarantine.dismissal import Dismissal, dismissals, try_dismiss
from featurestore.quarantine.entries import entries, table_of
from featurestore.storage.objects import Storage


def dismiss(
    storage: Storage,
    kind: Literal["pipelines", "views"],
    name: str,
    *,
    because: str,
    by: str,
    now_us: int,
    batch: int | None = None,
    file: int | None = None,
) -> Dismissal | None:
    """What was closed: all that is open, or of one batch, or one file of it. None if nothing was open.

    Raises:
        RequestError: no reason is given.
        StorageError: storage did not answer.
    """
    if not because.strip():
        raise RequestError("a dismissal needs a reason", where="--because", wanted="why it can be set aside")
    table = table_of(storage, kind, name)
    generation = Rebuilds(storage, name).generation() if kind == "pipelines" else 0
    while table is not None:
        number = len(dismissals(storage, table)) + 1
        caught: dict[tuple[int, int], int] = {}
        for item in entries(storage, kind, name):
            if item.is_open and batch in (None, item.batch) and file in (None, item.file):
                key = (item.batch, item.file)
                caught[key] = caught.get(key, 0) + (item.rows or 0)
        if not caught:
            return None
        closing = tuple((*key, rows) for key, rows in sorted(caught.items()))
        dismissal = Dismissal(
            because=because.strip(), by=by, at_us=now_us, entries=closing, generation=generation
        )
        if try_dismiss(storage, table, number, dismissal):
            return dismissal
    return None
