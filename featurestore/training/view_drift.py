"""How far the values of a view that came last lie from those of a training set, as it was last measured."""

from __future__ import annotations

from pydantic import Field

from featurestore.resources.model import Model
from featurestore.resources.monitoring import Monitoring
from featurestore.storage import paths
from featurestore.storage.json_record import read_record
from featurestore.storage.objects import Storage
from featurestore.training.training_versions import complete_numbers

HISTORY = 40
"""Measurements that are remembered beside the last one."""


class PastDrift(Model):
    """What was measured at commit ``commit`` of the dataset, by version ``number`` of the training set.

    ``greatest``: of each metric the feature with the greatest value, and that value.
    """

    commit: int
    number: int
    greatest: dict[str, tuple[str, float]]


class ViewDrift(Model):
    """Of version ``version`` of a build's table, compared with version ``number`` of a training set; None: there was none.

    ``features``: name of each that could be compared to its metrics and their values. ``rows``: that came last.
    ``history``: this measurement and the last :data:`HISTORY` before it that were by the same training set, the oldest first.
    """

    version: int
    training_set: str
    number: int | None
    rows: int = 0
    features: dict[str, dict[str, float]] = Field(default_factory=dict)
    history: tuple[PastDrift, ...] = ()

    def after(self, known: ViewDrift | None, commit: int) -> ViewDrift:
        """The same with its history. ``known``: what was measured before. ``commit``: that this is about."""
        same = known is not None and known.training_set == self.training_set
        before = known.history if known is not None and same else ()
        if self.number is None or not self.features:
            return self.model_copy(update={"history": before})
        greatest: dict[str, tuple[str, float]] = {}
        for feature, metrics in self.features.items():
            for metric, value in metrics.items():
                if metric not in greatest or value > greatest[metric][1]:
                    greatest[metric] = feature, value
        now = PastDrift(commit=commit, number=self.number, greatest=greatest)
        return self.model_copy(update={"history": (*before[-HISTORY:], now)})

    def is_of(self, version: int, monitoring: Monitoring, number: int | None) -> bool:
        """Whether it is of this version and reference."""
        wanted = (version, monitoring.reference.training_set, number)
        return (self.version, self.training_set, self.number) == wanted

    def above(self, monitoring: Monitoring) -> list[tuple[str, str, float, float]]:
        """Feature, metric, value and threshold of all that drifted, the farthest above its threshold first."""
        exceeded = [
            (feature, rule.metric.value, metrics[rule.metric.value], rule.above)
            for feature, metrics in self.features.items()
            for rule in monitoring.drift
            if metrics.get(rule.metric.value, 0.0) > rule.above
        ]
        return sorted(exceeded, key=lambda row: (-row[2] / row[3], row[0], row[1]))

    def greatest(self) -> dict[str, float]:
        """Of each metric the greatest value of any feature."""
        by_metric: dict[str, float] = {}
        for metrics in self.features.values():
            for metric, value in metrics.items():
                by_metric[metric] = max(value, by_metric.get(metric, 0.0))
        return by_metric


def read_drift(storage: Storage, view: str, digest: str) -> ViewDrift | None:
    """What was last measured of a build; None if nothing was.

    Raises:
        StorageError: storage did not answer.
    """
    path = paths.drift(view, digest)
    return read_record(storage, path, ViewDrift, "what drift was measured", f"Delete {storage.uri(path)}")


def record_drift(storage: Storage, view: str, digest: str, drift: ViewDrift) -> None:
    """Keep it for those who load no data engine."""
    storage.replace(paths.drift(view, digest), drift.model_dump_json(by_alias=True).encode())


def newest_reference(storage: Storage, monitoring: Monitoring) -> int | None:
    """Number of the newest complete version of the training set; None if there is none.

    Raises:
        StorageError: storage did not answer.
    """
    return max(complete_numbers(storage, monitoring.reference.training_set), default=None)
