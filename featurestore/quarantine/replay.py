"""Running again what is in quarantine: a batch like any other, under the newest spec.

So it happens once, however often and by however many it is asked for. What is still broken is then quarantined again,
under the new batch.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from featurestore.arrivals.arrival import Arrival
from featurestore.arrivals.ledger import Ledger
from featurestore.arrivals.manifest import Action, Entry, Manifest
from featurestore.arrivals.source_kinds import open_source
from featurestore.errors import NotFound, RequestError, TransientError, did_you_mean
from featurestore.quarantine.entries import Quarantined, entries
from featurestore.registry.registry import Registry
from featurestore.resources import DataPipeline
from featurestore.resources.data_pipeline import DataPipelineSpec
from featurestore.storage.credentials import source_environ
from featurestore.storage.objects import Storage

ISOLATED = ("file:killed", "file:timeout", "file:unforeseen")
"""Rules of files that were given up: nothing could be seen of what is in them."""


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
            if entry.is_open
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
        elif item.rule in ISOLATED:
            # A run that began before it was given up may have read it after all, and been the first to commit.
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
            raise TransientError("the dataset to look up does not exist yet", got=name)
        versions[name] = result.dataset_version
    return tuple(sorted(versions.items()))
