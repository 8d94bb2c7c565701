"""Whether a request is about the past or about now: never by omission, and offline and online alike."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from featurestore.errors import RequestError

SECOND = 1_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
N1_THEN = 2**53 + 1


def at(second: int) -> datetime:
    return EPOCH + timedelta(seconds=second)


@pytest.fixture
def store(request: pytest.FixtureRequest, place: Any) -> Any:
    """Both views published at second 2100; N2's newest value then is −7, N1's null."""
    for name in ("delays", "routes"):
        assert place.connect().describe(name)["online"] == "Never"
    return request.getfixturevalue("online_in_duckdb").connect()


@pytest.mark.parametrize("make", [dict, pd.DataFrame, pl.DataFrame, pa.table])
def test_a_column_event_timestamp_is_the_time_of_each_row_though_nothing_names_it(
    store: Any, make: Any
) -> None:
    labels = make({"tailnum": ["N1", "N1"], "event_timestamp": [at(1500), at(2050)]})
    result = store.get_features("delays:delay", labels)
    assert result.to_dict()["delay"] == [N1_THEN, None]
    assert result.timestamp_column == "event_timestamp"
    assert repr(result).endswith("[2 rows, as of the times in 'event_timestamp']")


def test_event_timestamp_as_text_is_the_time_too(store: Any) -> None:
    labels = [{"tailnum": "N1", "event_timestamp": "1970-01-01T00:25:00Z"}]
    assert store.get_features("delays:delay", labels).to_dict()["delay"] == [N1_THEN]


def test_event_timestamp_that_holds_no_times_is_refused_with_both_ways(store: Any) -> None:
    labels = [{"tailnum": "N1", "event_timestamp": 1500}]
    with pytest.raises(
        RequestError, match=r"does not hold times.*got int64.*Convert it.*get_online_features"
    ):
        store.get_features("delays:delay", labels)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("t", datetime(2020, 1, 1)),
        ("label_time", at(1500)),
        ("day", date(2020, 1, 1)),
        ("at", "1970-01-01T00:25:00Z"),  # what the view calls the time of its events
        ("at", 1500),
    ],
)
def test_another_column_of_times_is_refused_with_both_ways_named(store: Any, column: str, value: Any) -> None:
    rows = [{"tailnum": "N1", column: value}]
    with pytest.raises(RequestError) as refused:
        store.get_features("delays:delay", rows)
    assert f"timestamp_column='{column}'" in str(refused.value)
    assert "get_online_features()" in str(refused.value)


@pytest.mark.parametrize(
    "index",
    [
        pd.DatetimeIndex([at(1500)], name="event_timestamp"),
        pd.DatetimeIndex([at(1500)]),
        pd.Index(["1970-01-01T00:25:00Z"], name="event_timestamp"),
        pd.MultiIndex.from_tuples([("x", at(1500))], names=["row", "t"]),
        pd.Index([1500], name="at"),
    ],
)
def test_times_in_the_index_of_a_pandas_frame_are_not_ignored(store: Any, index: pd.Index) -> None:
    labels = pd.DataFrame({"tailnum": ["N1"]}, index=index)
    with pytest.raises(RequestError, match=r"about the past or about now.*reset_index\(\)"):
        store.get_features("delays:delay", labels)
    assert store.get_online_features("delays:delay", labels).to_dict()["delay"] == [None]
    timed = labels.assign(event_timestamp=at(1500))
    assert store.get_features("delays:delay", timed).to_dict()["delay"] == [N1_THEN]


def test_a_named_column_counts_and_not_event_timestamp(store: Any) -> None:
    labels = {"tailnum": ["N1"], "event_timestamp": [at(2050)], "t": [at(1500)]}
    result = store.get_features("delays:delay", labels, timestamp_column="t")
    assert (result.to_dict()["delay"], result.timestamp_column) == ([N1_THEN], "t")


def test_feasts_online_call_reads_now_whatever_columns_there_are(store: Any) -> None:
    rows = [{"tailnum": "N2", "event_timestamp": at(1), "booked": at(2)}]
    result = store.get_online_features("delays:delay", rows)
    assert (result.to_dict()["delay"], result.timestamp_column) == ([-7], None)


def test_as_of_goes_with_event_timestamp(store: Any) -> None:
    labels = {"tailnum": ["N1"], "event_timestamp": [at(2050)]}
    assert store.get_features("delays:delay", labels, as_of=at(1500)).to_dict()["delay"] == [N1_THEN]


def test_feasts_historical_call_takes_the_only_column_of_times(store: Any) -> None:
    labels = pd.DataFrame({"tailnum": ["N1"], "when": [at(1500)]})
    result = store.get_historical_features(entity_df=labels, features=["delays:delay"])
    assert (result.to_dict()["delay"], result.timestamp_column) == ([N1_THEN], "when")
    with pytest.raises(RequestError, match=r"time of each row is not known.*of times: \['when', 'then'\]"):
        store.get_historical_features(labels.assign(then=at(1)), ["delays:delay"])
    with pytest.raises(RequestError, match=r"time of each row is not known.*of times: \[\]"):
        store.get_historical_features(labels[["tailnum"]], ["delays:delay"])


EMPTY = [[], {}, pd.DataFrame(), pl.DataFrame(), pa.table({})]
TYPED = {"tailnum": pa.string(), "delay": pa.int64(), "note": pa.string(), "flights_1d": pa.int64()}


@pytest.mark.parametrize("empty", EMPTY, ids=lambda it: type(it).__module__)
def test_no_entities_are_answered_with_no_rows_of_the_columns_that_rows_would_have(
    store: Any, empty: Any
) -> None:
    for result in (store.get_features("delays", empty), store.get_online_features("delays", empty)):
        assert (len(result), dict(zip(*columns(result), strict=True))) == (0, TYPED)
    result = store.get_historical_features(empty, ["delays"])
    assert dict(zip(*columns(result), strict=True)) == TYPED | {"event_timestamp": pa.timestamp("us", "UTC")}


@pytest.mark.parametrize(
    "empty", [{"tailnum": []}, pd.DataFrame({"tailnum": []}), pd.DataFrame({"tailnum": []}, dtype="float64")]
)
def test_a_key_column_without_rows_has_the_keys_type(store: Any, empty: Any) -> None:
    assert store.get_features("delays", empty).to_arrow().schema.field("tailnum").type == pa.string()


def test_a_frame_without_rows_that_lacks_a_key_is_refused(store: Any) -> None:
    with pytest.raises(RequestError, match="needs a join key"):
        store.get_features("delays", {"tail": []})


@pytest.mark.parametrize("rows", [[{}], pd.DataFrame(index=[1, 2])])
def test_rows_without_columns_are_not_taken_for_no_rows(store: Any, rows: Any) -> None:
    with pytest.raises(RequestError, match=r"the rows are empty|rows but no columns"):
        store.get_features("delays", rows)


def columns(result: Any) -> tuple[list[str], list[pa.DataType]]:
    return result.to_arrow().column_names, result.to_arrow().schema.types


@pytest.mark.parametrize("index", [["b", "a"], [7, 7], pd.MultiIndex.from_tuples([("x", 1), ("y", 2)])])
def test_the_index_of_a_pandas_frame_is_kept(store: Any, index: Any) -> None:
    rows = pd.DataFrame({"tailnum": ["N1", "N2"]}, index=index)
    for result in (
        store.get_features("delays", rows),
        store.get_online_features("delays", rows),
        store.get_historical_features(rows.assign(event_timestamp=at(1500)), "delays"),
    ):
        pd.testing.assert_index_equal(result.to_df().index, rows.index)
        assert result.to_df()["tailnum"].tolist() == ["N1", "N2"]


def test_event_times_of_values_stand_beside_them_offline_and_online_alike(store: Any) -> None:
    rows = {"tailnum": ["N2", "N1", "N9"]}
    online = store.get_features("delays", rows, include_event_timestamps=True)
    names = ["delay", "delay__ts", "note", "note__ts", "flights_1d", "flights_1d__ts"]
    assert online.to_arrow().column_names == ["tailnum", *names]
    for name in names[1::2]:
        assert online.to_dict()[name] == [at(1000), at(2000), None]
    labels = {**rows, "event_timestamp": [at(2100)] * 3}
    offline = store.get_features("delays", labels, include_event_timestamps=True)
    assert offline.to_arrow().select(names).equals(online.to_arrow().select(names))
    earlier = store.get_historical_features(
        {"tailnum": ["N1"], "event_timestamp": [at(1999)]}, "delays:delay"
    )
    assert earlier.to_dict(include_event_timestamps=True)["delay__ts"] == [at(1000)]
    assert earlier.to_df(include_event_timestamps=True)["delay__ts"].tolist() == [pd.Timestamp(at(1000))]
    assert earlier.to_df().columns.tolist() == ["tailnum", "event_timestamp", "delay"]


def test_the_event_time_of_a_value_that_is_too_old_tells_how_old(store: Any, place: Any) -> None:
    place.clock.us = 10**5 * SECOND
    result = store.get_features("delays:delay", [{"tailnum": "N2"}], include_event_timestamps=True)
    assert result.to_dict() == {"tailnum": ["N2"], "delay": [None], "delay__ts": [at(1000)]}


def test_a_column_of_event_times_never_takes_the_place_of_another(store: Any) -> None:
    with pytest.raises(RequestError, match="two columns would have the name 'delay__ts'"):
        store.get_features("delays:delay", [{"tailnum": "N2", "delay__ts": 1}], include_event_timestamps=True)


def test_underscores_as_feast_has_them_are_taken_in_every_name_of_a_view(place: Any) -> None:
    place.accept("on-time", place.connect()._views.accepted("delays").resource.spec.model_dump(by_alias=True))
    place.serve("on-time", [], 3, 0)
    store = place.connect()
    labels = {"tailnum": ["N1"], "event_timestamp": [at(1)]}
    result = store.get_features(["on_time:delay"], labels, full_feature_names=True)
    assert result.to_arrow().column_names[-1] == "on_time__delay"
    assert store.describe("on_time")["name"] == "on-time"
    store.wait_fresh("on_time", 3, timeout=0)


def test_what_a_user_of_feast_writes_by_habit_works(store: Any) -> None:
    assert store.get_online_features(features=["delays:delay"], entity_rows=[]).to_dict() == {
        "tailnum": [],
        "delay": [],
    }
    frame = store.get_online_features(features=["delays:delay"], entity_rows=[{"tailnum": "N2"}]).to_df()
    assert isinstance(frame, pd.DataFrame)
    assert frame.to_dict("records") == [{"tailnum": "N2", "delay": -7}]
