"""What is there of a pipeline and of a view, looked at without a data engine: for laptop, Job and controller alike."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

from featurestore.arrivals.backlog import Backlog
from featurestore.arrivals.isolation import Isolation
from featurestore.arrivals.ledger import Ledger
from featurestore.arrivals.result import BatchResult
from featurestore.online.consistency import read_consistency
from featurestore.online.index import OnlineIndex
from featurestore.online.versions import OnlineVersion
from featurestore.quarantine.tally import open_of_pipeline, open_of_view
from featurestore.reconcile.state import ObservedPipeline, ObservedView
from featurestore.registry.registry import Accepted, Registry
from featurestore.resources import FeatureView, FeatureViewSpec
from featurestore.resources.outputs import build_digest
from featurestore.retry import FailureStreak
from featurestore.storage import paths
from featurestore.storage.objects import Storage
from featurestore.training.view_drift import newest_reference, read_drift
from featurestore.views.build_trials import BuildIsolation, BuildTrials
from featurestore.views.builds import BuildResult, read_active_build, read_build
from featurestore.views.rebuilds import last_rebuild


def observe_pipeline(ledger: Ledger, result: BatchResult | None, backlog: Backlog | None) -> ObservedPipeline:
    """What there is of a pipeline. ``result``: of its last batch; None before the first.

    ``backlog``: what waits at its source; None while nothing is taken.

    Raises:
        StorageError: storage did not answer.
    """
    head, done = ledger.last_batch(), result.number if result else 0
    return ObservedPipeline(
        uid=ledger.dataset_id(),
        head=head,
        done=done,
        isolation=ledger.isolation(done + 1) if head > done else Isolation(),
        dataset_version=result.dataset_version if result else None,
        checkpoint_is_due=backlog is not None and ledger.checkpoint_is_due(),
        open=backlog.open if backlog else None,
        full=backlog.full if backlog else False,
        waiting=backlog.extent if backlog else None,
        source=backlog.failure if backlog else None,
        files_refused=result.files_refused if result else {},
        took_nothing=result is not None and result.took_nothing,
        quarantine=open_of_pipeline(ledger, result),
        rows_refused=result.broken if result else {},
        rebuild=ledger.rebuild_progress(),
        done_us=result.finished_us if result else None,
        pending_us=ledger.manifest(done + 1).created_us if head > done else None,
    )


class OnlineVersions:
    """Asks an online store which builds it holds; once for each that nobody wants any more and that it does not hold."""

    def __init__(self, storage: Storage, index: OnlineIndex) -> None:
        self._storage, self._index = storage, index
        self._gone: dict[str, set[str]] = {}

    def __call__(self, view: str, wanted: Collection[str]) -> dict[str, OnlineVersion]:
        """Digest to what is held, of the wanted builds of a view and of all that there ever were.

        Raises:
            StorageError: storage or the online store did not answer.
        """
        past = {name.removesuffix(".json") for name in self._storage.names(paths.builds(view))}
        held = {}
        # One that is wanted again, as before a change that was taken back, may be published again.
        gone = self._gone.pop(view, set()) - set(wanted)
        for digest in {*wanted, *past} - gone:
            version = self._index.version(view, digest)
            if version is not None:
                held[digest] = version
            elif digest not in wanted:
                gone.add(digest)
        if gone:
            self._gone[view] = gone
        return held


def observe_view(
    storage: Storage,
    accepted: Accepted[FeatureView],
    source: ObservedPipeline,
    published: Callable[[str, Collection[str]], Mapping[str, OnlineVersion] | FailureStreak],
) -> ObservedView:
    """What there is of the view. ``source``: its pipeline.

    ``published``: as :class:`OnlineVersions`, or the failure of the online store that stands.

    Raises:
        StorageError: storage did not answer.
    """
    name = accepted.resource.metadata.name
    serving = read_active_build(storage, name)
    rebuild = last_rebuild(storage, name)
    wanted = build_digest(accepted.resource.spec, source.uid, rebuild.number if rebuild else 0)
    digests = {wanted}
    spec: FeatureViewSpec | None = None
    if serving is not None:
        digests.add(serving.digest)
        spec = accepted.resource.spec
        if serving.spec_digest != accepted.digest:
            spec = Registry(storage).get(FeatureView, name, serving.spec_digest).spec
    builds: dict[str, BuildResult] = {}
    isolations: dict[str, BuildIsolation] = {}
    for digest in sorted(digests):
        build = read_build(storage, name, digest)
        if build is not None:
            builds[digest] = build
        at = build.source_version if build is not None else 0
        if source.dataset_version is not None and at < source.dataset_version:
            isolation = BuildTrials(storage, name, digest, at).read()
            if isolation.turn:
                isolations[digest] = isolation
    read = builds.get(serving.digest if serving else wanted)
    quarantine = open_of_view(storage, read)
    held = published(name, digests)
    if isinstance(held, FailureStreak):
        view = ObservedView(serving, spec, builds, online=held)
    else:
        versions = {digest: online_version.version for digest, online_version in held.items()}
        entities = {digest: online_version.entities for digest, online_version in held.items()}
        view = ObservedView(serving, spec, builds, versions, entities)
    compared = accepted.resource.spec.online.sample_entities > 0
    checked = {
        digest: read_consistency(storage, name, digest)
        for digest in sorted(digests)
        if compared and digest in view.published
    }
    consistencies = {
        digest: consistency for digest, consistency in checked.items() if consistency is not None
    }
    view = replace(
        view, quarantine=quarantine, rebuild=rebuild, isolations=isolations, consistencies=consistencies
    )
    monitoring = accepted.resource.spec.monitoring
    if monitoring is None:
        return view
    measured = {digest: read_drift(storage, name, digest) for digest in builds}
    drifts = {digest: drift for digest, drift in measured.items() if drift is not None}
    return replace(view, drifts=drifts, reference=newest_reference(storage, monitoring))
