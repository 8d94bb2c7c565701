"""Rows of erased keys out of a dataset and a quarantine: each in one commit, which says what it removed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version

import polars as pl

from featurestore.arrivals.erasure import ERASURE, Erasure
from featurestore.errors import Conflict, StorageError
from featurestore.storage import paths
from featurestore.storage.delta import BATCH, FILE, ROW, DataFile, Table
from featurestore.storage.objects import Storage
from featurestore_transforms.tables.data_files import discard_uncommitted, write_data_file
from featurestore_transforms.tables.erased_keys import ErasedKeys, Traced
from featurestore_transforms.tables.rewrite import Rewrite, without
from featurestore_transforms.tables.row_changes import IDENTITY, NO_ROWS, scan

_ATTEMPTS = 100
Counts = dict[tuple[int, int], int]


@dataclass(frozen=True, slots=True)
class Removed:
    """``version``: of the table without the rows. ``counts``: ``(batch, file)`` to how many rows of it were removed."""

    version: int
    counts: Counts

    @property
    def rows(self) -> int:
        return sum(self.counts.values())


def erase_dataset(storage: Storage, pipeline: str, erasure: Erasure) -> Removed | None:
    """What was removed from the dataset, now or by a run before; None if there is none.

    Raises:
        Conflict: other writers were always first.
        StorageError: storage did not answer.
    """
    keys = ErasedKeys.of(pipeline, erasure)

    def rewrite(table: Table) -> tuple[Rewrite, Counts]:
        gone = [NO_ROWS]
        if keys.may_hold(erasure, table.schema.names):
            for file in table.files():
                rows = scan(table, [file]).select(*erasure.names, *IDENTITY).collect(engine="streaming")
                gone.append(rows.filter(keys.flags(rows)).select(IDENTITY))
        erased = pl.concat(gone)
        return without(table, table.files(), erased), _counts(erased)

    return _erase(storage, paths.dataset(pipeline), erasure, rewrite)


def erase_quarantine(storage: Storage, pipeline: str, erasure: Erasure, traced: Traced) -> Removed | None:
    """As :func:`erase_dataset`, of the pipeline's quarantine. Reasons that may show a key are blanked."""
    keys = ErasedKeys.of(pipeline, erasure)

    def is_gone(record: str | None, batch: int) -> bool:
        return keys.in_record(record, batch, traced)

    return _erase(storage, paths.quarantine("pipelines", pipeline), erasure, _quarantine(keys, is_gone))


def blank_rejected(storage: Storage, path: str, pipeline: str, erasure: Erasure) -> Removed | None:
    """As :func:`erase_quarantine`, of a build's quarantine, whose rows go with those of the dataset: reasons alone."""
    keys = ErasedKeys.of(pipeline, erasure)
    return _erase(storage, path, erasure, _quarantine(keys, lambda record, batch: False))


def _quarantine(
    keys: ErasedKeys, is_gone: Callable[[str | None, int], bool]
) -> Callable[[Table], tuple[Rewrite, Counts]]:
    """What a quarantine becomes without these rows, and with no reason that may show a key."""

    def rewrite(table: Table) -> tuple[Rewrite, Counts]:
        add: list[DataFile] = []
        remove: list[DataFile] = []
        counts: Counts = {}
        for file in table.files():
            rows = scan(table, [file]).collect(engine="streaming")
            named = list(zip(rows["reason"], rows["record"], rows[BATCH], strict=True))
            gone = pl.Series([is_gone(record, batch) for _, record, batch in named], dtype=pl.Boolean)
            reasons = pl.Series("reason", [keys.blanked(*each) for each in named], pl.String)
            if not gone.any() and reasons.equals(rows["reason"]):
                continue
            for place, n in _counts(rows.filter(gone)).items():
                counts[place] = counts.get(place, 0) + n
            remove.append(file)
            kept = rows.with_columns(reasons).filter(~gone)
            if kept.height:
                add.append(write_data_file(table.storage, table.path, kept))
        return Rewrite(tuple(add), tuple(remove)), counts

    return rewrite


def _erase(
    storage: Storage, path: str, erasure: Erasure, rewrite: Callable[[Table], tuple[Rewrite, Counts]]
) -> Removed | None:
    for attempt in range(1, _ATTEMPTS + 1):
        table = Table.open(storage, path)
        if table is None:
            return None
        if table.committed(ERASURE) >= erasure.number:
            return _recorded(table, erasure)
        new, counts = rewrite(table)
        places = [[batch, file, rows] for (batch, file), rows in sorted(counts.items())]
        try:
            # Also if no row goes: from here on nothing that was begun before can be committed.
            table.commit(
                app_id=ERASURE,
                number=erasure.number,
                add=new.add,
                remove=new.remove,
                metadata={
                    "erasure": str(erasure.number),
                    "rows_erased": str(sum(counts.values())),
                    "erased": json.dumps(places),
                    "code_version": version("featurestore"),
                },
            )
        except Conflict:
            discard_uncommitted(storage, path, new.add)
            if attempt == _ATTEMPTS:
                raise
    raise AssertionError("the last attempt returns or raises")


def _recorded(table: Table, erasure: Erasure) -> Removed:
    for entry in table.history():
        if entry.get("erasure") == str(erasure.number):
            places = json.loads(entry["erased"])
            return Removed(int(entry["version"]), {(batch, file): rows for batch, file, rows in places})
    raise StorageError(
        "the commit of an erasure is gone",
        where=table.storage.uri(table.path),
        wanted=f"erasure {erasure.number}",
    )


def _counts(rows: pl.DataFrame) -> Counts:
    counted = rows.select(BATCH, FILE, ROW).group_by(BATCH, FILE).len().sort(BATCH, FILE)
    return {(batch, file): n for batch, file, n in counted.iter_rows()}
