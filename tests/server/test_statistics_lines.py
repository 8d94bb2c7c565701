"""What the page says of statistics and drift."""

from __future__ import annotations

from featurestore.profiles.column_statistics import ProfiledColumn
from featurestore.resources.monitoring import Monitoring
from featurestore.server.page.statistics_lines import (
    HEADER,
    drift_histories,
    drift_meters,
    statistics_lines,
)
from featurestore.training.view_drift import PastDrift, ViewDrift
from featurestore.views.view_statistics import RowStatistics, ViewStatistics


def test_a_line_has_a_cell_for_each_word_of_the_header_also_of_a_feature_without_values() -> None:
    columns = {
        "empty": ProfiledColumn(count=0, nulls=0, sampled=0),
        "list": ProfiledColumn(count=4, nulls=1, sampled=4),
    }
    found = ViewStatistics(
        view="v", digest="d", version=1, commit=1, every=RowStatistics(rows=4, features=columns)
    )
    lines = statistics_lines(found)
    assert [len(line.values) for line in lines] == [len(HEADER)] * 2
    assert lines[1].values[0] == "25.0%"


def test_each_metric_with_a_threshold_has_a_meter_that_holds_its_value() -> None:
    monitoring = Monitoring.model_validate(
        {
            "reference": {"trainingSet": "s"},
            "drift": [{"metric": "PSI", "above": 0.2}, {"metric": "KS", "above": 0.1}],
        }
    )
    found = ViewDrift(
        version=1, training_set="s", number=1, features={"a": {"PSI": 3.0, "KS": 0.05}, "text": {"PSI": 0.0}}
    )
    meters = list(drift_meters(found, monitoring))
    assert [(it.feature, it.metric, it.value, it.full) for it in meters] == [
        ("a", "PSI", 3.0, 3.0),
        ("a", "KS", 0.05, 0.2),
        ("text", "PSI", 0.0, 0.4),
    ]


def test_a_history_of_a_metric_has_a_bar_for_each_commit_and_the_threshold_between_them() -> None:
    monitoring = Monitoring.model_validate(
        {
            "reference": {"trainingSet": "s"},
            "drift": [{"metric": "PSI", "above": 0.2}, {"metric": "KS", "above": 0.1}],
        }
    )
    values = (0.05, 0.1, 0.8)
    past = tuple(
        PastDrift(commit=commit, number=1, greatest={"PSI": ("a", value)})
        for commit, value in enumerate(values, start=4)
    )
    drift = ViewDrift(version=9, training_set="s", number=1, history=past)
    [history] = drift_histories(drift, monitoring)
    assert (history.metric, history.above) == ("PSI", 0.2)
    chart = history.chart
    assert [bar.title for bar in chart.bars][-1] == "Commit 6, by version 1: 0.8, of a"
    assert [bar.parts[0][2] for bar in chart.bars] == ["good", "good", "bad"]
    # The top of a bar is above the line if, and only if, its value is above the threshold.
    assert chart.limit is not None
    assert [bar.parts[0][0] < chart.limit for bar in chart.bars] == [value > 0.2 for value in values]
    assert "the newest 0.8, 1 above the threshold of 0.2" in chart.label
    once = drift.model_copy(update={"history": past[:1]})
    assert not list(drift_histories(once, monitoring))
