"""What broke a rule: files and rows, and why.

A quarantined file, or the quarantined rows of one, is an entry ``(batch, file)``. It is open until a manifest
replays it (``replay.py``), or somebody dismisses it (``dismissal.py``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from featurestore.arrivals.ledger import Ledger
from featurestore.arrivals.rerun import runs_by_itself
from featurestore.quarantine.dismissal import Dismissal, closed, dismissals, standing
from featurestore.storage import paths
from featurestore.storage.delta import BATCH, FILE, ROW, Table
from featurestore.storage.objects import Storage
from featurestore.timestamps import to_us
from featurestore.views.builds import read_active_build

if TYPE_CHECKING:
    import pyarrow as pa

_SUMMARY = [BATCH, FILE, ROW, "rule", "reason", "uri", "version", "quarantined_at"]


@dataclass(frozen=True, slots=True)
class Quarantined:
    """What one rule caught of one file. ``rows``: how many rows, None if it is the file as a whole.

    ``reason``: of the first. ``replayed_in``: the batch that runs it again. ``dismissed``: who closed it, and why.
    """

    batch: int
    file: int
    rule: str
    rows: int | None
    reason: str
    uri: str
    version: str
    quarantined_us: int
    replayed_in: int | None
    dismissed: Dismissal | None = None

    @property
    def is_open(self) -> bool:
        """Whether it waits for somebody's decision."""
        return self.replayed_in is None and self.dismissed is None


@dataclass(slots=True)
class _Caught:
    """Rows of one file that one rule caught, while they are counted."""

    first_row: int | None
    reason: str
    uri: str
    version: str
    quarantined_us: int
    rows: int = field(default=0)


def entries(
    storage: Storage, kind: Literal["pipelines", "views"], name: str, *, newest: int | None = None
) -> list[Quarantined]:
    """What is in the quarantine of a pipeline, or of the build that a view serves; by batch, file and rule.

    ``newest``: only so many records are looked at, of the newest batches.

    Raises:
        StorageError: storage did not answer.
    """
    caught: dict[tuple[int, int, str], _Caught] = {}
    for batch in _read(storage, kind, name, _SUMMARY, newest):
        for row in batch.to_pylist():
            key = (row[BATCH], row[FILE], row["rule"])
            at, number = row["quarantined_at"], row[ROW]
            group = caught.get(key)
            if group is None or (number is not None and (group.first_row or 0) > number):
                rows = group.rows if group else 0
                us = to_us(at)
                group = _Caught(number, row["reason"], row["uri"], row["version"], us, rows)
                caught[key] = group
            group.rows += 1
    ledger = Ledger(storage, name) if kind == "pipelines" and caught else None
    path = table_of(storage, kind, name) if caught else None
    if ledger is not None:
        ledger.rebuilds.generation()
    found_closed = dismissals(storage, path) if path else []
    gone = closed(standing(found_closed, ledger.rebuilds) if ledger else found_closed)
    return [
        Quarantined(
            batch=batch,
            file=file,
            rule=rule,
            rows=None if group.first_row is None else group.rows,
            reason=group.reason,
            uri=group.uri,
            version=group.version,
            quarantined_us=group.quarantined_us,
            replayed_in=_replayed_in(ledger, group.uri, batch, file) if ledger else None,
            dismissed=gone.get((batch, file)),
        )
        for (batch, file, rule), group in sorted(caught.items())
    ]


def rows(
    storage: Storage,
    kind: Literal["pipelines", "views"],
    name: str,
    *,
    batch: int | None = None,
    file: int | None = None,
    rule: str | None = None,
    limit: int = 100,
) -> list[dict[str, Any]]:
    """Rows of the quarantine, at most ``limit``, with the columns of :data:`featurestore.views.schema.QUARANTINE`.

    Raises:
        StorageError: storage did not answer.
    """
    listed: list[dict[str, Any]] = []
    for piece in _read(storage, kind, name, None):
        for row in piece.to_pylist():
            wanted = ((batch, row[BATCH]), (file, row[FILE]), (rule, row["rule"]))
            if all(asked is None or asked == got for asked, got in wanted):
                listed.append(row)
                if len(listed) == limit:
                    return listed
    return listed


def table_of(storage: Storage, kind: Literal["pipelines", "views"], name: str) -> str | None:
    """Where the quarantine's table stands; None if a view serves nothing yet."""
    if kind == "pipelines":
        return paths.quarantine(kind, name)
    serving = read_active_build(storage, name)
    return paths.rejected_rows(name, serving.digest) if serving else None


def _replayed_in(ledger: Ledger, uri: str, batch: int, file: int) -> int | None:
    known = ledger.known(uri)
    promoted = ledger.rebuilds.rebuilt_in(batch, fresh=False)
    for row in known:
        if row.replays != (batch, file):
            continue
        # A rebuild runs the file where it first came: what it finds there is open, whatever was run again before.
        if promoted is None or row.batch > promoted.last or runs_by_itself(row.replays, known):
            return row.batch
    return None


def _read(
    storage: Storage,
    kind: Literal["pipelines", "views"],
    name: str,
    columns: list[str] | None,
    newest: int | None = None,
) -> Iterator[pa.RecordBatch]:
    import pyarrow.parquet as pq

    path = table_of(storage, kind, name)
    table = Table.open(storage, path) if path else None
    files = sorted(table.files(), key=lambda file: file.path) if table else []
    if newest is not None:
        files.sort(key=lambda file: -(file.stats["maxValues"].get(BATCH) or 0))
    read_rows = 0
    for file in files:
        with storage.opened(f"{path}/{file.path}") as parquet:
            for batch in pq.ParquetFile(parquet).iter_batches(columns=columns):
                yield batch if newest is None else batch.slice(0, newest - read_rows)
                read_rows += batch.num_rows
                if newest is not None and read_rows >= newest:
                    return
