"""Statistics of a view on its page, a line a feature, and how far each has drifted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from featurestore.humanize import shown_value
from featurestore.resources.feature_view import FeatureViewSpec
from featurestore.resources.monitoring import Monitoring
from featurestore.server.page.bar_chart import BarChart, limit_chart
from featurestore.training.view_drift import ViewDrift
from featurestore.views.view_statistics import ViewStatistics


@dataclass(frozen=True, slots=True)
class StatisticsLine:
    """``values``: of all rows, in the order of :data:`HEADER`."""

    feature: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DriftMeter:
    """``full``: where the meter ends."""

    feature: str
    metric: str
    value: float
    above: float
    full: float


@dataclass(frozen=True, slots=True)
class DriftHistory:
    """``chart``: of each measurement the greatest value of any feature, and the threshold."""

    metric: str
    above: float
    chart: BarChart


HEADER = ("Empty", "Distinct", "Least", "Median", "Greatest", "Mean", "Deviation")


def statistics_lines(statistics: ViewStatistics) -> list[StatisticsLine]:
    """A line for each feature."""
    return [
        StatisticsLine(
            name,
            (
                f"{column.nulls / column.count:.1%}" if column.count else "",
                *(
                    shown_value(value)
                    for value in (
                        column.distinct,
                        column.minimum,
                        (column.quantiles or {}).get("0.5"),
                        column.maximum,
                        column.mean,
                        column.deviation,
                    )
                ),
            ),
        )
        for name, column in statistics.every.features.items()
    ]


def drift_meters(drift: ViewDrift, monitoring: Monitoring) -> Iterator[DriftMeter]:
    """What is compared with a threshold, feature by feature."""
    for feature, metrics in drift.features.items():
        for rule in monitoring.drift:
            value = metrics.get(rule.metric.value)
            if value is not None:
                full = max(value, 2 * rule.above)
                yield DriftMeter(feature, rule.metric.value, value, rule.above, full)


def drift_histories(drift: ViewDrift, monitoring: Monitoring) -> Iterator[DriftHistory]:
    """How each metric went, from commit to commit; of none that was measured but once."""
    for rule in monitoring.drift:
        metric = rule.metric.value
        points = [
            (
                f"Commit {past.commit}, by version {past.number}: {past.greatest[metric][1]:.3g}, of {past.greatest[metric][0]}",
                past.greatest[metric][1],
            )
            for past in drift.history
            if metric in past.greatest
        ]
        if len(points) > 1:
            yield DriftHistory(metric, rule.above, limit_chart(points, rule.above, metric))


def not_compared(drift: ViewDrift, spec: FeatureViewSpec) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of features that were not compared: the aggregated ones, and the others."""
    left = [feature for feature in spec.features if feature.name not in drift.features]
    return (
        tuple(feature.name for feature in left if feature.aggregate is not None),
        tuple(feature.name for feature in left if feature.aggregate is None),
    )
