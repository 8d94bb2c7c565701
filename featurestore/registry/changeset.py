"""What applying resources would change: shown first, then done.

Deciding is a function of values: the desired resources, those accepted before, and facts about datasets.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any

from featurestore.arrivals.result import BatchResult
from featurestore.humanize import count, size
from featurestore.registry.diff import Difference, differences
from featurestore.registry.registry import R, Registry, document, resource_digest
from featurestore.resources import (
    DataPipeline,
    FeatureService,
    FeatureStore,
    FeatureView,
    OnDemandView,
    Resource,
    View,
)
from featurestore.resources.columns import gone
from featurestore.resources.kinds import KINDS, kind_name, kind_of, references
from featurestore.resources.outputs import build_digest, outputs

DEFINITION = ("entity", "source", "timestampField", "createdTimestampField", "filter", "features")
"""Fields of a view that its stored rows depend on; see ``definition.build_digest``."""

STEPS = ("columns", "transforms", "expectations", "schemaPolicy", "deduplicate", "source")
"""Fields of a pipeline that the rows of a batch depend on."""

_SETTINGS = {"trigger", "suspend", "resources", "job", "deletionPolicy"}
"""Fields that no row depends on: how and when runs are started, and what becomes of data in the end."""

_READING = {"ttl", "suspend", "resources", "deletionPolicy"}
"""Fields of a view that no stored row depends on."""


class ChangeAction(StrEnum):
    CREATE = "Create"
    UPDATE = "Update"
    UNCHANGED = "Unchanged"
    DELETE = "Delete"


@dataclass(frozen=True, slots=True)
class Dataset:
    """What is known of a pipeline's dataset. ``size_bytes``: of its files as they lie in storage.

    ``columns``: name to the name of its type.
    """

    rows: int
    size_bytes: int
    columns: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def after(cls, result: BatchResult) -> Dataset:
        """As the batch left it, which is told without a data engine."""
        return cls(result.dataset_rows, result.dataset_bytes, result.dataset_columns)


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of one resource.

    ``rebuild``: why the view's rows must be computed again; "" if they need not. ``rows``, ``size_bytes``:
    what that reads; None if the dataset is not there yet. ``gone``: features, or columns of the dataset, that
    readers find no more. ``notes``: what else follows, as sentences.
    """

    resource: Resource
    digest: str
    action: ChangeAction
    differences: tuple[Difference, ...] = ()
    rebuild: str = ""
    rows: int | None = None
    size_bytes: int | None = None
    gone: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def reads(self) -> str:
        """What computing the rows reads, in words; "" if they need not be computed, or there is nothing to read yet."""
        if not self.rebuild or self.rows is None:
            return ""
        why = "builds" if self.rebuild == "new" else "rebuilds beside the build that serves"
        return f"{why}: reads {count(self.rows, 'row')}, {size(self.size_bytes or 0)}"

    def to_dict(self) -> dict[str, Any]:
        return {
            "kind": self.resource.kind,
            "name": self.resource.metadata.name,
            "action": self.action.value,
            "digest": self.digest,
            "differences": [difference.to_dict() for difference in self.differences],
            "rebuild": self.rebuild,
            "rowsToRead": self.rows,
            "bytesToRead": self.size_bytes,
            "columnsGone": list(self.gone),
            "notes": list(self.notes),
        }


@dataclass(frozen=True, slots=True)
class Changeset:
    """What becomes of the given resources, in the order of the table of kinds."""

    changes: tuple[Change, ...]

    @property
    def is_empty(self) -> bool:
        """True if applying changes nothing."""
        return all(change.action is ChangeAction.UNCHANGED for change in self.changes)

    def count(self, action: ChangeAction) -> int:
        return sum(change.action is action for change in self.changes)

    def to_dict(self) -> dict[str, Any]:
        """As JSON, for ``-o json``."""
        return {
            "changes": [change.to_dict() for change in self.changes],
            "create": self.count(ChangeAction.CREATE),
            "update": self.count(ChangeAction.UPDATE),
            "unchanged": self.count(ChangeAction.UNCHANGED),
            "delete": self.count(ChangeAction.DELETE),
            "rowsToRead": sum(change.rows or 0 for change in self.changes),
            "bytesToRead": sum(change.size_bytes or 0 for change in self.changes),
        }


@dataclass(frozen=True)
class Before:
    """What was accepted before, and the datasets that there are."""

    resources: tuple[Resource, ...] = ()
    datasets: Mapping[str, Dataset] = field(default_factory=dict)

    @classmethod
    def of(cls, registry: Registry, datasets: Mapping[str, Dataset]) -> Before:
        """As the registry has it now.

        Raises:
            StorageError: storage did not answer.
        """
        store = registry.store()
        resources: list[Resource] = [] if store is None else [store]
        for kind in KINDS.values():
            if not kind.only_one:
                resources += (accepted.resource for accepted in registry.all(kind.model).values())
        return cls(tuple(resources), datasets)

    @cached_property
    def _by_kind(self) -> dict[str, dict[str, Resource]]:
        by_kind: dict[str, dict[str, Resource]] = {}
        for resource in self.resources:
            by_kind.setdefault(resource.kind, {})[resource.metadata.name] = resource
        return by_kind

    def all(self, model: type[R]) -> dict[str, R]:
        """Those of a kind, by name."""
        by_name = self._by_kind.get(kind_name(model), {})
        return {name: resource for name, resource in by_name.items() if isinstance(resource, model)}

    def missing(self, resource: Resource) -> list[tuple[str, str]]:
        """Kind and name of each missing resource that a resource refers to."""
        named = {(kind, name) for kind, _, name in references(resource)}
        return sorted(key for key in named if key[1] not in self._by_kind.get(key[0], {}))

    def readers(self, kind: str, name: str) -> list[Resource]:
        """What refers to a resource, except itself."""
        return [
            resource
            for resource in self.resources
            if (resource.kind, resource.metadata.name) != (kind, name)
            and any((kind, name) == (its, other) for its, _, other in references(resource))
        ]


def plan(desired: Iterable[Resource], before: Before, *, prune: bool = False) -> Changeset:
    """What applying the resources would change.

    Resources that are not among them stay as they are, or with ``prune`` are deleted: their data stays.
    """
    desired, order = tuple(desired), list(KINDS)
    changes = sorted(
        (_change(resource, before) for resource in desired),
        key=lambda change: order.index(change.resource.kind),
    )
    deleted = [_deleted(resource) for resource in left_out(desired, before)] if prune else []
    return Changeset((*changes, *deleted))


def left_out(desired: Iterable[Resource], before: Before) -> list[Resource]:
    """Accepted resources that are not among those desired; whatever reads others comes before them."""
    wanted, order = {(resource.kind, resource.metadata.name) for resource in desired}, list(KINDS)
    left = [
        resource
        for resource in before.resources
        if not kind_of(resource).only_one and (resource.kind, resource.metadata.name) not in wanted
    ]
    return sorted(left, key=lambda resource: -order.index(resource.kind))


def _deleted(resource: Resource) -> Change:
    kept = "Its data stays; `featurestore delete --data` deletes it as well"
    notes = ("It is not in the files", *([kept] if kind_of(resource).has_data else []))
    return Change(resource, resource_digest(resource), ChangeAction.DELETE, notes=notes)


def apply(changeset: Changeset, registry: Registry) -> None:
    """Record the changeset in the registry; nothing is recorded before what it refers to.

    Doing it twice, or after a part of it was done, ends in the same.

    Raises:
        StorageError: storage did not answer; what was recorded until then stays.
    """
    for change in changeset.changes:
        if change.action is ChangeAction.DELETE:
            registry.remove(type(change.resource), change.resource.metadata.name)
        elif change.action is not ChangeAction.UNCHANGED:
            registry.accept(change.resource)


def _compared(resource: Resource, old: Resource | None) -> tuple[ChangeAction, tuple[Difference, ...]]:
    if old is None:
        return ChangeAction.CREATE, ()
    differing = differences(document(old), document(resource))
    return (ChangeAction.UPDATE if differing else ChangeAction.UNCHANGED), differing


def _change(resource: Resource, before: Before) -> Change:
    match resource:
        case FeatureStore():
            return _store(resource, before)
        case DataPipeline():
            return _pipeline(resource, before)
        case FeatureView():
            return _view(resource, before)
    # A mere list: nothing is made of it, and it is read as it stands.
    action, differing = _compared(resource, before.all(kind_of(resource).model).get(resource.metadata.name))
    if isinstance(resource, OnDemandView):
        old = before.all(OnDemandView).get(resource.metadata.name)
        lost = _gone(resource, old)
        notes = _feature_readers(lost, resource.metadata.name, before)
        return Change(resource, resource_digest(resource), action, differing, gone=lost, notes=tuple(notes))
    return Change(resource, resource_digest(resource), action, differing)


def _store(store: FeatureStore, before: Before) -> Change:
    # There is one of them, whatever its name was.
    accepted = next(iter(before.all(FeatureStore).values()), None)
    action, differing = _compared(store, accepted)
    notes = []
    if accepted is not None:
        old, new = accepted.spec, store.spec
        if old.offline.uri != new.offline.uri:
            notes.append("The store is the same, under another URI: nothing is moved")
        if old.online != new.online:
            notes.append(
                "All views are published to the new online store by the next run, from the offline store; "
                "what the old one holds stays there"
            )
    return Change(store, resource_digest(store), action, differing, notes=tuple(notes))


def _pipeline(pipeline: DataPipeline, before: Before) -> Change:
    name = pipeline.metadata.name
    accepted = before.all(DataPipeline).get(name)
    action, differing = _compared(pipeline, accepted)
    changed = {difference.path[1] for difference in differing if difference.path[0] == "spec"}
    notes = []
    if changed & set(STEPS):
        steps = ", ".join(field for field in STEPS if field in changed)
        notes.append(f"{steps}: for new batches only; committed rows stay as they are")
        notes.append(f"To run them again: featurestore rebuild pipeline {name} --plan")
        notes.append(f"To run what is in quarantine again: featurestore quarantine replay {name}")
    if "deduplicate" in changed:
        notes.append("Existing rows are compared with new ones of the same key, not with each other")
    dataset = before.datasets.get(name)
    lost = gone(accepted.spec, pipeline.spec, dataset.columns) if accepted and dataset else ()
    if lost:
        notes.append("Removed columns are null in new rows; committed rows keep them")
        notes += _readers(lost, name, before)
    if any(difference.path[:3] == ("spec", "source", "uri") for difference in differing):
        notes.append("Files that were taken from the old place stay taken")
    if action is ChangeAction.UPDATE and changed & _SETTINGS:
        notes.append(f"{', '.join(sorted(changed & _SETTINGS))}: at once")
    return Change(pipeline, resource_digest(pipeline), action, differing, gone=lost, notes=tuple(notes))


def _readers(columns: Iterable[str], pipeline: str, before: Before) -> list[str]:
    """Which accepted views read the columns by name."""
    read = {
        view: {
            feature.column or (feature.aggregate and feature.aggregate.column) for feature in spec.features
        }
        | {spec.timestamp_field, spec.created_timestamp_field, *(key.name for key in spec.entity.join_keys)}
        for view, spec in ((name, view.spec) for name, view in before.all(FeatureView).items())
        if spec.source.pipeline == pipeline
    }
    return [
        f"View {view!r} reads {column!r}"
        for column in columns
        for view, names in read.items()
        if column in names
    ]


def _feature_readers(features: Iterable[str], view: str, before: Before) -> list[str]:
    """Which accepted services, and views on demand, read the features by name."""
    lists = {
        f"Service {name!r}": service.spec.features for name, service in before.all(FeatureService).items()
    }
    lists |= {f"View {name!r}": view.spec.on_demand.inputs for name, view in before.all(OnDemandView).items()}
    read = {
        reader: {
            feature for selection in inputs if selection.view == view for feature in selection.features or ()
        }
        for reader, inputs in lists.items()
    }
    return [
        f"{reader} reads {feature!r}"
        for feature in features
        for reader, names in read.items()
        if feature in names
    ]


def _view(view: FeatureView, before: Before) -> Change:
    old = before.all(FeatureView).get(view.metadata.name)
    action, differing = _compared(view, old)
    rebuild = _why(view, old, differing)
    dataset = before.datasets.get(view.spec.source.pipeline)
    notes = []
    if rebuild and old is not None:
        notes.append("The build that serves now keeps serving until the new one is complete")
    if rebuild and dataset is None:
        notes.append(
            f"Pipeline {view.spec.source.pipeline!r} has no dataset yet: it is built as batches arrive"
        )
    changed = {difference.path[1] for difference in differing if difference.path[0] == "spec"}
    if old is not None and changed & _READING:
        notes.append(f"{', '.join(sorted(changed & _READING))}: at once, nothing is computed again")
    lost = _gone(view, old)
    notes += _feature_readers(lost, view.metadata.name, before)
    if old is not None and old.spec.online.enabled != view.spec.online.enabled:
        notes.append(f"online.enabled becomes {view.spec.online.enabled.value}: by the next run")
    return Change(
        view,
        resource_digest(view),
        action,
        differing,
        rebuild=rebuild,
        rows=dataset.rows if rebuild and dataset else None,
        size_bytes=dataset.size_bytes if rebuild and dataset else None,
        gone=lost,
        notes=tuple(notes),
    )


def _why(view: FeatureView, old: FeatureView | None, differing: tuple[Difference, ...]) -> str:
    """Why the view's rows must be computed; "" if the existing ones will do."""
    if old is None:
        return "new"
    if build_digest(view.spec, "") == build_digest(old.spec, ""):
        return ""
    reasons = [
        str(difference)
        for difference in differing
        if difference.path[0] == "spec" and difference.path[1] in DEFINITION
    ]
    return "; ".join(reasons)


def _gone(view: View, old: View | None) -> tuple[str, ...]:
    if old is None:
        return ()
    now = {output.name for output in outputs(view.spec)}
    return tuple(output.name for output in outputs(old.spec) if output.name not in now)
