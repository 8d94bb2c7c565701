"""Statistics are kept with each commit of a view, and are those of its rows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from featurestore.errors import NotFound
from featurestore.resources import FeatureView
from featurestore.resources.feature_view import StatisticsKept
from featurestore.storage import paths
from featurestore.views.view_statistics import (
    KEPT,
    ViewStatistics,
    read_statistics,
    statistics_at,
    statistics_versions,
)
from featurestore_transforms.views.kept_statistics import _of_file

View = Callable[..., FeatureView]
START = datetime(2013, 1, 1, tzinfo=UTC)


def flights(delays: Any, day: int = 0) -> pl.DataFrame:
    delays = np.asarray(delays)
    return pl.DataFrame(
        {
            "tailnum": [f"N{index % 3}" for index in range(len(delays))],
            "at": [START + timedelta(days=day, minutes=index) for index in range(len(delays))],
            "delay": delays.astype(np.float64),
        },
        schema_overrides={"at": pl.Datetime("us", "UTC")},
    )


@pytest.fixture
def delays(view: View) -> FeatureView:
    total = {"function": "Sum", "column": "delay", "windows": ["1d", "7d"]}
    return view(
        {"name": "delay", "type": "float64", "column": "delay"},
        {"name": "total", "type": "float64", "aggregate": total},
    )


def kept(lake: Any, view: FeatureView, version: int | None = None) -> ViewStatistics:
    found = read_statistics(lake.storage, view.metadata.name, lake.digest(view), version)
    assert found is not None
    return found


def folder(lake: Any, view: FeatureView) -> str:
    return paths.view_statistics(view.metadata.name, lake.digest(view))


def test_each_commit_has_statistics_of_all_rows_up_to_it(lake: Any, delays: FeatureView) -> None:
    lake.accept(delays)
    commits = []
    for day, values in enumerate(([1, 2], [3, 10])):
        lake.append(flights(values, day))
        commits.append(lake.build(delays))
    first, second = (kept(lake, delays, it.version) for it in commits)
    assert (first.commit, first.every.rows, first.every.features["delay"].mean) == (
        commits[0].source_version,
        2,
        1.5,
    )
    assert (second.every.rows, second.every.features["delay"].maximum) == (4, 10)
    # Of an aggregated feature, of what goes in.
    assert second.every.features["total"].mean == 4


def test_what_came_last_are_the_newest_batches_with_a_thousand_rows(lake: Any, delays: FeatureView) -> None:
    lake.accept(delays)
    for day, (count, value) in enumerate([(2000, 1.0), (600, 2.0), (600, 3.0)]):
        lake.append(flights(np.full(count, value), day))
    lake.build(delays)
    recent = kept(lake, delays).recent
    assert recent is not None
    assert (recent.first, recent.last, recent.rows) == (2, 3, 1200)
    assert (recent.features["delay"].minimum, recent.features["delay"].maximum) == (2, 3)


def test_the_same_commit_has_the_same_statistics_whatever_the_memory_and_the_steps(
    new_lake: Callable[[], Any], view: View
) -> None:
    chance, found = np.random.default_rng(3), []
    batches = [chance.normal(10, 5, 3000) for _ in range(3)]
    for memory, at_once in (("64Mi", False), ("1Gi", True)):
        lake = new_lake()
        delays = view({"name": "delay", "type": "float64", "column": "delay"}, resources={"memory": memory})
        lake.accept(delays)
        for day, values in enumerate(batches):
            lake.append(flights(values, day))
            if not at_once or day == len(batches) - 1:
                result = lake.build(delays)
        data = lake.storage.read(paths.statistics_profile("delays", lake.digest(delays), result.version))
        newest = kept(lake, delays)
        found.append((data, newest.every, newest.recent))
    assert found[0] == found[1]


def test_a_small_commit_reads_no_file_of_the_commits_before(
    lake: Any, delays: FeatureView, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def of_file(table: Any, file: Any, *more: Any) -> Any:
        read.append(file.path)
        return _of_file(table, file, *more)

    lake.accept(delays)
    monkeypatch.setattr("featurestore_transforms.views.kept_statistics._of_file", of_file)
    for day in range(4):
        lake.append(flights([day], day))
        lake.build(delays)
    recent = kept(lake, delays).recent
    assert recent is not None
    assert (recent.first, recent.last, recent.rows, recent.features["delay"].mean) == (1, 4, 4, 1.5)
    assert len(read) == len(set(read)) == 4


@pytest.mark.parametrize("lost", [paths.recent_profile, paths.statistics_record])
def test_what_came_last_is_read_again_where_it_was_lost(
    lake: Any, delays: FeatureView, lost: Callable[[str, str, int], str]
) -> None:
    lake.accept(delays)
    lake.append(flights([1, 2]))
    first = lake.build(delays)
    lake.storage.replace(lost("delays", lake.digest(delays), first.version), b"nonsense")
    lake.append(flights([3], 1))
    lake.build(delays)
    recent = kept(lake, delays).recent
    assert recent is not None
    assert (recent.rows, recent.features["delay"].mean) == (3, 2)


def test_rows_that_went_leave_no_trace_in_statistics(lake: Any, delays: FeatureView) -> None:
    lake.accept(delays)
    lake.append(flights([1, 2, 1000]))
    lake.build(delays)
    lake.replace(lambda rows: rows["delay"] == 1000, flights([3], 1))
    lake.build(delays)
    found = kept(lake, delays).every
    assert (found.rows, found.features["delay"].maximum, found.features["delay"].mean) == (3, 3, 2)


def test_statistics_that_were_lost_are_made_again_with_the_next_commit(
    lake: Any, delays: FeatureView
) -> None:
    lake.accept(delays)
    lake.append(flights([1, 2]))
    first = lake.build(delays)
    lake.storage.replace(paths.statistics_profile("delays", lake.digest(delays), first.version), b"nonsense")
    lake.append(flights([3], 1))
    lake.build(delays)
    assert kept(lake, delays).every.features["delay"].mean == 2


def test_a_build_that_was_killed_before_its_statistics_has_them_after_the_next_run(
    lake: Any, delays: FeatureView
) -> None:
    lake.accept(delays)
    lake.append(flights([1, 2]))
    lake.build(delays)
    before = kept(lake, delays)
    lake.storage.delete(folder(lake, delays))
    lake.build(delays)
    assert kept(lake, delays) == before


def test_only_the_newest_statistics_are_kept(
    lake: Any, delays: FeatureView, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("featurestore_transforms.views.kept_statistics.KEPT", 2)
    assert KEPT > 2
    lake.accept(delays)
    for day in range(4):
        lake.append(flights([day], day))
        lake.build(delays)
    assert len(statistics_versions(lake.storage, "delays", lake.digest(delays))) == 2
    assert len([it for it in lake.storage.names(folder(lake, delays)) if it.endswith(".parquet")]) == 1


def test_a_commit_is_found_by_its_number_and_one_that_is_not_kept_is_told(
    lake: Any, delays: FeatureView
) -> None:
    lake.accept(delays)
    lake.append(flights([1]))
    built = lake.build(delays)
    found = statistics_at(lake.storage, "delays", built.digest, built.source_version)
    assert found == statistics_at(lake.storage, "delays", built.digest, None)
    with pytest.raises(NotFound, match="no statistics are kept"):
        statistics_at(lake.storage, "delays", built.digest, 99)


def test_a_view_that_wants_none_keeps_none_and_has_them_again_once_it_wants_them(
    lake: Any, delays: FeatureView
) -> None:
    never = delays.model_copy(
        update={"spec": delays.spec.model_copy(update={"statistics": StatisticsKept.NEVER})}
    )
    lake.accept(never)
    lake.append(flights([1, 2]))
    lake.build(never)
    assert not lake.storage.names(folder(lake, never))
    lake.accept(delays)
    lake.append(flights([3], 1))
    lake.build(delays)
    assert kept(lake, delays).every.features["delay"].mean == 2


def test_a_dataset_without_rows_has_statistics_of_nothing(lake: Any, delays: FeatureView) -> None:
    lake.accept(delays)
    lake.append(flights([]))
    lake.build(delays)
    found = kept(lake, delays)
    assert (found.every.rows, found.recent, found.every.features["delay"].count) == (0, None, 0)
