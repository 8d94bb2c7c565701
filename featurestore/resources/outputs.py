"""What a view's definition makes: its digest, and the outputs that requests may name."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from featurestore.aggregates.aggregates import AGGREGATES
from featurestore.digest import digest
from featurestore.resources.feature_view import Feature, FeatureViewSpec, ViewSpec
from featurestore.resources.quantity import format_duration
from featurestore.resources.value import ColumnType
from featurestore.timestamps import duration_us

EVENT_TIME, CREATED_TIME = "event_timestamp", "created_timestamp"


@dataclass(frozen=True, slots=True)
class Output:
    """A value that a view serves: a feature, or one window of an aggregated one.

    ``column``: the column of the view's table that it is read or computed from. ``window_us`` and ``hop_us``
    are None unless the feature is an aggregate.
    """

    name: str
    type: ColumnType
    feature: Feature
    column: str
    window_us: int | None = None
    hop_us: int | None = None


def default_hop(window: timedelta) -> timedelta:
    """How far the tail of a window moves at once: 5 min under 12 h, 1 h under 12 d, else 1 d.

    >>> default_hop(timedelta(hours=1)), default_hop(timedelta(days=7))
    (datetime.timedelta(seconds=300), datetime.timedelta(seconds=3600))
    """
    if window < timedelta(hours=12):
        return timedelta(minutes=5)
    return timedelta(hours=1) if window < timedelta(days=12) else timedelta(days=1)


def outputs(spec: ViewSpec) -> tuple[Output, ...]:
    """All outputs of a view, in the order of its features and their windows."""
    made: list[Output] = []
    for feature in spec.features:
        aggregate = feature.aggregate
        if aggregate is None:
            made.append(Output(feature.name, feature.type, feature, feature.name))
            continue
        for window in aggregate.windows:
            hop = aggregate.hop or default_hop(window)
            made.append(
                Output(
                    name=f"{feature.name}_{format_duration(window)}",
                    type=feature.type,
                    feature=feature,
                    column=aggregate_input(feature),
                    window_us=duration_us(window),
                    hop_us=duration_us(hop),
                )
            )
    return tuple(made)


def aggregate_input(feature: Feature) -> str:
    """Column of the view's table that holds what an aggregated feature aggregates."""
    return f"__in_{feature.name}"


def aggregate_input_type(feature: Feature) -> ColumnType:
    """Type of that column: all that the function needs of a value, and no more."""
    assert feature.aggregate is not None
    return ColumnType(AGGREGATES[feature.aggregate.function].keeps or feature.type)


def build_digest(spec: FeatureViewSpec, uid: str, rebuild: int = 0) -> str:
    """Names the build of a definition over the dataset ``uid``.

    Only what changes stored rows counts: not ttl, tags, owner, descriptions, ``online``, ``statistics`` or ``suspend``.
    ``rebuild``: number of the rebuild that was last asked for; 0 before the first.
    """
    definition = spec.model_dump(
        mode="json",
        by_alias=True,
        include={"entity", "source", "timestamp_field", "created_timestamp_field", "filter", "features"},
    )
    for feature in definition["features"]:
        del feature["description"]
        del feature["python"]  # Only a view that has no rows has one.
    named = digest({"definition": definition, "uid": uid})
    return f"{named}-{rebuild}" if rebuild else named


def rebuild_number(build: str) -> int:
    """The number of the rebuild that made this build; 0 if none did.

    >>> rebuild_number("015abd7f5cc57a2d-3"), rebuild_number("015abd7f5cc57a2d")
    (3, 0)
    """
    return int(build.partition("-")[2] or 0)


def without_rebuild(build: str) -> str:
    """What all builds of the same definition over the same dataset have in common.

    >>> without_rebuild("015abd7f5cc57a2d-3"), without_rebuild("015abd7f5cc57a2d")
    ('015abd7f5cc57a2d', '015abd7f5cc57a2d')
    """
    return build.partition("-")[0]
