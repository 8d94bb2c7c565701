"""Statistics of a view on its page, a line a feature, and how far each has drifted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from featurestore.humanize import shown_value
from featurestore.resources.monitoring import Monitoring
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
