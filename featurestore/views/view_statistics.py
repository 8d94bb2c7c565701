"""Statistics of a view at a commit, as they were kept with it: of all its rows, and of those that came last."""

from __future__ import annotations

from pydantic import Field

from featurestore.errors import NotFound
from featurestore.profiles.column_statistics import ProfiledColumn
from featurestore.resources.feature_view import FeatureViewSpec
from featurestore.resources.model import Model
from featurestore.resources.outputs import aggregate_input
from featurestore.storage import paths
from featurestore.storage.json_record import read_record
from featurestore.storage.objects import Storage

KEPT = 50
"""Records of the newest commits of a build."""
RECENT_ROWS = 1_000
"""The newest batches that have so many rows between them are what came last."""


class RowStatistics(Model):
    """``features``: by name; of an aggregated one, of what goes in."""

    rows: int
    features: dict[str, ProfiledColumn] = Field(default_factory=dict)


class RecentRows(RowStatistics):
    """Of the batches ``first`` … ``last``."""

    first: int
    last: int


class ViewStatistics(Model):
    """Of version ``version`` of the table of the build ``digest``, which holds ``commit`` of the dataset.

    ``every``: of all rows. ``recent``: of the newest batches that have :data:`RECENT_ROWS` rows, or of all if there are
    fewer; None without a row.
    """

    view: str
    digest: str
    version: int
    commit: int
    every: RowStatistics
    recent: RecentRows | None = None


def profiled_columns(spec: FeatureViewSpec) -> dict[str, str]:
    """Name of each feature to the column of the view's table that is profiled."""
    return {
        feature.name: feature.name if feature.aggregate is None else aggregate_input(feature)
        for feature in spec.features
    }


def statistics_versions(storage: Storage, view: str, digest: str) -> list[int]:
    """Versions of the build's table whose statistics are kept, the oldest first."""
    names = storage.names(paths.view_statistics(view, digest))
    numbers = (name.removesuffix(".json") for name in names if name.endswith(".json"))
    return sorted(int(number) for number in numbers if number.isdigit())


def read_statistics(
    storage: Storage, view: str, digest: str, version: int | None = None
) -> ViewStatistics | None:
    """The statistics of a version of the build's table, else of the newest that has them; None if there are none.

    Raises:
        StorageError: storage did not answer.
    """
    if version is None:
        known = statistics_versions(storage, view, digest)
        if not known:
            return None
        version = known[-1]
    path = paths.statistics_record(view, digest, version)
    hint = f"Delete {storage.uri(path)}: the next commit of the view has its own"
    return read_record(storage, path, ViewStatistics, "the statistics of a view", hint)


def statistics_at(storage: Storage, view: str, digest: str, commit: int | None) -> ViewStatistics:
    """The statistics of a commit of the dataset, else the newest.

    Raises:
        NotFound: none are kept of it.
        StorageError: storage did not answer.
    """
    if commit is None:
        newest = read_statistics(storage, view, digest)
        if newest is not None:
            return newest
        known: list[int] = []
    else:
        versions = statistics_versions(storage, view, digest)
        every = [read_statistics(storage, view, digest, version) for version in reversed(versions)]
        match = next(
            (statistics for statistics in every if statistics is not None and statistics.commit == commit),
            None,
        )
        if match is not None:
            return match
        known = sorted({statistics.commit for statistics in every if statistics is not None})
    raise NotFound(
        f"no statistics are kept of the view {view!r}" + ("" if commit is None else f" at commit {commit}"),
        where=storage.uri(paths.view_statistics(view, digest)),
        wanted="one of the last commits",
        got=", ".join(map(str, known)) or "none",
        hint=f"They are kept with each commit, of the last {KEPT}, unless the view says `statistics: Never`",
    )


def forget_statistics_before(storage: Storage, view: str, digest: str, version: int) -> None:
    """Delete what is kept of versions before this one: they may show values of rows that are gone.

    Raises:
        StorageError: storage did not answer.
    """
    folder = paths.view_statistics(view, digest)
    for name in storage.names(folder):
        if name.partition(".")[0].isdigit() and int(name.partition(".")[0]) < version:
            storage.delete(f"{folder}/{name}")
