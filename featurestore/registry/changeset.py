"""What applying resources would change, said before it is done; then done.

Deciding is a function of values: the desired resources, those accepted before, and facts about datasets.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from featurestore.arrivals.result import BatchResult
from featurestore.humanize import count, size
from featurestore.registry.diff import Difference, differences
from featurestore.registry.registry import Accepted, Registry, document, resource_digest
from featurestore.resources import DataPipeline, FeatureStore, FeatureView, Resource
from featurestore.resources.columns import gone
from featurestore.resources.outputs import build_digest, outputs

DEFINITION = ("entity", "source", "timestampField", "createdTimestampField", "filter", "features")
"""Fields of a view that its stored rows depend on; see ``definition.build_digest``."""

_STEPS = ("columns", "transforms", "expectations", "schemaPolicy", "deduplicate", "source")
"""Fields of a pipeline that the rows of a batch depend on."""

_SETTINGS = {"trigger", "suspend", "resources", "job", "deletionPolicy"}
"""Fields that no row depends on: how and when runs are started, and what becomes of data in the end."""

_READING = {"ttl", "suspend", "resources", "deletionPolicy"}
"""Fields of a view that no stored row depends on."""


class ChangeAction(StrEnum):
    CREATE = "Create"
    UPDATE = "Update"
    UNCHANGED = "Unchanged"


@dataclass(frozen=True, slots=True)
class Dataset:
    """What is known of a pipeline's dataset. ``size_bytes``: of its files as they lie in storage."""

    rows: int
    size_bytes: int
    columns: tuple[str, ...] = ()

    @classmethod
    def after(cls, result: BatchResult) -> Dataset:
        """As the batch left it, which is told without a data engine."""
        return cls(result.dataset_rows, result.dataset_bytes, tuple(result.dataset_columns))


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
        why = "builds" if self.rebuild == "new" else "builds again, beside what serves"
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
    """What becomes of all resources that were given: the store, then pipelines, then views."""

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
            "rowsToRead": sum(change.rows or 0 for change in self.changes),
            "bytesToRead": sum(change.size_bytes or 0 for change in self.changes),
        }


@dataclass(frozen=True, slots=True)
class Before:
    """What was accepted before, and the datasets that there are."""

    store: FeatureStore | None = None
    pipelines: Mapping[str, Accepted[DataPipeline]] = field(default_factory=dict)
    views: Mapping[str, Accepted[FeatureView]] = field(default_factory=dict)
    datasets: Mapping[str, Dataset] = field(default_factory=dict)

    @classmethod
    def of(cls, registry: Registry, datasets: Mapping[str, Dataset]) -> Before:
        """As the registry has it now.

        Raises:
            StorageError: storage did not answer.
        """
        return cls(registry.store(), registry.all(DataPipeline), registry.all(FeatureView), datasets)


def plan(desired: Iterable[Resource], before: Before) -> Changeset:
    """What applying the resources would change. Resources that are not among them stay as they are."""
    stores, pipelines, views = [], [], []
    for resource in desired:
        if isinstance(resource, FeatureStore):
            stores.append(_store(resource, before))
        elif isinstance(resource, DataPipeline):
            pipelines.append(_pipeline(resource, before))
        elif isinstance(resource, FeatureView):
            views.append(_view(resource, before))
    return Changeset((*stores, *pipelines, *views))


def apply(changeset: Changeset, registry: Registry) -> None:
    """Record what the changeset says: a view never stands in the registry before its pipeline does.

    Doing it twice, or after a part of it was done, ends in the same.

    Raises:
        StorageError: storage did not answer; what was recorded until then stays.
    """
    for change in changeset.changes:
        if change.action is not ChangeAction.UNCHANGED:
            registry.accept(change.resource)


def _compared(resource: Resource, old: Resource | None) -> tuple[ChangeAction, tuple[Difference, ...]]:
    if old is None:
        return ChangeAction.CREATE, ()
    found = differences(document(old), document(resource))
    return (ChangeAction.UPDATE if found else ChangeAction.UNCHANGED), found


def _store(store: FeatureStore, before: Before) -> Change:
    action, found = _compared(store, before.store)
    notes = []
    if before.store is not None:
        old, new = before.store.spec, store.spec
        if old.offline.uri != new.offline.uri:
            notes.append("The store is the same, under another URI: nothing is moved")
        if old.online != new.online:
            notes.append(
                "All views are published to the new online store by the next run, from the offline store; "
                "what the old one holds stays there"
            )
    return Change(store, resource_digest(store), action, found, notes=tuple(notes))


def _pipeline(pipeline: DataPipeline, before: Before) -> Change:
    name = pipeline.metadata.name
    accepted = before.pipelines.get(name)
    action, found = _compared(pipeline, accepted.resource if accepted else None)
    changed = {difference.path[1] for difference in found if difference.path[0] == "spec"}
    notes = []
    if changed & set(_STEPS):
        said = ", ".join(field for field in _STEPS if field in changed)
        notes.append(f"{said}: for new batches only; rows that are committed stay as they are")
        notes.append(f"To run what is in quarantine again: featurestore quarantine replay {name}")
    if "deduplicate" in changed:
        notes.append(
            "Rows that are there already are compared with new ones of the same key, not with each other"
        )
    dataset = before.datasets.get(name)
    lost = gone(accepted.resource.spec, pipeline.spec, dataset.columns) if accepted and dataset else ()
    if lost:
        notes.append("Columns that go away are null in new rows; rows that are committed keep them")
        notes += _readers(lost, name, before)
    if any(difference.path[:3] == ("spec", "source", "uri") for difference in found):
        notes.append("Files that were taken from the old place stay taken")
    if action is ChangeAction.UPDATE and changed & _SETTINGS:
        notes.append(f"{', '.join(sorted(changed & _SETTINGS))}: at once")
    return Change(pipeline, resource_digest(pipeline), action, found, gone=lost, notes=tuple(notes))


def _readers(columns: Iterable[str], pipeline: str, before: Before) -> list[str]:
    """Which accepted views read the columns by name."""
    read = {
        view: {
            feature.column or (feature.aggregate and feature.aggregate.column) for feature in spec.features
        }
        | {spec.timestamp_field, spec.created_timestamp_field, *(key.name for key in spec.entity.join_keys)}
        for view, spec in ((name, accepted.resource.spec) for name, accepted in before.views.items())
        if spec.source.pipeline == pipeline
    }
    return [
        f"View {view!r} reads {column!r}"
        for column in columns
        for view, names in read.items()
        if column in names
    ]


def _view(view: FeatureView, before: Before) -> Change:
    accepted = before.views.get(view.metadata.name)
    old = accepted.resource if accepted else None
    action, found = _compared(view, old)
    rebuild = _why(view, old, found)
    dataset = before.datasets.get(view.spec.source.pipeline)
    notes = []
    if rebuild and old is not None:
        notes.append("The build that serves now keeps serving until the new one is complete")
    if rebuild and dataset is None:
        notes.append(
            f"Pipeline {view.spec.source.pipeline!r} has no dataset yet: it is built as batches arrive"
        )
    changed = {difference.path[1] for difference in found if difference.path[0] == "spec"}
    if old is not None and changed & _READING:
        notes.append(f"{', '.join(sorted(changed & _READING))}: at once, nothing is computed again")
    if old is not None and old.spec.online.enabled != view.spec.online.enabled:
        notes.append(f"online.enabled becomes {view.spec.online.enabled.value}: by the next run")
    return Change(
        view,
        resource_digest(view),
        action,
        found,
        rebuild=rebuild,
        rows=dataset.rows if rebuild and dataset else None,
        size_bytes=dataset.size_bytes if rebuild and dataset else None,
        gone=_gone(view, old),
        notes=tuple(notes),
    )


def _why(view: FeatureView, old: FeatureView | None, found: tuple[Difference, ...]) -> str:
    """Why the view's rows must be computed; "" if those that are there serve."""
    if old is None:
        return "new"
    if build_digest(view.spec, "") == build_digest(old.spec, ""):
        return ""
    reasons = [str(it) for it in found if it.path[0] == "spec" and it.path[1] in DEFINITION]
    return "; ".join(reasons)


def _gone(view: FeatureView, old: FeatureView | None) -> tuple[str, ...]:
    if old is None:
        return ()
    now = {output.name for output in outputs(view.spec)}
    return tuple(output.name for output in outputs(old.spec) if output.name not in now)
