"""What broke a rule: files and rows, why, and how they are run again.

A quarantined file, or the quarantined rows of one, is an entry ``(batch, file)``. It is open until a manifest
replays it: replay writes a batch like any other, under the newest spec, so it happens once however often and by
however many it is asked for. What is still broken is then quarantined again, under the new batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from featurestore.arrivals.arrival import Arrival
from featurestore.arrivals.ledger import Ledger
from featurestore.arrivals.manifest import Action, Entry, Manifest
from featurestore.arrivals.source_kinds import open_source
from featurestore.errors import NotFound, RequestError, TransientError, did_you_mean
from featurestore.registry.registry import Registry
from featurestore.resources import DataPipeline
from featurestore.resources.data_pipeline import DataPipelineSpec
from featurestore.storage import paths
from featurestore.storage.credentials import source_environ
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

    ``reason``: of the first. ``replayed_in``: the batch that runs it again; None while it is open.
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


@dataclass(slots=True)
class _Caught:
    """Rows of one file that one rule caught, while they are counted."""

    first_row: int | None
    reason: str
    uri: str
    version: str
    quarantined_us: int
    rows: int = field(default=0)


def entries(storage: Storage, kind: Literal["pipelines", "views"], name: str) -> list[Quarantined]:
    """What is in the quarantine of a pipeline, or of the build that a view serves; by batch, file and rule.

    Raises:
        StorageError: storage did not answer.
    """
    caught: dict[tuple[int, int, str], _Caught] = {}
    for batch in _read(storage, kind, name, _SUMMARY):
        for row in batch.to_pylist():
            key = (row[BATCH], row[FILE], row["rule"])
            at, number = row["quarantined_at"], row[ROW]
            found = caught.get(key)
            if found is None or (number is not None and (found.first_row or 0) > number):
                rows = found.rows if found else 0
                us = to_us(at)
                found = _Caught(number, row["reason"], row["uri"], row["version"], us, rows)
                caught[key] = found
            found.rows += 1
    ledger = Ledger(storage, name) if kind == "pipelines" and caught else None
    return [
        Quarantined(
            batch=batch,
            file=file,
            rule=rule,
            rows=None if found.first_row is None else found.rows,
            reason=found.reason,
            uri=found.uri,
            version=found.version,
            quarantined_us=found.quarantined_us,
            replayed_in=_replayed_in(ledger, found.uri, batch, file) if ledger else None,
        )
        for (batch, file, rule), found in sorted(caught.items())
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
    found: list[dict[str, Any]] = []
    for piece in _read(storage, kind, name, None):
        for row in piece.to_pylist():
            wanted = ((batch, row[BATCH]), (file, row[FILE]), (rule, row["rule"]))
            if all(asked is None or asked == got for asked, got in wanted):
                found.append(row)
                if len(found) == limit:
                    return found
    return found


def replay(
    storage: Storage,
    pipeline: str,
    *,
    now_us: int,
    base: str | None = None,
    batch: int | None = None,
    file: int | None = None,
) -> Manifest | None:
    """The batch that runs open entries again, under the newest spec; None if none is open.

    Without ``batch`` or ``file`` all are run again whose file still is the version that was taken, but not those
    that ``onOverwrite: Reject`` refuses. ``base``: where relative sources begin. ``now_us``: UTC microseconds now.

    Raises:
        NotFound: there is no such pipeline.
        RequestError: a file is gone or was changed since, or is still refused: nothing is run again.
        StorageError: storage did not answer.
    """
    accepted = Registry(storage).current(DataPipeline, pipeline)
    if accepted is None:
        hint = did_you_mean(pipeline, Registry(storage).names(DataPipeline))
        raise NotFound("no such pipeline", got=repr(pipeline), hint=hint)
    ledger = Ledger(storage, pipeline)
    while True:
        done = ledger.committed_batch()
        wanted = {
            (entry.batch, entry.file): entry
            for entry in entries(storage, "pipelines", pipeline)
            if entry.replayed_in is None
            and entry.batch <= done
            and batch in (None, entry.batch)
            and file in (None, entry.file)
        }
        if not wanted:
            return None
        ready, refused = _part(storage, ledger, accepted.resource.spec, base, wanted.values())
        if refused and (not ready or batch is not None or file is not None):
            raise RequestError(
                "this cannot be run again",
                where=f"the quarantine of {pipeline!r}",
                got="; ".join(refused),
                hint="Bring the file back, or drop it again under a new name",
            )
        manifest = Manifest(
            pipeline=pipeline,
            uid=ledger.uid(),
            number=ledger.last_batch() + 1,
            spec_digest=accepted.digest,
            created_us=now_us,
            entries=tuple(ready),
            lookups=_lookups(storage, accepted.resource.spec),
        )
        if ledger.try_append(manifest):
            return manifest


def _part(
    storage: Storage, ledger: Ledger, spec: DataPipelineSpec, base: str | None, wanted: Iterable[Quarantined]
) -> tuple[list[Entry], list[str]]:
    """Entries of a manifest that runs these again, and why others cannot be."""
    source = open_source(spec.source, base, source_environ())
    manifest = cache(ledger.manifest)
    ready: list[Entry] = []
    refused: list[str] = []
    for item in wanted:
        name = f"{source.noun} {item.file} of batch {item.batch} ({item.uri})"
        taken = manifest(item.batch).entries[item.file]
        now = source.find(taken.arrival)
        if now is None:
            refused.append(f"{name} is gone")
        elif now.version != item.version:
            refused.append(f"{name} was changed: wanted version {item.version}, got {now.version}")
        elif taken.action is Action.REJECT:
            # What the source would do with it today, if it had not come yet.
            others = [row for row in ledger.known(item.uri) if row.version != item.version]
            decided = source.decide(now, others)
            if decided is None or decided.action is Action.REJECT:
                refused.append(f"{name} is still refused: {decided.reason if decided else taken.reason}")
            else:
                ready.append(_again(item, now, decided.replaces))
        elif item.rows is not None and (_renumbers(spec) or _renumbers(_then(storage, manifest(item.batch)))):
            # The numbers of its quarantined rows may not be the source's: all of it is taken anew.
            ready.append(_again(item, now, ((item.batch, item.file),)))
        else:
            ready.append(_again(item, now, ()))
    return ready, refused


def _again(item: Quarantined, arrival: Arrival, replaces: tuple[tuple[int, int], ...]) -> Entry:
    return Entry(arrival, Action.REPLAY, replaces=replaces, replays=(item.batch, item.file))


def _then(storage: Storage, manifest: Manifest) -> DataPipelineSpec:
    """The pipeline as it was when the batch was planned."""
    return Registry(storage).get(DataPipeline, manifest.pipeline, manifest.spec_digest).spec


def _renumbers(spec: DataPipelineSpec) -> bool:
    return any(step.sql is not None or step.python is not None for step in spec.transforms)


def _lookups(storage: Storage, spec: DataPipelineSpec) -> tuple[tuple[str, int], ...]:
    versions = {}
    for name in spec.looked_up:
        result = Ledger(storage, name).last_result()
        if result is None:
            raise TransientError("the dataset to look up is not there yet", got=name)
        versions[name] = result.dataset_version
    return tuple(sorted(versions.items()))


def _replayed_in(ledger: Ledger, uri: str, batch: int, file: int) -> int | None:
    return next((known.batch for known in ledger.known(uri) if known.replays == (batch, file)), None)


def _read(
    storage: Storage, kind: Literal["pipelines", "views"], name: str, columns: list[str] | None
) -> Iterator[pa.RecordBatch]:
    import pyarrow.parquet as pq

    path = paths.quarantine(kind, name)
    if kind == "views":
        serving = read_active_build(storage, name)
        if serving is None:
            return
        path = paths.rejected_rows(name, serving.digest)
    table = Table.open(storage, path)
    for file in sorted(table.files(), key=lambda file: file.path) if table else ():
        with storage.opened(f"{path}/{file.path}") as parquet:
            yield from pq.ParquetFile(parquet).iter_batches(columns=columns)
