"""Erasing keys, from the written intent to the signed record. Each step finds what a run before it has done.

    quarantine ─► dataset ─► ledger          of each pipeline
    build ─► online                          of each view: both follow the dataset
    retired builds ─► data files, logs       what nobody reads any more
    record

What is read stays right at every moment: rows go in commits, views and online stores follow as they follow any commit,
and files are deleted last.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import Any

from featurestore.arrivals.erasure import ErasedHistory, Erasure, Erasures
from featurestore.arrivals.ledger import Ledger
from featurestore.arrivals.rebuild import rebuild_application
from featurestore.erasure.coverage import builds_of, cover, definitions
from featurestore.erasure.record import (
    ErasureRecord,
    OnlineErasure,
    SourceWithKeys,
    TableErasure,
    read_erasure_record,
    signed,
)
from featurestore.errors import Conflict, NotFound, TransientError
from featurestore.failpoint import hit
from featurestore.online.index import OnlineIndex, open_index
from featurestore.online.publish import run_publish
from featurestore.protocol import BuildRequest, ErasureRequest, ErasureResult, Progress, PublishRequest
from featurestore.quarantine.dismissal import closed, dismissals, standing
from featurestore.registry.registry import Accepted, Registry
from featurestore.resources import DataPipeline, FeatureView
from featurestore.resources.feature_view import FeatureViewSpec, OnlineEnabled
from featurestore.storage import paths
from featurestore.storage.delta import Table
from featurestore.storage.objects import Storage
from featurestore.timestamps import current_us
from featurestore.views.builds import BuildResult, read_active_build, wanted_build
from featurestore.views.view_statistics import forget_statistics_before
from featurestore_transforms.batch.commit import finished, holds
from featurestore_transforms.erasure.erased_rows import (
    Counts,
    Removed,
    blank_rejected,
    erase_dataset,
    erase_quarantine,
)
from featurestore_transforms.erasure.erased_training import erase_training
from featurestore_transforms.erasure.sweep import Holds, of_records, of_rows, sweep
from featurestore_transforms.tables.erased_keys import ErasedKeys, Traced, trace
from featurestore_transforms.views.build import run_build

_ATTEMPTS = 20
_SENTENCES = {"message", "problem", "where", "wanted", "got", "hint", "because", "by"}
"""Fields of objects in which people, or failures, say something. All others are names and numbers."""


def run_erasure(
    storage: Storage, request: ErasureRequest, progress: Callable[[Progress], None]
) -> ErasureResult:
    """The record of the erasure, which is finished now; those before it are finished first.

    Raises:
        NotFound: there is no such erasure.
        TransientError: a rebuild is being promoted, or a view has not followed one yet.
        StorageError: storage or the online store did not answer.
    """
    erasures = Erasures(storage)
    for number in erasures.numbers():
        if number > request.number:
            break
        erasure = erasures.get(number)
        if erasure is not None and read_erasure_record(storage, number) is None:
            _Run(storage, erasure, progress).run()
    record = read_erasure_record(storage, request.number)
    if record is None:
        raise NotFound("there is no such erasure", got=str(request.number))
    return ErasureResult(number=record.number, record=record.model_dump(mode="json", by_alias=True))


class _Run:
    def __init__(self, storage: Storage, erasure: Erasure, progress: Callable[[Progress], None]) -> None:
        self._storage, self._erasure, self._progress = storage, erasure, progress
        self._registry = Registry(storage)
        self._pipelines = sorted(erasure.pipelines)
        self._views = {
            name: accepted
            for name, accepted in sorted(self._registry.all(FeatureView).items())
            if accepted.resource.spec.source.pipeline in erasure.pipelines
        }
        self._tables: list[TableErasure] = []
        self._online: list[OnlineErasure] = []
        self._sources: Counter[tuple[str, int, int]] = Counter()

    def run(self) -> None:
        """Do all that is left to be done, and write the record."""
        removed: list[tuple[str, Removed | None, Holds]] = []
        for pipeline in self._pipelines:
            self._tell(f"erase rows of {pipeline}")
            keys, traced = ErasedKeys.of(pipeline, self._erasure), self._traced(pipeline)
            ledger = Ledger(self._storage, pipeline)
            self._require_no_promotion(ledger)
            quarantine = erase_quarantine(self._storage, pipeline, self._erasure, traced)
            hit("after-quarantine-erasure")
            dataset = erase_dataset(self._storage, pipeline, self._erasure)
            hit("after-dataset-erasure")
            if dataset is not None:
                self._write_history(ledger, quarantine.counts if quarantine else {})
            hit("after-history-erasure")
            self._forget_attempts(ledger)
            self._blank_texts_of_pipeline(ledger, keys)
            removed.append((paths.quarantine("pipelines", pipeline), quarantine, of_records(keys, traced)))
            removed.append((paths.dataset(pipeline), dataset, of_rows(keys)))
            for each in (quarantine, dataset):
                self._sources.update(
                    {(pipeline, *place): n for place, n in (each.counts if each else {}).items()}
                )
        kept = self._bring_on()
        retired = tuple(self._retire(kept))
        hit("after-retired-erasure")
        for path, removal, of_keys in removed:
            self._sweep(path, removal, of_keys)
        for view, digests in kept.items():
            keys = ErasedKeys.of(self._views[view].resource.spec.source.pipeline, self._erasure)
            self._blank(paths.status("views", view), keys)
            for digest in digests:
                self._sweep(paths.features(view, digest), None, of_rows(keys))
                rejected = paths.rejected_rows(view, digest)
                self._blank_dismissals(rejected, keys)
                blanked = blank_rejected(self._storage, rejected, keys.pipeline, self._erasure)
                self._sweep(rejected, blanked, of_records(keys, {}))
        self._tell("erase rows of training sets")
        self._tables += erase_training(self._storage, self._erasure)
        for view in self._storage.names("features"):
            self._storage.delete(paths.references(view))
        hit("after-training-erasure")
        self._tell("delete what killed writes have left")
        self._storage.delete_unfinished(self._erasure.asked_us)
        hit("before-record-erasure")
        self._record(retired)
        hit("after-record-erasure")

    def _traced(self, pipeline: str) -> Traced:
        accepted = self._registry.current(DataPipeline, pipeline)
        spec = accepted.resource.spec if accepted else None
        return {name: trace(spec, name) if spec else None for name in self._erasure.names}

    def _require_no_promotion(self, ledger: Ledger) -> None:
        """Raises TransientError while a rebuild is being put in the place of history."""
        rebuild = ledger.rebuilds.open()
        decision = ledger.rebuilds.decision(rebuild.number) if rebuild else None
        if rebuild is None or decision is None or not decision.promote:
            return
        dataset = Table.open(self._storage, paths.dataset(ledger.pipeline))
        if dataset is not None and dataset.committed(rebuild_application(rebuild.uid)) >= rebuild.number:
            raise TransientError(
                f"rebuild {rebuild.number} of {ledger.pipeline!r} is being promoted",
                hint="Let `featurestore run` finish it; then `featurestore erase --resume`",
            )

    def _write_history(self, ledger: Ledger, quarantined: Counts) -> None:
        """Tell those who load no data engine what the dataset is now."""
        storage, pipeline = self._storage, ledger.pipeline
        dataset = Table.open(storage, paths.dataset(pipeline))
        assert dataset is not None
        if dataset.committed(ledger.uid()) > ledger.committed_batch():
            finished(storage, ledger.manifest(dataset.committed(ledger.uid())))
        done = ledger.committed_batch()
        before = ledger.last_result()
        if before is None:
            return
        caught: dict[int, dict[int, int]] = {}
        for (batch, file), rows in quarantined.items():
            caught.setdefault(batch, {})[file] = rows
        ledger.erased.put(
            ErasedHistory(
                erasure=self._erasure.number,
                last=done,
                generation=ledger.rebuilds.generation(),
                result=before.model_copy(
                    update={
                        "dataset_version": dataset.version,
                        "open_rows": max(0, before.open_rows - _open_rows(ledger, quarantined)),
                        **holds(dataset, dataset.files()),
                    }
                ),
                caught=caught,
            )
        )

    def _forget_attempts(self, ledger: Ledger) -> None:
        """Forget attempts at batches, and shorten what rebuilds keep of theirs: both have bounds of values."""
        storage, pipeline = self._storage, ledger.pipeline
        storage.delete(f"{paths.ledger(pipeline)}/trials")
        newest, current = ledger.rebuilds.last(), ledger.rebuilds.open()
        for number in range(1, (newest.number if newest else 0) + 1):
            storage.delete(f"{paths.rebuild(pipeline, number)}/trials")
            for n, batch in ledger.rebuilds.batches(number):
                if current is not None and number == current.number:
                    # It is run again, without the keys.
                    if batch.part["erasure"] < self._erasure.number:
                        ledger.rebuilds.forget_batch(number, n)
                elif batch.part:
                    path = paths.rebuilt_batch(pipeline, number, n)
                    short = batch.model_copy(update={"part": {}})
                    storage.replace(path, short.model_dump_json(by_alias=True).encode())

    def _bring_on(self) -> dict[str, list[str]]:
        """Builds and online stores without the rows. View to the digests of its builds that are read or will be."""
        store = self._registry.store()
        index = open_index(self._storage, store.spec) if store else None
        kept: dict[str, list[str]] = {}
        for view, accepted in self._views.items():
            spec = accepted.resource.spec
            ledger = Ledger(self._storage, spec.source.pipeline)
            dataset = Table.open(self._storage, paths.dataset(spec.source.pipeline))
            wanted = wanted_build(self._storage, accepted, ledger.dataset_id())
            serving = read_active_build(self._storage, view)
            kept[view] = list(dict.fromkeys([wanted, *([serving.digest] if serving else [])]))
            # What was kept of attempts at its builds has rows, and bounds of values.
            self._storage.delete(paths.view_trials(view))
            for digest in kept[view]:
                if dataset is None or Table.open(self._storage, paths.features(view, digest)) is None:
                    continue
                built = self._build(view, digest, dataset.version)
                forget_statistics_before(self._storage, view, digest, built.version)
                hit("after-build-erasure")
                if index is not None:
                    self._publish(index, spec, built)
                hit("after-online-erasure")
        return kept

    def _build(self, view: str, digest: str, to_version: int) -> BuildResult:
        request = BuildRequest(root=self._storage.root, view=view, digest=digest, to_version=to_version)
        try:
            built = run_build(self._storage, request, self._progress)
        except NotFound as error:
            raise _built_anew(view, digest) from error
        if not isinstance(built, BuildResult):
            raise Conflict(f"the build of {view!r} is being halved", got=built.message)
        return built

    def _publish(self, index: OnlineIndex, spec: FeatureViewSpec, built: BuildResult) -> None:
        view, digest = built.view, built.digest
        self._tell(f"erase online: {view}")
        held = index.version(view, digest)
        if held is None or spec.online.enabled is not OnlineEnabled.ALWAYS:
            # Also what a publication that never ended has left.
            index.delete(view, digest)
            return
        request = PublishRequest(
            root=self._storage.root,
            view=view,
            digest=digest,
            to_version=built.version,
            commit=built.source_version,
        )
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                published = run_publish(self._storage, request, current_us())
                break
            except Conflict:
                # A runner that publishes what came meanwhile; then it has what is asked for, too.
                if attempt == _ATTEMPTS:
                    raise
        index.forget_earlier(view, digest)
        self._online.append(OnlineErasure(view=view, build=digest, version=published.version))

    def _retire(self, kept: dict[str, list[str]]) -> Iterator[str]:
        """Delete builds that nobody reads, of all views that ever read one of the pipelines."""
        store = self._registry.store()
        index = open_index(self._storage, store.spec) if store else None
        ever = {name for name, spec in definitions(self._storage) if spec.source.pipeline in self._pipelines}
        for view in sorted(ever | kept.keys()):
            moved = self._registry.current(FeatureView, view) if view not in kept else None
            stay = set(kept.get(view, ())) if moved is None else self._read_of(moved)
            if not stay:
                self._storage.delete(paths.serving(view))
            for digest in builds_of(self._storage, view):
                if digest in stay:
                    continue
                if index is not None:
                    index.delete(view, digest)
                self._storage.delete(paths.build(view, digest))
                self._storage.delete(paths.features(view, digest))
                self._storage.delete(paths.view_statistics(view, digest))
                self._storage.delete(paths.rejected_rows(view, digest))
                yield f"{view}/{digest}"

    def _read_of(self, moved: Accepted[FeatureView]) -> set[str]:
        """Builds that stay of a view that reads another pipeline today.

        Raises:
            TransientError: what serves is still of a pipeline whose rows are erased.
        """
        view = moved.resource.metadata.name
        uid = Ledger(self._storage, moved.resource.spec.source.pipeline).dataset_id()
        stay = {wanted_build(self._storage, moved, uid)}
        serving = read_active_build(self._storage, view)
        if serving is not None:
            served = self._registry.get(FeatureView, view, serving.spec_digest).spec
            if served.source.pipeline in self._pipelines:
                raise _built_anew(view, serving.digest)
            stay.add(serving.digest)
        return stay

    def _sweep(self, path: str, removed: Removed | None, of_keys: Holds) -> None:
        self._tell(f"delete files below {path}")
        swept = sweep(self._storage, path, of_keys)
        hit("after-sweep-erasure")
        if removed is None and not (swept.files or swept.log or swept.unread):
            return
        self._tables.append(
            TableErasure(
                path=path,
                commit=removed.version if removed else None,
                rows=removed.rows if removed else 0,
                files=swept.files,
                log=swept.log,
                unread=swept.unread,
            )
        )

    def _blank_texts_of_pipeline(self, ledger: Ledger, keys: ErasedKeys) -> None:
        """What was said of the pipeline, and why somebody dismissed a row or gave a rebuild up."""
        self._blank(paths.status("pipelines", ledger.pipeline), keys)
        self._blank_dismissals(paths.quarantine("pipelines", ledger.pipeline), keys)
        newest = ledger.rebuilds.last()
        for number in range(1, (newest.number if newest else 0) + 1):
            self._blank(f"{paths.rebuild(ledger.pipeline, number)}/decision.json", keys)

    def _blank_dismissals(self, table: str, keys: ErasedKeys) -> None:
        for name in self._storage.names(paths.dismissed(table)):
            self._blank(f"{paths.dismissed(table)}/{name}", keys)

    def _blank(self, path: str, keys: ErasedKeys) -> None:
        """Blank the sentences of a JSON object that hold a key."""
        data = self._storage.find(path)
        value = json.loads(data) if data else None
        blank = _blanked(value, keys)
        if blank != value:
            self._storage.replace(path, json.dumps(blank, separators=(",", ":"), ensure_ascii=False).encode())

    def _record(self, retired: tuple[str, ...]) -> None:
        erasure = self._erasure
        digest = hashlib.sha256("\n".join(erasure.hashes).encode()).hexdigest()
        record = ErasureRecord(
            number=erasure.number,
            entity=erasure.entity,
            keys=len(erasure.hashes),
            hashes=digest,
            asked_us=erasure.asked_us,
            asked_by=erasure.asked_by,
            finished_us=current_us(),
            may_return=any(last is not None for last in erasure.pipelines.values()),
            tables=tuple(self._tables),
            online=tuple(self._online),
            retired=retired,
            sources=tuple(self._named_sources()),
            copies=self._copies(),
            code_version=version("featurestore"),
        )
        data = signed(record, self._storage, os.environ).model_dump_json(by_alias=True).encode()
        self._storage.put_if_absent(paths.erasure_record(erasure.number), data)

    def _named_sources(self) -> Iterator[SourceWithKeys]:
        for (pipeline, batch, file), rows in sorted(self._sources.items()):
            arrival = Ledger(self._storage, pipeline).manifest(batch).entries[file].arrival
            yield SourceWithKeys(
                pipeline=pipeline, uri=arrival.uri, version=arrival.version, batch=batch, rows=rows
            )

    def _copies(self) -> tuple[str, ...]:
        try:
            return cover(self._storage, entity=self._erasure.entity).copies
        except NotFound:
            return ()

    def _tell(self, step: str) -> None:
        self._progress(Progress(step=step, done=0))


def _built_anew(view: str, digest: str) -> TransientError:
    return TransientError(
        f"the view {view!r} is being built anew, and what serves cannot follow any more",
        where=f"build {digest}",
        hint="Let `featurestore run` finish it; then `featurestore erase --resume`",
    )


def _blanked(value: Any, keys: ErasedKeys) -> Any:
    if isinstance(value, list):
        return [_blanked(each, keys) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        name: keys.blanked(each, None)
        if name in _SENTENCES and isinstance(each, str)
        else _blanked(each, keys)
        for name, each in value.items()
    }


def _open_rows(ledger: Ledger, quarantined: Counts) -> int:
    """How many of these rows counted as open: not run again, and not dismissed."""
    dismissed = dismissals(ledger.storage, paths.quarantine("pipelines", ledger.pipeline))
    done = closed(standing(dismissed, ledger.rebuilds))
    rows = 0
    for (batch, file), n in quarantined.items():
        uri = ledger.manifest(batch).entries[file].arrival.uri
        again = any(row.replays == (batch, file) for row in ledger.known(uri))
        rows += 0 if again or (batch, file) in done else n
    return rows
