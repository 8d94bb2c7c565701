"""Features as of now: what inference reads."""

from __future__ import annotations

from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from featurestore.errors import NotFound, RequestError, StorageError, TransientError
from featurestore.online.backends import open_online
from featurestore.registry.registry import Registry
from featurestore.resources import FeatureView
from featurestore.views.builds import read_active_build
from featurestore.views.value_status import Status

SECOND = 1_000_000
DAY = 86_400 * SECOND
KINDS = {
    "dict": lambda columns: columns,
    "dicts": lambda columns: pl.DataFrame(columns).to_dicts(),
    "pandas": pd.DataFrame,
    "polars": pl.DataFrame,
    "arrow": pa.table,
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_row_of_any_frame_is_answered_in_order_with_its_extra_columns(online: Any, kind: str) -> None:
    rows = {"why": [1, 2, 3, 4, 5], "tailnum": ["N2", "N9", None, "N1", "N2"]}
    result = online.connect().get_features(["delays:delay", "delays:flights_1d"], KINDS[kind](rows))
    assert result.to_arrow().column_names == ["why", "tailnum", "delay", "flights_1d"]
    got = result.to_dict()
    assert (got["why"], got["tailnum"]) == (rows["why"], rows["tailnum"])
    assert got["delay"] == [-7, None, None, None, -7]
    assert got["flights_1d"] == [1, None, None, 1, 1]
    assert result.statuses()["delay"] == [
        Status.PRESENT,
        Status.NOT_FOUND,
        Status.NOT_FOUND,
        Status.NULL_VALUE,
        Status.PRESENT,
    ]


@pytest.mark.parametrize("after_s", [2100, 4600, 4601, 5600, 5601, 10**5, 10**6])
def test_online_answers_what_the_join_answers_for_the_same_moment(online: Any, after_s: int) -> None:
    online.clock.us = after_s * SECOND
    store = online.connect()
    entities = {
        "tailnum": ["N1", "N2", "N9", None],
        "origin": ["JFK", "JFK", None, "X"],
        "number": [7, 8, 7, 7],
    }
    moment = pa.array([after_s * SECOND] * 4, pa.timestamp("us", "UTC"))
    features = ["delays:*", "routes:delay"]
    now = store.get_features(features, entities, full_feature_names=True)
    then = store.get_features(
        features, {**entities, "t": moment}, timestamp_column="t", full_feature_names=True
    )
    assert now.to_arrow().equals(then.to_arrow().drop_columns(["t"]))
    assert now.statuses() == then.statuses()


def test_a_value_past_its_ttl_is_not_served(online: Any) -> None:
    online.clock.us = (1000 + 3600) * SECOND + 1
    result = online.connect().get_features(["delays:delay"], [{"tailnum": "N2"}])
    assert result.to_dict()["delay"] == [None]
    assert result.statuses()["delay"] == [Status.OUTSIDE_MAX_AGE]


def test_feasts_call_answers_the_same(online: Any) -> None:
    store, rows = online.connect(), [{"tailnum": "N2"}]
    feast = store.get_online_features(features=["delays:delay"], entity_rows=rows, full_feature_names=True)
    assert feast.to_dict() == {"tailnum": ["N2"], "delays__delay": [-7]}
    assert feast.to_arrow().equals(
        store.get_features(["delays:delay"], rows, full_feature_names=True).to_arrow()
    )


@pytest.mark.parametrize(
    ("features", "entities", "error", "message"),
    [
        (["delay:delay"], [{"tailnum": "a"}], NotFound, "there is no view 'delay'"),
        (["delays:dely"], [{"tailnum": "a"}], NotFound, "Did you mean 'delay'"),
        (["delays:delay"], [{"tail": "a"}], RequestError, "'delays' needs a join key"),
        (["routes:delay"], [{"origin": "JFK", "number": "7"}], RequestError, "wrong type.*wanted int32"),
        (["delays:delay"], "N1", RequestError, "this is not a data frame"),
    ],
)
def test_a_wrong_request_is_told_what_is_wrong(
    online: Any, features: Any, entities: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        online.connect().get_features(features, entities)


def test_no_entities_give_no_rows_with_typed_columns(online: Any) -> None:
    result = online.connect().get_features(["delays:delay"], {"tailnum": []})
    assert len(result) == 0
    assert result.to_arrow().schema.field("delay").type == pa.int64()


def test_a_kept_store_follows_a_swap_whose_old_build_is_dropped_at_once(online: Any) -> None:
    store, rows = online.connect(), [{"tailnum": "N2"}]
    assert store.get_features(["delays:delay"], rows).to_dict()["delay"] == [-7]
    old = read_active_build(online.storage, "delays")
    spec = Registry(online.storage).current(FeatureView, "delays").resource.spec  # type: ignore[union-attr]
    online.accept("delays", {**spec.model_dump(mode="json", by_alias=True), "filter": "delay < 0"})
    values = {"tailnum": "N2", "delay": -8, "event_timestamp": 2000 * SECOND, "created_timestamp": 0}
    online.build("delays", [{**values, "__batch": 1, "__file": 0, "__row": 0}], 4, 2000 * SECOND)
    online.publish("delays")
    online.promote("delays")
    resource = Registry(online.storage).store()
    assert resource is not None
    open_online(online.storage, resource.spec).index.delete("delays", old.digest)
    assert store.get_features(["delays:delay"], rows).to_dict()["delay"] == [-8]


def test_a_store_that_was_lost_is_an_error_and_not_an_unknown_entity(online: Any) -> None:
    store = online.connect()
    serving = read_active_build(online.storage, "delays")
    resource = Registry(online.storage).store()
    assert resource is not None
    open_online(online.storage, resource.spec).index.delete("delays", serving.digest)
    with pytest.raises(StorageError):
        store.get_features(["delays:delay"], [{"tailnum": "N2"}])


def test_waiting_for_a_published_view_ends_when_it_is_published(online: Any) -> None:
    store = online.connect()
    store.wait_fresh("delays", 3, timeout=0)
    online.build("delays", [], 4, 2000 * SECOND)
    with pytest.raises(TransientError, match="did not become fresh in time"):
        store.wait_fresh("delays", 4, timeout=0.2)
    online.clock.then = [lambda: online.publish("delays")]
    store.wait_fresh("delays", 4, timeout=1)
