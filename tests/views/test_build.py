"""Builds follow their dataset, row for row."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from featurestore.errors import NotFound, SpecError, StorageError
from featurestore.protocol import Progress
from featurestore.registry.registry import Registry
from featurestore.resources import FeatureView
from featurestore.storage import paths
from featurestore.storage.delta import BATCH
from featurestore.views.builds import ActiveBuild, promote, read_build
from featurestore_transforms.views.build import run_build

View = Callable[..., FeatureView]
START = datetime(2013, 1, 1, tzinfo=UTC)


def flights(*delays: int | None, day: int = 0, **columns: Any) -> pl.DataFrame:
    """One row per delay: of aircraft N0, N1, N2, N0 …, an hour apart."""
    return pl.DataFrame(
        {
            "tailnum": [f"N{index % 3}" for index in range(len(delays))],
            "at": [START + timedelta(days=day, hours=index) for index in range(len(delays))],
            "delay": delays,
            **columns,
        },
        schema_overrides={"tailnum": pl.String, "delay": pl.Int64, "at": pl.Datetime("us", "UTC")},
    )


def test_new_rows_become_feature_rows_with_keys_times_and_features(lake: Any, view: View) -> None:
    delays = view()
    lake.accept(delays)
    lake.append(flights(7, None))
    lake.build(delays)
    first, second = lake.features(delays).to_dicts()
    assert first == {
        "tailnum": "N0",
        "event_timestamp": START,
        "created_timestamp": datetime.fromtimestamp(1_600_000_001, UTC),
        "delay": 7,
        "__batch": 1,
        "__file": 0,
        "__row": 0,
    }
    assert second["delay"] is None


def test_the_result_says_how_far_the_build_has_come(lake: Any, view: View) -> None:
    delays = view()
    lake.accept(delays)
    version = lake.append(flights(1, 2, 1000))
    result = lake.build(delays)
    assert (result.view, result.digest) == ("delays", lake.digest(delays))
    assert (result.source_version, result.version) == (version, lake.build_table(delays).version)
    assert (result.rows, result.rows_quarantined) == (2, 1)
    assert result.watermark_us == (START + timedelta(hours=1)).timestamp() * 1_000_000
    assert read_build(lake.storage, "delays", result.digest) == result


def test_each_commit_says_what_it_is_made_of(lake: Any, view: View) -> None:
    delays = view()
    lake.accept(delays)
    version = lake.append(flights(1, 1000))
    result = lake.build(delays)
    [commit, *_] = lake.build_table(delays).history(1)
    assert commit["source_version"] == str(version)
    assert commit["digest"] == lake.digest(delays)
    assert commit["spec_digest"] == Registry(lake.storage).current(FeatureView, "delays").digest
    assert (commit["rows_added"], commit["rows_quarantined"]) == ("1", "1")
    assert commit["watermark_us"] == str(result.watermark_us)
    assert commit["code_version"]


def test_only_new_rows_are_worked_on(lake: Any, view: View) -> None:
    delays = view()
    lake.accept(delays)
    lake.append(flights(1, 2))
    lake.build(delays)
    before = {file.path for file in lake.build_table(delays).files()}
    lake.append(flights(3, day=1))
    told: list[Progress] = []
    run_build(lake.storage, lake.request(delays), told.append)
    after = lake.build_table(delays).files()
    assert sum(file.rows for file in after if file.path not in before) == 1
    assert before < {file.path for file in after}
    assert [(each.step, each.done) for each in told] == [("compute features of delays", 1)]


def test_a_view_that_comes_later_is_filled_from_all_of_its_dataset(lake: Any, view: View) -> None:
    for day in range(3):
        lake.append(flights(day, day=day))
    delays = view()
    lake.accept(delays)
    assert lake.build(delays).rows == 3
    assert lake.features(delays)[BATCH].to_list() == [1, 2, 3]


def test_rows_that_arrive_late_are_rows_like_all_others(lake: Any, view: View) -> None:
    delays = view()
    lake.accept(delays)
    lake.append(flights(1, day=5))
    newest = lake.build(delays).watermark_us
    lake.append(flights(2, day=-5))
    result = lake.build(delays)
    assert (result.rows, result.watermark_us) == (2, newest)


def test_a_request_that_was_done_does_nothing_but_tell_it_again(lake: Any, view: View) -> None:
    delays = view()
    lake.accept(delays)
    lake.append(flights(1, 1000))
    result = lake.build(delays)
    lake.storage.delete(paths.build("delays", result.digest))
    assert lake.build(delays) == result
    assert read_build(lake.storage, "delays", result.digest) == result
    assert lake.build_table(delays).version == result.version


def test_a_request_for_less_than_there_is_does_nothing(lake: Any, view: View) -> None:
    delays = view()
    lake.accept(delays)
    first = lake.append(flights(1))
    lake.append(flights(2))
    newest = lake.build(delays)
    assert lake.build(delays, to_version=first) == newest


def test_a_build_can_be_brought_up_commit_by_commit(lake: Any, view: View) -> None:
    delays = view()
    lake.accept(delays)
    first = lake.append(flights(1))
    lake.append(flights(2))
    assert lake.build(delays, to_version=first).rows == 1
    assert lake.build(delays).rows == 2


def test_a_dataset_without_rows_makes_a_build_without_rows(lake: Any, view: View) -> None:
    delays = view()
    lake.accept(delays)
    lake.append(flights())
    result = lake.build(delays)
    assert (result.rows, result.watermark_us, result.source_version) == (0, None, lake.version)
    lake.append(flights(1))
    assert lake.build(delays).rows == 1


def test_rows_that_the_filter_does_not_let_through_are_neither_features_nor_rejected(
    lake: Any, view: View
) -> None:
    delays = view(filter="delay > 5")
    lake.accept(delays)
    lake.append(flights(1, 9, None))
    result = lake.build(delays)
    assert (result.rows, result.rows_quarantined) == (1, 0)
    assert lake.features(delays)["delay"].to_list() == [9]


def test_a_column_that_came_later_is_null_in_older_rows(lake: Any, view: View) -> None:
    lake.append(flights(1))
    lake.append(flights(2, gate=["B4"]))
    gates = view({"name": "gate", "type": "string", "column": "gate"})
    lake.accept(gates)
    lake.build(gates)
    assert lake.features(gates)["gate"].to_list() == [None, "B4"]


def test_a_column_that_is_not_there_is_an_error_that_names_what_is(lake: Any, view: View) -> None:
    wrong = view({"name": "delay", "type": "int8", "column": "delays"}, timestampField="time")
    lake.accept(wrong)
    lake.append(flights(1))
    with pytest.raises(
        SpecError, match=r"unknown column 'time'.*unknown column 'delays'.*Did you mean 'delay'"
    ):
        lake.build(wrong)


def test_a_type_that_cannot_come_from_its_column_is_an_error_of_the_spec(lake: Any, view: View) -> None:
    wrong = view({"name": "delay", "type": "list<int64>", "column": "delay"}, timestampField="delay")
    lake.accept(wrong)
    lake.append(flights(1))
    with pytest.raises(SpecError, match=r"timestampField.*no unit of time.*list<int64>, got Int64"):
        lake.build(wrong)


def test_a_filter_that_answers_no_question_is_an_error_of_the_spec(lake: Any, view: View) -> None:
    wrong = view(filter="delay + 1")
    lake.accept(wrong)
    lake.append(flights(1))
    with pytest.raises(SpecError, match="true or false"):
        lake.build(wrong)


def test_expressions_are_checked_against_the_dataset(lake: Any, view: View) -> None:
    wrong = view({"name": "late", "type": "int64", "expression": "dely * 2"}, filter="length(delay) > 1")
    lake.accept(wrong)
    lake.append(flights(1))
    with pytest.raises(SpecError, match=r"dely \* 2.*Did you mean 'delay'.*in filter"):
        lake.build(wrong)


def test_a_build_of_a_definition_that_nobody_wants_is_refused(lake: Any, view: View) -> None:
    old, new = view(), view(filter="delay > 5")
    lake.accept(old)
    lake.append(flights(1))
    lake.accept(new)
    with pytest.raises(NotFound, match="changed or deleted"):
        lake.build(old)


def test_the_build_that_serves_is_kept_fresh_until_its_successor_serves(lake: Any, view: View) -> None:
    old, new = view(), view(filter="delay > 5")
    lake.accept(old)
    lake.append(flights(1))
    serving = Registry(lake.storage).current(FeatureView, "delays").digest
    promote(lake.storage, "delays", ActiveBuild(lake.build(old).digest, serving))
    lake.accept(new)
    lake.append(flights(9))
    assert lake.build(old).rows == 2
    assert lake.build(new).rows == 1
    assert lake.features(old)["delay"].to_list() == [1, 9]


def test_a_change_that_does_not_touch_rows_does_not_build_again(lake: Any, view: View) -> None:
    delays, older = view(), view(ttl="3d", tags={"team": "ops"})
    lake.accept(delays)
    lake.append(flights(1))
    result = lake.build(delays)
    lake.accept(older)
    assert lake.build(older) == result


def test_a_version_that_the_dataset_never_had_is_not_taken_for_an_empty_one(lake: Any, view: View) -> None:
    delays = view()
    lake.accept(delays)
    with pytest.raises(StorageError, match="no dataset"):
        lake.build(delays, to_version=1)
    lake.append(flights(1))
    with pytest.raises(StorageError, match="versions up to"):
        lake.build(delays, to_version=9)


def test_files_are_sorted_by_key_and_time_and_pruned_by_time(lake: Any, view: View) -> None:
    delays = view()
    lake.accept(delays)
    lake.append(flights(*range(50)), flights(*range(50), day=-3))
    lake.build(delays)
    [file] = lake.build_table(delays).files()
    rows = pl.read_parquet(lake.storage.uri(f"{lake.build_table(delays).path}/{file.path}"))
    assert rows.equals(rows.sort("tailnum", "event_timestamp"))
    assert file.stats["minValues"]["event_timestamp"] == START - timedelta(days=3)
    assert file.stats["maxValues"]["event_timestamp"] == START + timedelta(hours=49)


def test_a_large_dataset_is_built_in_pieces_and_one_commit(lake: Any, view: View) -> None:
    delays = view(resources={"memory": "64Ki"})
    lake.accept(delays)
    for day in range(4):
        lake.append(flights(*[1] * 400, day=day))
    before = lake.build(delays, to_version=1)
    result = lake.build(delays)
    assert result.rows == 1600
    assert result.version == before.version + 1
    assert len(lake.build_table(delays).files()) > 1


def test_the_created_time_can_come_from_the_data(lake: Any, view: View) -> None:
    delays = view(createdTimestampField="known_at")
    lake.accept(delays)
    lake.append(flights(1, 2, known_at=["2013-01-02T00:00:00+01:00", "soon"]))
    lake.build(delays)
    [created] = lake.features(delays)["created_timestamp"].to_list()
    assert created == datetime(2013, 1, 1, 23, tzinfo=UTC)
    assert lake.rejected_rows(delays)["rule"].to_list() == ["createdTimestampField"]


def test_the_inputs_of_aggregates_are_kept_as_their_functions_need_them(lake: Any, view: View) -> None:
    def aggregate(function: str, kind: str) -> dict[str, Any]:
        of = {"function": function, "column": "delay", "windows": ["1d"]}
        return {"name": function.lower(), "type": kind, "aggregate": of}

    sums = view(
        aggregate("Sum", "int64"),
        aggregate("Count", "int64"),
        aggregate("Mean", "float64"),
        aggregate("ApproxDistinct", "int64"),
    )
    lake.accept(sums)
    lake.append(flights(7, None))
    lake.build(sums)
    inputs = lake.features(sums).select(r"^__in_.*$")
    assert inputs.row(0) == (7, True, 7.0, "7")
    assert inputs.row(1) == (None, None, None, None)
