"""What a model reads, as the training set that it was trained on pinned it: features, keys, commits, definitions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import TypeAdapter, ValidationError

from featurestore.client.resolution import Resolution, resolve
from featurestore.client.training_data import TrainingData
from featurestore.errors import NotFound, RequestError, did_you_mean
from featurestore.registry.registry import Registry
from featurestore.resources import FeatureView, OnDemandView, ViewSpec
from featurestore.resources.feature_selection import FeatureSelection, FeatureSelections
from featurestore.resources.model import Model
from featurestore.resources.outputs import Output, outputs
from featurestore.storage.objects import Storage
from featurestore.training.training_manifest import ColumnRole, Pins
from featurestore.views.served import ServedOnDemand, ServedView, ServedViews

_UNDEFINED = {"description"}
"""What a feature may say otherwise without another value."""
_DEFINING: dict[str, Any] = {
    "entity": {"join_keys"},
    "source": True,
    "timestamp_field": True,
    "created_timestamp_field": True,
    "filter": True,
    "ttl": True,
    "on_demand": True,
}
"""What of a view decides the values of all its features."""


class TrainedFeatures(Model):
    """What stands with a model, as JSON can hold it.

    ``store``: root of the storage. ``version`` and ``digest``: of the training set. ``features``: each by its name, so
    that none comes or goes with a view or a service. ``columns``: what the model takes, in its order. ``keys``,
    ``request``: columns that entities must have, and their types.
    """

    store: str
    training_set: str
    version: int
    digest: str
    features: FeatureSelections
    columns: tuple[str, ...]
    keys: dict[str, str]
    request: dict[str, str]
    labels: tuple[str, ...]
    pins: Pins

    @classmethod
    def of(cls, data: TrainingData, columns: Sequence[str] | None = None) -> TrainedFeatures:
        """Those of a training set. ``columns``: that the model takes, if not all features, in their order.

        Raises:
            RequestError: the set was saved ad hoc, or has no such column to be read at inference.
        """
        manifest = data.manifest
        recorded = manifest.definition.get("features")
        if not isinstance(recorded, dict):
            raise RequestError(
                f"the training set {data.name!r} does not say which features it has",
                where="training_set",
                wanted="one that a resource of kind TrainingSet describes",
                got="one that was saved ad hoc",
            )
        by_role = {
            role: {column.name: column.type for column in manifest.columns if column.role is role}
            for role in ColumnRole
        }
        readable = {
            **by_role[ColumnRole.KEY],
            **by_role[ColumnRole.REQUEST],
            **by_role[ColumnRole.FEATURE],
        }
        taken = tuple(by_role[ColumnRole.FEATURE] if columns is None else columns)
        for column in taken:
            if column not in readable:
                raise RequestError(
                    f"there is no column {column!r} that is known at inference",
                    where="columns",
                    hint=did_you_mean(column, readable),
                )
        return cls(
            store=data.store,
            training_set=data.name,
            version=data.number,
            digest=data.digest,
            features=_each_named(
                recorded.get("features") or recorded["names"], [column.feature for column in manifest.columns]
            ),
            columns=taken,
            keys=by_role[ColumnRole.KEY],
            request=by_role[ColumnRole.REQUEST],
            labels=tuple(by_role[ColumnRole.LABEL]),
            pins=manifest.pins,
        )

    @classmethod
    def read(cls, recorded: object, where: str) -> TrainedFeatures:
        """What :meth:`to_dict` gave.

        Raises:
            RequestError: this is not that.
        """
        try:
            return cls.model_validate(recorded)
        except ValidationError as error:
            raise RequestError(
                "the model does not say which features it was trained on",
                where=where,
                wanted="a model that was logged with its training set",
                got=str(recorded)[:200],
            ) from error

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return self.model_dump(mode="json", by_alias=True, exclude_defaults=True)

    def require_same(self, storage: Storage, views: ServedViews) -> None:
        """Raises unless what is read now is defined as it was when the training set was made.

        Definitions are compared, feature by feature: where it comes from and how it is computed. Rows are not, nor what a
        pipeline does before them.

        Raises:
            NotFound: a view or a feature is not there any more.
            RequestError: one is defined otherwise.
            StorageError: storage did not answer.
        """
        for name, why in _changes(self.pins, Registry(storage), resolve(self.features, views)):
            raise RequestError(
                f"the view {name!r} is not what the model was trained on",
                where=f"training set {self.training_set!r}, version {self.version}",
                got=why,
                hint="Train the model again, or pass allow_changed=True to read what there is",
            )


def _each_named(written: Any, references: Sequence[str]) -> tuple[FeatureSelection, ...]:
    """The selections with each feature by its name. ``references``: ``role:feature`` of the training set's columns."""
    named = []
    for selection in TypeAdapter(FeatureSelections).validate_python(written):
        own = [
            reference.partition(":")[2]
            for reference in references
            if reference.partition(":")[0] == selection.called
            and (selection.features is None or reference.partition(":")[2] in selection.features)
        ]
        if own:
            named.append(selection.model_copy(update={"features": tuple(own)}))
    return tuple(named)


def _changes(pins: Pins, registry: Registry, resolution: Resolution) -> Iterator[tuple[str, str]]:
    """Name of each view that is defined otherwise than pinned, and what of it."""
    rows = {view.name: view.spec for view in pins.views}
    on_demand = {view.name: view.spec for view in pins.on_demand}
    for read in resolution.reads:
        was = _spec(registry, FeatureView, read.view.name, rows)
        yield from _differences(read.view, was, read.outputs)
    for computed in resolution.computed:
        was = _spec(registry, OnDemandView, computed.view.name, on_demand)
        yield from _differences(computed.view, was, computed.outputs)


def _spec(
    registry: Registry, model: type[FeatureView] | type[OnDemandView], name: str, pinned: dict[str, str]
) -> ViewSpec | None:
    """The definition that was pinned; None if none was, or it is not kept."""
    if name not in pinned:
        return None
    try:
        return registry.get(model, name, pinned[name]).spec
    except NotFound:
        return None


def _differences(
    view: ServedView | ServedOnDemand, was: ViewSpec | None, used: Sequence[Output]
) -> Iterator[tuple[str, str]]:
    if was is None:
        yield view.name, "the definition of then is not known"
        return
    for field, old, new in _fields(was, view.spec):
        if old != new:
            yield view.name, f"{field} was {old!r}, and is {new!r}"
    before = {output.name: output for output in outputs(was)}
    for output in used:
        if output.name not in before:
            yield view.name, f"there was no feature {output.name!r}"
        elif _defined(before[output.name]) != _defined(output):
            yield view.name, f"the feature {output.name!r} was defined otherwise"


def _fields(was: ViewSpec, now: ViewSpec) -> Iterator[tuple[str, Any, Any]]:
    old, new = (spec.model_dump(mode="json", by_alias=True, include=_DEFINING) for spec in (was, now))
    for field in dict.fromkeys((*old, *new)):
        yield field, old.get(field), new.get(field)


def _defined(output: Output) -> tuple[object, ...]:
    feature = output.feature.model_dump(mode="json", exclude=_UNDEFINED)
    if output.window_us is not None:
        feature["aggregate"].pop("windows")  # another window of it is another output
    return output.type, output.window_us, output.hop_us, feature
