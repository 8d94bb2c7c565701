"""The plan of one view: bring its builds up to the dataset, publish them, promote, retire."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from featurestore.arrivals.rebuild import earlier_histories
from featurestore.humanize import count, entity_count, format_time, sentence
from featurestore.reconcile.conditions import Condition, ConditionType, false, true, unknown
from featurestore.reconcile.draft import PlanDraft
from featurestore.reconcile.reasons import Reason
from featurestore.reconcile.refusals import quarantine_condition, with_nothing_taken
from featurestore.reconcile.state import ObservedPipeline, ObservedView
from featurestore.reconcile.steps import BuildView, Promote, Publish, Retire
from featurestore.registry.registry import Accepted
from featurestore.resources import FeatureView
from featurestore.resources.data_pipeline import Suspend
from featurestore.resources.feature_view import OnlineEnabled
from featurestore.resources.monitoring import Monitoring, OnDrift
from featurestore.resources.outputs import build_digest, without_rebuild
from featurestore.retry import FailureStreak
from featurestore.views.build_trials import BuildIsolation
from featurestore.views.rebuilds import ViewRebuild

CONDITIONS: tuple[ConditionType, ...] = (
    *("Ready", "Progressing", "Materialized"),
    *("OnlineSynced", "QuarantineEmpty", "Degraded"),
)


def plan_view(name: str, accepted: Accepted[FeatureView], draft: PlanDraft) -> None:
    """Fill the draft. Of pipelines only the view's source is read, from what was observed."""
    observed = draft.observed.views.get(name)
    pipeline = accepted.resource.spec.source.pipeline
    source = draft.observed.pipelines.get(pipeline)
    if source is None:
        message = f"There is no pipeline {pipeline!r}."
        draft.blocked = false("Progressing", Reason.PIPELINE_MISSING, message)
        draft.conditions = (
            false("Ready", Reason.PIPELINE_MISSING, message),
            draft.progressing(),
            false("Materialized", Reason.PIPELINE_MISSING, message),
            unknown("OnlineSynced", Reason.PIPELINE_MISSING, message),
            unknown("QuarantineEmpty", Reason.PIPELINE_MISSING, message),
            draft.degraded(),
        )
    elif observed is None or isinstance(observed, FailureStreak):
        draft.conditions = draft.unobserved(observed, CONDITIONS)
    elif isinstance(source, FailureStreak):
        draft.conditions = draft.unobserved(source, CONDITIONS)
    else:
        draft.conditions = _ViewPlan(name, accepted, observed, source, draft).make()


@dataclass
class _ViewPlan:
    name: str
    accepted: Accepted[FeatureView]
    observed: ObservedView
    source: ObservedPipeline
    draft: PlanDraft

    def __post_init__(self) -> None:
        spec = self.accepted.resource.spec
        self.wanted = self.observed.wanted(spec, self.source.uid)
        self.online = spec.online.enabled is OnlineEnabled.ALWAYS
        self.monitoring = spec.monitoring
        self.serving = self.observed.serving.digest if self.observed.serving else None
        self.to_version = self.source.dataset_version
        old = self.observed.serving_spec
        # Commits of two datasets are not to be compared: the view may have been pointed at another pipeline, or its
        # pipeline deleted and created again.
        self.same_dataset = (
            self.serving is not None
            and old is not None
            and build_digest(old, self.source.uid) == without_rebuild(self.serving)
        )
        # All that readers find is in the history that replaced it, too.
        self.replaced = (
            not self.same_dataset
            and old is not None
            and any(
                build_digest(old, uid) == without_rebuild(self.serving or "")
                for uid in earlier_histories(self.source.uid)
            )
        )
        # What readers find is right while it is rebuilt: how it fares is told apart.
        rebuilding = self.serving is not None and without_rebuild(self.serving) == without_rebuild(
            self.wanted
        )
        self.shown = self.serving if rebuilding and self.serving is not None else self.wanted

    def make(self) -> tuple[Condition, ...]:
        """Plan the steps; the view's conditions."""
        draft, observed = self.draft, self.observed
        suspended = self.accepted.resource.spec.suspend is Suspend.SUSPENDED
        if suspended:
            message = "Suspended: nothing is computed or published."
            draft.blocked = false("Progressing", Reason.SUSPENDED, message)
        if observed.online is not None and self.online and not suspended:
            draft.note_failed_look(observed.online)
        for digest in dict.fromkeys((self.wanted, self.shown)):
            if self._promotable(digest):
                draft.add_step(Promote(self.name, digest, self.accepted.digest))
                break
        self._retire()
        if not suspended and self.to_version is not None:
            old = observed.serving_spec
            if self.shown != self.wanted:
                self._advance(self.shown, self.online)
            elif (
                self.serving is not None
                and self.serving != self.wanted
                and old is not None
                and self.same_dataset
            ):
                self._advance(self.serving, old.online.enabled is OnlineEnabled.ALWAYS)
            self._advance(self.wanted, self.online)
        materialized, synced = self._materialized(), self._synced()
        ready, degraded = self._ready(materialized, synced, suspended), draft.degraded()
        build = observed.builds.get(self.shown)
        if build is not None and not build.rows and observed.quarantine:
            message = (
                f"No row of its dataset fits: {observed.quarantine} in quarantine. "
                f"`featurestore quarantine ls {self.name}` shows why."
            )
            ready, degraded = with_nothing_taken(ready, degraded, message)
        quarantine = quarantine_condition(self.name, observed.quarantine)
        rebuilt = () if observed.rebuild is None else (self._rebuilt(observed.rebuild, suspended),)
        drifted = () if self.monitoring is None else (self._drifted(self.monitoring),)
        also = (*self._consistent(), *rebuilt, *drifted, *self._told())
        return (ready, draft.progressing(), materialized, synced, quarantine, *also, degraded)

    def _advance(self, digest: str, online: bool) -> None:
        """One step nearer to a build that holds all of the dataset, and is online."""
        assert self.to_version is not None
        build = self.observed.builds.get(digest)
        behind = build is None or build.source_version < self.to_version
        if behind:
            build_isolation = self.observed.isolations.get(digest, BuildIsolation())
            self.draft.add_step(self._build_step(digest), build_isolation.isolation.streak)
        elif not self._is_measured(digest):
            self.draft.add_step(self._build_step(digest))
        if self._is_held(digest):
            return
        if build is None or not online or self.observed.online is not None:
            return
        published = self.observed.published.get(digest)
        unpublished = published is None or published < build.version
        # While the dataset keeps growing, what is built already is published in the same round.
        if unpublished:
            self.draft.add_step(Publish(self.name, digest, build.version, build.source_version))

    def _build_step(self, digest: str) -> BuildView:
        assert self.to_version is not None
        turn = self.observed.isolations.get(digest, BuildIsolation()).turn
        build, compared_with = self.observed.builds.get(digest), None
        if self.monitoring is not None and build is not None and build.source_version >= self.to_version:
            compared_with = f"{self.monitoring.reference.training_set}/{self.observed.reference}"
        return BuildView(self.name, digest, self.to_version, self.accepted.digest, turn, compared_with)

    def _is_measured(self, digest: str) -> bool:
        """Whether its newest commit was compared with the newest version of the training set, or need not be."""
        build, drift = self.observed.builds.get(digest), self.observed.drifts.get(digest)
        if self.monitoring is None or build is None or digest != self.wanted:
            return True
        return drift is not None and drift.is_of(build.version, self.monitoring, self.observed.reference)

    def _is_held(self, digest: str) -> bool:
        """Whether it is not to be published for its drift, or before that is known."""
        if self.monitoring is None or self.monitoring.on_drift is not OnDrift.HOLD_PUBLISH:
            return False
        if digest != self.wanted:
            return False
        drift = self.observed.drifts.get(digest)
        return not self._is_measured(digest) or (drift is not None and bool(drift.above(self.monitoring)))

    def _drifted(self, monitoring: Monitoring) -> Condition:
        """Whether what came last lies too far from the training set."""
        name, drift = monitoring.reference.training_set, self.observed.drifts.get(self.wanted)
        build = self.observed.builds.get(self.wanted)
        if drift is None or build is None or drift.training_set != name:
            return unknown(
                "Drifted", Reason.NOT_COMPARED, f"Not yet compared with the training set {name!r}."
            )
        if drift.number is None:
            message = f"The training set {name!r} has no complete version to compare with."
            return unknown("Drifted", Reason.NOT_COMPARED, message)
        where = f"version {drift.number} of the training set {name!r}"
        above, left = drift.above(monitoring), self._not_compared()
        if above:
            shown = "; ".join(
                f"{metric} of {feature} is {value:.3g}, above {limit:g}"
                for feature, metric, value, limit in above[:3]
            )
            more = f"; and {len(above) - 3} more" if len(above) > 3 else ""
            return true(
                "Drifted",
                Reason.DRIFTED,
                f"{count(drift.rows, 'row')} that came last, by {where}: {shown}{more}.{left}",
            )
        if not drift.features:
            message = (
                f"No feature can be compared with {where}: it has none of this view's, or too few values."
            )
            return unknown("Drifted", Reason.NOT_COMPARED, message)
        message = (
            f"{count(len(drift.features), 'feature')} compared with {where}: none is above a threshold.{left}"
        )
        return false("Drifted", Reason.WITHIN_THRESHOLDS, message)

    def _not_compared(self) -> str:
        """A sentence that names aggregated features, whose values are not stored; "" if there are none."""
        names = [
            feature.name for feature in self.accepted.resource.spec.features if feature.aggregate is not None
        ]
        if not names:
            return ""
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        return f" Aggregated, and not compared: {', '.join(names[:3])}{more}."

    def _told(self) -> tuple[Condition, ...]:
        """Whether the sink of events takes those of its commits; nothing if there is none."""
        delivery = self.observed.delivery
        if delivery is None:
            return ()
        if delivery.failure is None:
            return (true("EventsDelivered", Reason.DELIVERED, f"{delivery.url} is told of each commit."),)
        message = (
            f"{sentence(delivery.failure.failure)} Commits are told when it does; data does not wait for it."
        )
        return (false("EventsDelivered", Reason.SINK_UNAVAILABLE, message),)

    def _consistent(self) -> tuple[Condition, ...]:
        """Whether entities that were read both ways after they were published were the same; nothing while none were."""
        consistency = self.observed.consistencies.get(self.shown)
        if consistency is None or not self.online:
            return ()
        if consistency.failure is not None:
            message = f"What was published last could not be compared: {consistency.failure}."
            return (unknown("Consistent", Reason.NOT_COMPARED, message),)
        read = f"{entity_count(consistency.entities)} read online and offline"
        if not consistency.differing:
            return (true("Consistent", Reason.UP_TO_DATE, f"{read}: all are the same."),)
        shown = "; ".join(
            f"{_some(difference.outputs)} of the entity of {difference.place}"
            for difference in consistency.differences[:3]
        )
        more = f"; and {consistency.differing - 3} more" if consistency.differing > 3 else ""
        message = (
            f"{read}: {consistency.differing} {'differs' if consistency.differing == 1 else 'differ'} online. {shown}{more}. "
            f"`featurestore rebuild view {self.name}` publishes all of it anew."
        )
        return (false("Consistent", Reason.DIFFERS, message),)

    def _isolating(self, build_isolation: BuildIsolation) -> Condition:
        """``Materialized`` while the row is looked for that ends the process that reads it."""
        isolation = build_isolation.isolation
        assert isolation.last_crash is not None
        caught = f"{count(len(isolation.killers), 'row')} found" if isolation.killers else "none found yet"
        if build_isolation.is_over:
            caught += ", and no more are set aside, because it is hardly the rows"
        at = f", {count(isolation.stop - isolation.first, 'row')} are next" if build_isolation.plan else ""
        return false(
            "Materialized",
            Reason.ISOLATING,
            f"Its build ended the process that made it, and its rows are halved until the one is found that does: "
            f"{caught}{at}. Last: {sentence(isolation.last_crash)}.",
        )

    def _promotable(self, digest: str) -> bool:
        """Whether readers lose nothing by a promotion of the build, and there is something to promote."""
        now = self.observed.serving
        if now is not None and (now.digest, now.spec_digest) == (digest, self.accepted.digest):
            return False
        build = self.observed.builds.get(digest)
        if build is None:
            return False
        before = self.observed.builds.get(now.digest) if now is not None and self.same_dataset else None
        if now is not None and not self.same_dataset:
            enough = None if self.replaced else self.to_version
        else:
            enough = before.source_version if before is not None else None
        if enough is not None and build.source_version < enough:
            return False
        if now is not None and now.digest == digest and self._is_held(digest):
            # Readers find the same rows as before, of which some are online.
            return self.observed.online is None and digest in self.observed.published
        return not self.online or self._holds(digest, build.version)

    def _holds(self, digest: str, version: int) -> bool:
        return self.observed.online is None and self.observed.published.get(digest, -1) >= version

    def _retire(self) -> None:
        if self.observed.online is not None:
            return
        served = self.observed.serving
        for digest in sorted(self.observed.published):
            settled = served is not None and served.spec_digest == self.accepted.digest
            unread = settled and not self.online
            if unread or digest not in (self.wanted, self.serving):
                self.draft.add_step(Retire(self.name, digest))

    def _rebuilt(self, rebuild: ViewRebuild, suspended: bool) -> Condition:
        """Whether readers find what the last rebuild made, else how far it has come."""
        asked = f"Rebuild {rebuild.number}, asked for at {format_time(rebuild.requested_us)},"
        if rebuild.is_read(self.serving):
            return true("Rebuilt", Reason.UP_TO_DATE, f"{asked} is what readers find.")
        if suspended:
            return false("Rebuilt", Reason.SUSPENDED, f"{asked} waits while the view is suspended.")
        if self.to_version is None:
            return false("Rebuilt", Reason.WAITING_FOR_DATA, f"{asked} waits for a first commit.")
        build = self.observed.builds.get(self.wanted)
        keys = [self._build_step(self.wanted).key]
        if build is not None:
            keys.append(Publish(self.name, self.wanted, build.version, build.source_version).key)
        for key in keys:
            attempt = self.draft.observed.attempts.get(key)
            if attempt is not None:
                return false("Rebuilt", *self.draft.explain(attempt, key))
        meanwhile = " Readers find the build before meanwhile." if self.serving is not None else ""
        if build is None or build.source_version < self.to_version:
            at = "nothing yet" if build is None else f"commit {build.source_version}"
            message = f"{asked} holds {at} of the dataset, which is at commit {self.to_version}."
            return false("Rebuilt", Reason.BUILDING, message + meanwhile)
        holds = f"{asked} holds commit {build.source_version}"
        if self.online and not self._holds(self.wanted, build.version):
            return false("Rebuilt", Reason.PUBLISHING, f"{holds}, and is to be published.{meanwhile}")
        return false("Rebuilt", Reason.PROMOTING, f"{holds}, and is about to be read.")

    def _materialized(self) -> Condition:
        build = self.observed.builds.get(self.shown)
        if self.to_version is None:
            pipeline = self.accepted.resource.spec.source.pipeline
            message = f"Pipeline {pipeline!r} has no commit yet."
            self.draft.blocked = self.draft.blocked or false("Progressing", Reason.WAITING_FOR_DATA, message)
            return false("Materialized", Reason.WAITING_FOR_DATA, message)
        if build is not None and build.source_version >= self.to_version:
            message = f"Holds commit {build.source_version} of its dataset."
            return true("Materialized", Reason.UP_TO_DATE, message)
        build_isolation = self.observed.isolations.get(self.shown, BuildIsolation())
        if (
            build_isolation.isolation.halved
            and build_isolation.isolation.first < build_isolation.isolation.stop
        ):
            return self._isolating(build_isolation)
        key = self._build_step(self.shown).key
        attempt = self.draft.observed.attempts.get(key, build_isolation.isolation.streak)
        if attempt is not None:
            return false("Materialized", *self.draft.explain(attempt, key))
        at = "nothing yet" if build is None else f"commit {build.source_version}"
        message = f"Holds {at} of its dataset, which is at commit {self.to_version}."
        return false("Materialized", Reason.BUILDING, message)

    def _synced(self) -> Condition:
        if not self.online:
            return true("OnlineSynced", Reason.NOT_WANTED, "spec.online.enabled is Never.")
        if self.observed.online is not None:
            message = self.draft.explain(self.observed.online)[1]
            return unknown("OnlineSynced", Reason.ONLINE_UNAVAILABLE, message)
        build = self.observed.builds.get(self.shown)
        if build is None:
            return false("OnlineSynced", Reason.NOT_BUILT, "There is nothing to publish yet.")
        if self._holds(self.shown, build.version):
            message = f"The online store holds commit {build.source_version}."
            return true("OnlineSynced", Reason.UP_TO_DATE, message)
        if self._is_held(self.shown) and self._is_measured(self.shown):
            message = (
                f"Commit {build.source_version} is not published: its values have drifted (see Drifted), and "
                "spec.monitoring.onDrift is HoldPublish. A new version of the training set, another threshold or "
                "`onDrift: Alert` lets it go on."
            )
            return false("OnlineSynced", Reason.DRIFTED, message)
        key = Publish(self.name, self.shown, build.version, build.source_version).key
        attempt = self.draft.observed.attempts.get(key)
        if attempt is not None:
            return false("OnlineSynced", *self.draft.explain(attempt, key))
        return false("OnlineSynced", Reason.PUBLISHING, f"Commit {build.source_version} is to be published.")

    def _is_whole(self) -> bool:
        """Whether readers find all of some commit, under the accepted definition."""
        build = self.observed.builds.get(self.shown)
        served = self.observed.serving
        return (
            build is not None
            and served is not None
            and (served.digest, served.spec_digest) == (self.shown, self.accepted.digest)
            and (not self.online or self.observed.published.get(self.shown) is not None)
        )

    def _ready(self, materialized: Condition, synced: Condition, suspended: bool) -> Condition:
        """True while readers find all of a commit, of the accepted definition, and are not late for the next one."""
        if suspended:
            message = "Suspended: nothing is computed or published. What is published can be read."
            return false("Ready", Reason.SUSPENDED, message)
        for condition in (materialized, synced):
            if condition.status != "True":
                if condition.reason in (Reason.BUILDING, Reason.PUBLISHING):
                    stuck = [
                        failure
                        for key, failure in self.draft.observed.stuck.items()
                        if key.split("/")[1] == self.name
                    ]
                    if stuck:
                        return self.draft.unready(Reason.CANNOT_START, f"{' '.join(stuck)}.")
                    if self._is_whole():
                        return self.draft.pending(
                            Reason(condition.reason), condition.message, self.source.done_us
                        )
                keeps = self.serving is not None and self.serving != self.shown
                what = "history" if self.replaced else "definition"
                more = f" Readers use the previous {what} meanwhile." if keeps else ""
                return condition.model_copy(update={"type": "Ready", "message": condition.message + more})
        if self._promotable(self.shown) or self.serving != self.shown:
            return self.draft.unready(Reason.PROMOTING, "Readers are about to read the new definition.")
        build = self.observed.builds[self.shown]
        where = "Offline and online hold" if self.online else "Offline holds"
        return true("Ready", Reason.UP_TO_DATE, f"{where} commit {build.source_version}.")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (" and more" if len(names) > 3 else "")
