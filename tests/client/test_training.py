"""Features at the times of a column: what training reads."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from featurestore.errors import NotFound, RequestError
from featurestore.registry.registry import Registry
from featurestore.resources import FeatureView
from featurestore.views.value_status import Status

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
KINDS = {
    "dict": lambda columns: columns,
    "dicts": lambda columns: pl.DataFrame(columns).to_dicts(),
    "pandas": pd.DataFrame,
    "polars": pl.DataFrame,
    "arrow": pa.table,
}


def at(*seconds: int) -> list[datetime]:
    return [EPOCH + timedelta(seconds=second) for second in seconds]


@pytest.mark.parametrize("kind", KINDS)
def test_each_row_of_any_frame_is_answered_in_order_with_its_extra_columns(place: Any, kind: str) -> None:
    labels = {
        "late": [True, False, True, True, False],
        "tailnum": ["N2", "N1", None, "N1", "N1"],
        "event_timestamp": at(1500, 1999, 1500, 2000, 1999),
    }
    features = ["delays:delay", "delays:note", "delays:flights_1d"]
    result = place.connect().get_features(features, KINDS[kind](labels), timestamp_column="event_timestamp")
    assert result.to_arrow().column_names == [
        "late",
        "tailnum",
        "event_timestamp",
        "delay",
        "note",
        "flights_1d",
    ]
    got = result.to_dict()
    assert got["late"] == labels["late"]
    assert got["tailnum"] == labels["tailnum"]
    assert got["delay"] == [-7, 2**53 + 1, None, None, 2**53 + 1]
    assert got["note"] == ["", "é", None, None, "é"]
    assert got["flights_1d"] == [1, 1, None, 1, 1]
    assert result.statuses()["delay"] == [
        Status.PRESENT,
        Status.PRESENT,
        Status.NOT_FOUND,
        Status.NULL_VALUE,
        Status.PRESENT,
    ]


def test_views_of_several_entities_are_joined_at_once_in_the_order_of_the_request(place: Any) -> None:
    labels = {"tailnum": ["N2"], "origin": ["JFK"], "number": [7], "t": ["1970-01-01T00:20:00Z"]}
    result = place.connect().get_features(
        ["delays:note", "routes:delay", "delays:delay"],
        labels,
        timestamp_column="t",
        full_feature_names=True,
    )
    assert result.to_arrow().column_names[4:] == ["delays__note", "routes__delay", "delays__delay"]
    assert result.to_dict()["routes__delay"] == [0.5]
    assert list(result.statuses()) == ["delays__note", "routes__delay", "delays__delay"]


def test_a_star_means_all_of_a_view_and_repeating_a_feature_changes_nothing(place: Any) -> None:
    result = place.connect().get_features(
        ["delays:*", "delays:delay"], {"tailnum": ["N1"], "t": at(1000)}, timestamp_column="t"
    )
    assert result.to_arrow().column_names == ["tailnum", "t", "delay", "note", "flights_1d"]


def test_feasts_call_answers_the_same(place: Any) -> None:
    labels = pd.DataFrame({"tailnum": ["N1"], "event_timestamp": at(1000)})
    store = place.connect()
    asked = store.get_features(
        ["delays:delay"], labels, timestamp_column="event_timestamp", full_feature_names=True
    )
    feast = store.get_historical_features(
        entity_df=labels, features=["delays:delay"], full_feature_names=True
    )
    assert feast.to_arrow().equals(asked.to_arrow())
    assert feast.to_dict()["delays__delay"] == [2**53 + 1]


def test_a_null_time_gives_nulls_and_keeps_its_row(place: Any) -> None:
    result = place.connect().get_features(
        ["delays:delay"], {"tailnum": ["N1", "N1"], "t": [None, *at(1000)]}, timestamp_column="t"
    )
    assert result.to_dict()["delay"] == [None, 2**53 + 1]
    assert result.statuses()["delay"][0] is Status.NOT_FOUND


@pytest.mark.parametrize(
    "as_of", [EPOCH + timedelta(seconds=1500), "1970-01-01T00:25:00", "1970-01-01T01:25:00+01:00"]
)
def test_as_of_answers_with_what_was_known_then(place: Any, as_of: Any) -> None:
    labels = {"tailnum": ["N1"], "t": at(2500)}
    store = place.connect()
    assert store.get_features(["delays:delay"], labels, timestamp_column="t", as_of=as_of).to_dict()[
        "delay"
    ] == [2**53 + 1]
    assert store.get_features(["delays:delay"], labels, timestamp_column="t").to_dict()["delay"] == [None]


def test_no_labels_give_no_rows_with_typed_columns(place: Any) -> None:
    result = place.connect().get_features(["delays:delay"], {"tailnum": [], "t": []}, timestamp_column="t")
    assert len(result) == 0
    assert result.to_arrow().schema.field("delay").type == pa.int64()


@pytest.mark.parametrize(
    ("features", "entities", "arguments", "error", "message"),
    [
        (
            ["delay:delay"],
            {"tailnum": ["a"], "t": at(1)},
            {},
            NotFound,
            "there is no view 'delay'. Did you mean 'delays'",
        ),
        (
            ["delays:dely"],
            {"tailnum": ["a"], "t": at(1)},
            {},
            NotFound,
            "has no feature 'dely'.*Did you mean 'delay'",
        ),
        (
            ["delays:delay"],
            {"tail": ["a"], "t": at(1)},
            {},
            RequestError,
            "'delays' needs a join key.*Did you mean 'tail'",
        ),
        (
            ["delays:delay"],
            {"tailnum": [1], "t": at(1)},
            {},
            RequestError,
            "wrong type.*'tailnum'.*wanted string, got int64",
        ),
        (
            ["routes:delay"],
            {"origin": ["J"], "t": at(1)},
            {},
            RequestError,
            "wanted a column 'number' of type int32",
        ),
        (
            ["delays:delay"],
            {"tailnum": ["a"]},
            {},
            RequestError,
            "there is no such timestamp column.*wanted a column 't'",
        ),
        (
            ["delays:delay"],
            {"tailnum": ["a"], "t": [1]},
            {},
            RequestError,
            "does not hold times.*column 't'.*got int64",
        ),
        (
            ["delays:delay", "routes:delay"],
            {"t": []},
            {},
            RequestError,
            "two columns.*'delay'.*full_feature_names=True",
        ),
        (
            ["delays:delay"],
            {"tailnum": ["a"], "delay": [1], "t": at(1)},
            {},
            RequestError,
            "delays:delay, and the entities",
        ),
        (
            ["delays:delay"],
            {"tailnum": ["a"], "t": at(1)},
            {"as_of": 7},
            RequestError,
            "not a time: in as_of",
        ),
        (7, {"tailnum": ["a"], "t": at(1)}, {}, RequestError, "features are not a list"),
    ],
)
def test_a_wrong_request_is_told_what_is_wrong_and_what_to_do(
    place: Any, features: Any, entities: Any, arguments: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        place.connect().get_features(features, entities, timestamp_column="t", **arguments)


def test_as_of_without_a_timestamp_column_is_refused(place: Any) -> None:
    with pytest.raises(RequestError, match="as_of needs a timestamp_column"):
        place.connect().get_features(["delays:delay"], {"tailnum": ["a"]}, as_of="2020-01-01")


def test_a_view_that_is_not_built_yet_says_so_and_a_removed_one_is_unknown(place: Any) -> None:
    spec = Registry(place.storage).current(FeatureView, "delays").resource.spec  # type: ignore[union-attr]
    place.accept("fresh", spec.model_dump(mode="json", by_alias=True))
    store = place.connect()
    labels = {"tailnum": ["N1"], "t": at(1000)}
    with pytest.raises(NotFound, match="the view 'fresh' has no complete build yet"):
        store.get_features(["fresh:delay"], labels, timestamp_column="t")
    Registry(place.storage).remove(FeatureView, "delays")
    with pytest.raises(NotFound, match=r"there is no view 'delays'\. There is: 'fresh', 'routes'"):
        store.get_features(["delays:delay"], labels, timestamp_column="t")


def test_a_kept_store_sees_new_data_and_new_definitions(place: Any) -> None:
    store = place.connect()
    labels = {"tailnum": ["N3"], "t": at(1000)}
    features = ["delays:delay"]
    assert store.get_features(features, labels, timestamp_column="t").to_dict()["delay"] == [None]
    spec = Registry(place.storage).current(FeatureView, "delays").resource.spec  # type: ignore[union-attr]
    changed = {**spec.model_dump(mode="json", by_alias=True), "filter": "delay > 0"}
    place.accept("delays", changed)
    late = {"event_timestamp": 1, "created_timestamp": 1, "__batch": 1, "__file": 0, "__row": 0}
    place.serve("delays", [{**late, "tailnum": "N3", "delay": 9}], 4, 1)
    assert store.get_features(features, labels, timestamp_column="t").to_dict()["delay"] == [9]
