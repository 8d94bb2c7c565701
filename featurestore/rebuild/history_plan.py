"""What running the history of a pipeline again would take, and its beginning."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from featurestore.arrivals.ledger import Ledger
from featurestore.arrivals.manifest import Action, Manifest
from featurestore.arrivals.rebuild import Rebuild
from featurestore.arrivals.rerun import rerun, runs_by_itself
from featurestore.arrivals.result import BatchResult
from featurestore.arrivals.source import ArrivalSource
from featurestore.arrivals.source_kinds import open_source
from featurestore.errors import Conflict, NotFound, RequestError, TransientError, did_you_mean
from featurestore.failpoint import hit
from featurestore.humanize import count, format_time
from featurestore.registry.registry import Accepted, Registry
from featurestore.resources import DataPipeline, FeatureView
from featurestore.resources.trigger import ArrivalTrigger
from featurestore.storage.credentials import source_environ
from featurestore.storage.objects import Storage

_AT_ONCE = 16
_NAMED = 20
"""So many arrivals that are gone are named in an error."""


@dataclass(frozen=True, slots=True)
class GoneArrival:
    """An arrival that cannot be read any more as it was. ``now``: the version that its place has; None if it is empty."""

    batch: int
    file: int
    uri: str
    version: str
    now: str | None

    def __str__(self) -> str:
        """``raw/a.csv (batch 3, file 0): is gone``."""
        why = (
            "is gone"
            if self.now is None
            else f"has another version now: {self.now}, taken was {self.version}"
        )
        return f"{self.uri} (batch {self.batch}, file {self.file}): {why}"


@dataclass(frozen=True, slots=True)
class HistoryPlan:
    """What would be run again. ``rebuild``: the intent as it would be written.

    ``files``: to be read. ``skipped``: arrivals that a later one replaced, or that were run twice already.
    ``gone``: arrivals that should be read and cannot be. ``views``: what is built anew after it.
    ``replaces``: the rebuild under way whose place it would take.
    """

    rebuild: Rebuild
    batches: int
    files: int
    skipped: int
    gone: tuple[GoneArrival, ...]
    views: tuple[str, ...]
    replaces: Rebuild | None

    @property
    def minutes(self) -> float | None:
        """How long it takes, as long as it took; None if that is not known."""
        return self.rebuild.took_us / 60_000_000 if self.rebuild.took_us else None

    def require_arrivals(self) -> None:
        """Raises RequestError if an arrival is gone."""
        if not self.gone:
            return
        named = [str(each) for each in self.gone[:_NAMED]]
        more = len(self.gone) - len(named)
        raise RequestError(
            f"{count(len(self.gone), 'file')} of {self.files + len(self.gone)} cannot be read any more",
            where=f"pipeline {self.rebuild.pipeline!r}",
            got="; ".join([*named, *([f"{more} more"] if more else [])]),
            hint="Bring them back as they were; or leave them out (--without-gone): their rows are then not in the "
            "dataset any more, and each is in quarantine as file:gone",
        )


def plan_history(
    storage: Storage,
    pipeline: str,
    *,
    now_us: int,
    base: str | None = None,
    from_us: int | None = None,
    to_us: int | None = None,
    source: ArrivalSource | None = None,
) -> HistoryPlan:
    """What it would take to run the arrivals of a pipeline again under its newest spec. Nothing is written.

    ``from_us``, ``to_us``: only batches that were closed at or after, and before these times. ``base``: where relative
    sources begin. ``source``: of the pipeline, where it is open already.

    Raises:
        NotFound: there is no such pipeline.
        RequestError: there is nothing to run again, or the time range cannot be replaced by itself.
        TransientError: a dataset that is looked up is not there yet.
        StorageError: storage or the source did not answer.
    """
    registry = Registry(storage)
    accepted = registry.current(DataPipeline, pipeline)
    if accepted is None:
        hint = did_you_mean(pipeline, registry.names(DataPipeline))
        raise NotFound("no such pipeline", got=repr(pipeline), hint=hint)
    ledger = Ledger(storage, pipeline)
    done = ledger.committed_batch()
    ledger.last_batch()
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        manifests = list(pool.map(ledger.manifest, range(1, done + 1)))
        wanted = [each for each in manifests if _is_within(each, from_us, to_us)]
        results = list(pool.map(ledger.result, [each.number for each in wanted]))
    if not wanted:
        raise _nothing(pipeline, manifests)
    ranged = from_us is not None or to_us is not None
    if ranged:
        _require_exact(accepted, ledger, wanted, manifests)
    newest = ledger.rebuilds.last()
    rebuild = Rebuild(
        pipeline=pipeline,
        uid=ledger.uid(),
        number=newest.number + 1 if newest else 1,
        spec_digest=accepted.digest,
        created_us=now_us,
        last=done,
        pieces=(),
        ranged=ranged,
        lookups=_lookups(storage, accepted),
    )
    again = [rerun(ledger, rebuild, each, done) for each in wanted]
    source = source or open_source(accepted.resource.spec.source, base, source_environ())
    reads = [(m, file) for m in again for file, entry in enumerate(m.entries) if entry.action in _READ]
    gone = _gone(source, reads)
    size_bytes = sum(m.entries[file].arrival.size_bytes for m, file in reads)
    return HistoryPlan(
        rebuild=rebuild.model_copy(
            update={
                "pieces": tuple(_pieces(again, accepted.resource.spec.trigger.arrivals)),
                "rows": sum(result.rows_read for result in results if result is not None),
                "size_bytes": size_bytes,
                "took_us": _took_us(results, size_bytes),
            }
        ),
        batches=len(wanted),
        files=len(reads) - len(gone),
        skipped=sum(entry.action is Action.SKIP for m in again for entry in m.entries),
        gone=tuple(gone),
        views=tuple(
            name
            for name, view in sorted(registry.all(FeatureView).items())
            if view.resource.spec.source.pipeline == pipeline
        ),
        replaces=ledger.rebuilds.open(),
    )


def begin(storage: Storage, plan: HistoryPlan, *, without_gone: bool = False, request: str = "") -> Rebuild:
    """The rebuild, whose intent is written now: from here on it is decided what is run again.

    One that is under way ends here. ``without_gone``: whether arrivals that cannot be read any more are left out.
    ``request``: what asks for it.

    Raises:
        RequestError: arrivals are gone.
        Conflict: another one was begun meanwhile, or the one under way is being promoted.
        StorageError: storage did not answer.
    """
    if not without_gone:
        plan.require_arrivals()
    rebuild = plan.rebuild.model_copy(
        update={"left_out": tuple((each.batch, each.file) for each in plan.gone), "request": request}
    )
    ledger = Ledger(storage, rebuild.pipeline)
    ledger.require_current(rebuild.uid)
    before = ledger.rebuilds.open()
    if before is not None and before.number < rebuild.number:
        _end(ledger, before, f"rebuild {rebuild.number} takes its place", rebuild.created_us)
    if not ledger.rebuilds.try_begin(rebuild):
        raise Conflict("another rebuild was begun meanwhile", where=f"pipeline {rebuild.pipeline!r}")
    hit("after-intent")
    return rebuild


def cancel(storage: Storage, pipeline: str, *, because: str, now_us: int) -> Rebuild:
    """The rebuild that was under way, and is given up now. What is read stays as it is.

    Raises:
        NotFound: none is under way.
        Conflict: it is being promoted already.
        StorageError: storage did not answer.
    """
    ledger = Ledger(storage, pipeline)
    rebuild = ledger.rebuilds.open()
    if rebuild is None:
        raise NotFound("no rebuild is under way", where=f"pipeline {pipeline!r}")
    _end(ledger, rebuild, because, now_us)
    return rebuild


_READ = (Action.TAKE, Action.REPLACE)


def _end(ledger: Ledger, rebuild: Rebuild, because: str, now_us: int) -> None:
    if not ledger.rebuilds.give_up(rebuild.number, because, now_us):
        raise Conflict(
            f"rebuild {rebuild.number} is being promoted",
            where=f"pipeline {ledger.pipeline!r}",
            hint="Ask again when that is done: `featurestore describe pipeline` tells",
        )


def _is_within(manifest: Manifest, from_us: int | None, to_us: int | None) -> bool:
    at_us = manifest.created_us
    return (from_us is None or from_us <= at_us) and (to_us is None or at_us < to_us)


def _nothing(pipeline: str, manifests: Sequence[Manifest]) -> RequestError:
    if not manifests:
        return RequestError(
            "there is no history to run again",
            where=f"pipeline {pipeline!r}",
            got="no batch that is committed",
        )
    times = [each.created_us for each in manifests]
    return RequestError(
        "no batch was closed in this time",
        where=f"pipeline {pipeline!r}",
        wanted=f"from {format_time(min(times))} to {format_time(max(times))}",
        hint="`featurestore history` shows when each batch was closed",
    )


def _require_exact(
    accepted: Accepted[DataPipeline],
    ledger: Ledger,
    wanted: Sequence[Manifest],
    manifests: Sequence[Manifest],
) -> None:
    """Raises RequestError if rows within the range and others depend on each other."""
    where = f"pipeline {accepted.resource.metadata.name!r}"
    hint = "Rebuild all of its history: leave --from and --to away"
    if accepted.resource.spec.deduplicate is not None:
        raise RequestError(
            "a part of history cannot be replaced by itself",
            where=where,
            got="spec.deduplicate: which row of a key stays depends on all of them",
            hint=hint,
        )
    within = {each.number for each in wanted}
    for manifest in manifests:
        for entry in manifest.entries:
            if entry.replays is None or (entry.replays[0] in within) == (manifest.number in within):
                continue
            if not runs_by_itself(entry.replays, ledger.known(entry.arrival.uri)):
                raise RequestError(
                    "a part of history cannot be replaced by itself",
                    where=where,
                    got=f"batch {manifest.number} ran {entry.arrival.uri} of batch {entry.replays[0]} again, and only "
                    "one of them is within the time range",
                    hint=f"Choose a range that has both, or neither. {hint}",
                )


def _lookups(storage: Storage, accepted: Accepted[DataPipeline]) -> tuple[tuple[str, int], ...]:
    versions = {}
    for name in accepted.resource.spec.looked_up:
        result = Ledger(storage, name).last_result()
        if result is None:
            raise TransientError("the dataset to look up is not there yet", got=name)
        versions[name] = result.dataset_version
    return tuple(sorted(versions.items()))


def _gone(source: ArrivalSource, reads: Sequence[tuple[Manifest, int]]) -> list[GoneArrival]:
    """The arrivals that are not what they were. One listing tells of nearly all."""
    arrivals = {(manifest.number, file): manifest.entries[file].arrival for manifest, file in reads}
    uris = {arrival.uri for arrival in arrivals.values()}
    listed = {each.uri: each.version for each in source.arrivals() if each.uri in uris}
    changed = [place for place, each in arrivals.items() if listed.get(each.uri) != each.version]
    gone = []
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        looked = pool.map(lambda place: source.find(arrivals[place]), changed)
        for place, newest in zip(changed, looked, strict=True):
            taken = arrivals[place]
            if newest is None or newest.version != taken.version:
                now = newest.version if newest else None
                gone.append(GoneArrival(*place, taken.uri, taken.version, now))
    return sorted(gone, key=lambda each: (each.batch, each.file))


def _pieces(manifests: Sequence[Manifest], trigger: ArrivalTrigger) -> Iterator[tuple[int, int]]:
    """First and last batch of each piece: neighbours that together are not more than a batch may be."""
    first = last = files = size_bytes = 0
    for manifest in manifests:
        reads = [entry for entry in manifest.entries if entry.action in _READ]
        more = sum(entry.arrival.size_bytes for entry in reads)
        full = files + len(reads) > trigger.max_files or size_bytes + more > trigger.max_bytes
        if first and (full or manifest.number != last + 1):
            yield first, last
            first = files = size_bytes = 0
        first, last = first or manifest.number, manifest.number
        files, size_bytes = files + len(reads), size_bytes + more
    if first:
        yield first, last


def _took_us(results: Sequence[BatchResult | None], size_bytes: int) -> int:
    """How long that many bytes take, by what these batches took; 0 if none of them says."""
    known = [result for result in results if result is not None and result.took_us and result.bytes_read]
    read = sum(result.bytes_read for result in known)
    return sum(result.took_us for result in known) * size_bytes // read if read else 0
