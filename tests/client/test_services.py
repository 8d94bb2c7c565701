"""What a model reads by the name of its FeatureService."""

from __future__ import annotations

from typing import Any

import pytest

from featurestore.errors import NotFound, RequestError
from featurestore.registry.registry import Registry
from featurestore.resources import FeatureService
from featurestore.views.value_status import Status

ROLES = {
    "features": [
        "delays:delay",
        {"view": "delays", "as": "spare", "joinKeyMap": {"tailnum": "spare"}, "features": ["delay", "note"]},
        "routes:*",
    ]
}
ENTITIES = {
    "tailnum": ["N1", "N2", None],
    "spare": ["N2", "N9", "N2"],
    "origin": ["JFK"] * 3,
    "number": [7] * 3,
}
FULL = ["delays__delay", "spare__delay", "spare__note", "routes__delay"]


def serve(place: Any, name: str, spec: dict[str, Any]) -> str:
    service = {"kind": "FeatureService", "metadata": {"name": name}, "spec": spec}
    return Registry(place.storage).accept(FeatureService.model_validate(service))


@pytest.fixture
def online(online_in_duckdb: Any) -> Any:
    serve(online_in_duckdb, "model", ROLES)
    return online_in_duckdb


def test_a_view_in_two_roles_is_read_by_the_keys_of_each(online: Any) -> None:
    store = online.connect()
    expected = {
        "delays__delay": [None, -7, None],
        "spare__delay": [-7, None, -7],
        "spare__note": ["", None, ""],
        "routes__delay": [0.5] * 3,
    }
    now = store.get_features("model", ENTITIES, full_feature_names=True)
    labels = {**ENTITIES, "event_timestamp": ["1970-01-01T00:35:00Z"] * 3}
    then = store.get_historical_features(labels, "model", full_feature_names=True)
    for answer in (now, then):
        assert {name: answer.to_dict()[name] for name in FULL} == expected
        assert answer.statuses()["spare__delay"] == [Status.PRESENT, Status.NOT_FOUND, Status.PRESENT]


def test_a_service_reads_as_its_features_do_one_by_one(online: Any) -> None:
    serve(online, "plain", {"features": ["routes:*", {"view": "delays", "features": ["note"]}]})
    store = online.connect()
    expected = store.get_features(["routes:delay", "delays:note"], ENTITIES).to_dict()
    assert store.get_features("plain", ENTITIES).to_dict() == expected
    assert store.get_features(["plain", "delays:flights_1d"], ENTITIES).to_dict() == {
        **expected,
        **store.get_features("delays:flights_1d", {"tailnum": ENTITIES["tailnum"]}).to_dict(),
    }


def test_short_names_that_roles_share_are_refused_with_the_way_out(online: Any) -> None:
    with pytest.raises(RequestError, match=r"two columns .*'delay'.*full_feature_names=True"):
        online.connect().get_features("model", ENTITIES)


def test_the_column_that_a_role_takes_its_key_from_is_named_when_it_is_missing(online: Any) -> None:
    with pytest.raises(RequestError, match="a column 'spare' of type string"):
        online.connect().get_features(
            "model", {"tailnum": ["N1"], "origin": ["JFK"], "number": [7]}, full_feature_names=True
        )


def test_a_name_of_both_a_view_and_a_service_is_refused_and_a_part_of_the_view_is_not(online: Any) -> None:
    serve(online, "delays", {"features": ["routes:*"]})
    store = online.connect()
    with pytest.raises(RequestError, match="a view and a service have this name"):
        store.get_features("delays", ENTITIES)
    assert "delay" in store.get_features("delays:*", ENTITIES).to_dict()


def test_a_service_that_names_what_is_gone_is_refused_and_never_answers_less(online: Any) -> None:
    serve(online, "late", {"features": ["delays:delay", "delays:gone"]})
    serve(online, "keys", {"features": [{"view": "delays", "joinKeyMap": {"tail": "spare"}}]})
    store = online.connect()
    with pytest.raises(NotFound, match="has no feature 'gone'"):
        store.get_features("late", ENTITIES)
    with pytest.raises(RequestError, match="has no join key 'tail' any more"):
        store.get_features("keys", ENTITIES)
    with pytest.raises(NotFound, match=r"no view 'modl'.*Did you mean 'model'"):
        store.get_features("modl", ENTITIES)


def test_a_service_says_what_it_takes_and_gives_and_how_stale_it_is(online: Any) -> None:
    store = online.connect()
    assert store.list_services() == ["model"]
    said = store.describe_service("model")
    assert said["join_keys"] == {
        "tailnum": "string",
        "spare": "string",
        "origin": "string",
        "number": "int32",
    }
    assert said["features"] == dict(zip(FULL, ["int64", "int64", "string", "float64"], strict=True))
    assert (said["views"], said["watermark"]) == (["delays", "routes"], "1970-01-01T00:08:20+00:00")
    with pytest.raises(NotFound, match="Did you mean 'model'"):
        store.describe_service("mode")


def test_another_definition_of_a_service_has_another_digest(online: Any) -> None:
    before = online.connect().describe_service("model")["digest"]
    serve(online, "model", {"features": ["delays:note"]})
    assert online.connect().describe_service("model")["digest"] != before
    assert list(online.connect().get_features("model", ENTITIES).to_dict()) == [*ENTITIES, "note"]
