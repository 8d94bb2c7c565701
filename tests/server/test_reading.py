"""``POST /v1/features`` answers what the client answers, in each form and of each type."""

from __future__ import annotations

import http.client
import json
import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from feature_server import KINDS, FeatureServer

from featurestore.client.connection import connect

EVENT = "2026-01-02T03:04:05.678901Z"
NAMES = ["N1", "N2", "N9", None]


def test_each_type_is_written_as_json_has_it(server: FeatureServer) -> None:
    answer = server.read(["aircraft-delays"], {"tailnum": ["N1"]}, statuses=True, event_timestamps=True)
    assert answer.pop("commits").keys() == {"aircraft-delays"}
    assert answer == {
        "rows": 1,
        "features": {
            "delay": [2**53 + 1],
            "ratio": ["Infinity"],
            "low": [0.5],
            "note": ["é\u2028"],
            "late": [True],
            "day": ["2026-01-02"],
            "seen": [EVENT],
            "raw": ["AP8="],
            "tags": [["a", None]],
            "vector": [[1.5, "NaN"]],
        },
        "statuses": {name: ["PRESENT"] for name in KINDS},
        "event_timestamps": {name: [EVENT] for name in KINDS},
    }


def test_what_is_not_there_is_null_and_its_status_says_why(server: FeatureServer) -> None:
    answer = server.read(["aircraft-delays"], {"tailnum": NAMES}, statuses=True, event_timestamps=True)
    assert answer["rows"] == 4
    for name in KINDS:
        assert answer["features"][name][1:] == [None] * 3
        assert answer["statuses"][name] == ["PRESENT", "NULL_VALUE", "NOT_FOUND", "NOT_FOUND"]
        assert answer["event_timestamps"][name] == [EVENT, EVENT, None, None]


def test_a_value_past_its_ttl_is_not_served(server: FeatureServer) -> None:
    answer = server.read(["routes:delay"], {"tailnum": ["N1"], "number": [1]}, statuses=True)
    assert answer["features"] == {"delay": [None]}
    assert answer["statuses"] == {"delay": ["OUTSIDE_MAX_AGE"]}


def test_a_feature_on_demand_takes_values_of_the_request_from_the_entities(server: FeatureServer) -> None:
    entities = {"tailnum": ["N1", "N9", "N1"], "minutes": [4, 4.0, 0.0]}
    answer = server.read(["delay-share", "aircraft-delays:low"], entities, statuses=True)
    assert answer["features"] == {"share": [0.125, None, None], "low": [0.5, None, 0.5]}
    assert answer["statuses"]["share"] == ["PRESENT", "NOT_FOUND", "NULL_VALUE"]
    problem = server.ask(
        "POST", "/v1/features", {"features": ["delay-share"], "entities": {"tailnum": ["N1"]}}
    )
    assert problem.status == 422
    assert "a column 'minutes' of type float64" in problem.body.decode()


def test_each_answer_names_the_commit_that_its_values_came_from(server: FeatureServer, project: Path) -> None:
    entities = {"tailnum": ["N1"], "number": [1]}
    store = connect(project)
    wanted = (
        store.reader(["aircraft-delays:delay", "routes:delay"], full_feature_names=True)
        .read(entities)
        .commits
    )
    assert wanted.keys() == {"aircraft-delays", "routes"}
    assert min(wanted.values()) > 0
    asked = {"features": ["aircraft-delays:delay", "routes:delay", "delay-share"], "full_feature_names": True}
    asked |= {"entities": {**entities, "minutes": [1.0]}}
    assert server.ask("POST", "/v1/features", asked).json["commits"] == wanted
    stream = server.ask("POST", "/v1/features", asked, {"Accept": "application/vnd.apache.arrow.stream"}).body
    assert json.loads(pa.ipc.open_stream(stream).schema.metadata[b"commits"]) == wanted
    for time in ({}, {"event_timestamp": [EVENT]}):
        result = store.get_features(asked["features"], {**asked["entities"], **time}, full_feature_names=True)
        assert result.commits == wanted


def test_statuses_and_times_are_sent_only_if_asked_for(server: FeatureServer) -> None:
    answer = server.read("aircraft_delays:delay", {"tailnum": ["N2"]})
    assert answer.keys() == {"rows", "features", "commits"}


def test_names_may_be_full(server: FeatureServer) -> None:
    answer = server.read(["aircraft_delays:delay"], {"tailnum": ["N2"]}, full_feature_names=True)
    assert list(answer["features"]) == ["aircraft_delays__delay"]


def test_no_entity_gives_no_row(server: FeatureServer) -> None:
    answer = server.read(["aircraft-delays:delay"], {"tailnum": []}, statuses=True)
    assert (answer["rows"], answer["features"], answer["statuses"]) == (0, {"delay": []}, {"delay": []})


@pytest.mark.parametrize("count", [1, 2, 500])
def test_as_an_arrow_stream_it_is_the_clients_table(server: FeatureServer, project: Path, count: int) -> None:
    entities = {"tailnum": [f"E{n}" for n in range(count)]}
    asked = {
        "features": ["aircraft-delays"],
        "entities": entities,
        "event_timestamps": True,
        "statuses": True,
    }
    answer = server.ask(
        "POST",
        "/v1/features",
        asked,
        {"Accept": "application/vnd.apache.arrow.stream, application/json;q=0.5"},
    )
    assert answer.headers["content-type"] == "application/vnd.apache.arrow.stream"
    table = pa.ipc.open_stream(answer.body).read_all()
    read = connect(project).get_online_features(["aircraft-delays"], entities)
    names = [name for kind in KINDS for name in (kind, f"{kind}__status", f"{kind}__ts")]
    assert table.column_names == names
    wanted = read.to_arrow(include_event_timestamps=True)
    assert same(table.drop_columns([f"{kind}__status" for kind in KINDS]), wanted.drop_columns(["tailnum"]))
    assert table["delay__status"].to_pylist() == [status.name for status in read.statuses()["delay"]]


def same(one: pa.Table, other: pa.Table) -> bool:
    """Equal, NaN to NaN too."""
    return one.schema.equals(other.schema) and repr(one.to_pylist()) == repr(other.to_pylist())


@pytest.mark.parametrize("count", [1, 3, 900])
def test_as_json_it_is_the_clients_values(server: FeatureServer, project: Path, count: int) -> None:
    entities = {"tailnum": [f"E{n}" for n in range(count)]}
    features = [f"aircraft-delays:{name}" for name in ("delay", "ratio", "low", "note", "late", "tags")]
    values = connect(project).get_online_features(features, entities).to_dict()
    del values["tailnum"]
    assert server.read(features, entities)["features"] == values


ONE: dict[str, Any] = {"features": ["aircraft-delays:delay"], "entities": {"tailnum": ["N1"]}}


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"{", 422, "not JSON"),
        (b"", 422, "not JSON"),
        (b'{"features": ["\xff"]}', 422, "not JSON"),
        ([], 422, "in the body, wanted a mapping of fields to values, got an empty list"),
        ({**ONE, "features": []}, 422, "no features were requested"),
        ({**ONE, "features": ["a:b:c"]}, 422, "not the name of a feature"),
        ({**ONE, "features": ["nothing"]}, 404, "there is no view 'nothing'"),
        ({**ONE, "features": ["aircraft-delays:dely"]}, 404, "has no feature 'dely'"),
        ({**ONE, "entities": {"tail": ["N1"]}}, 422, "join key that is missing"),
        ({**ONE, "entities": {"tailnum": [1]}}, 422, "wrong type"),
        ({**ONE, "entities": {"tailnum": ["N1", 1]}}, 422, "has no type"),
        ({**ONE, "entities": {"tailnum": [{"a": 1}]}}, 422, "wrong type"),
        ({**ONE, "entities": {"tailnum": "N1"}}, 422, "in entities.tailnum, wanted a list, got 'N1'"),
        ({**ONE, "entities": {"tailnum": ["N1"], "more": []}}, 422, "differ in length"),
        ({**ONE, "as_of": 1}, 422, "unknown field 'as_of'"),
        ({**ONE, "statuse": True}, 422, "unknown field 'statuse'"),
        ({**ONE, "statuses": "yes"}, 422, "in statuses, wanted true or false, got 'yes'"),
        ({**ONE, "features": 5}, 422, "wanted a string or a list of strings, got 5"),
        ({"entities": {"tailnum": 5}}, 422, "in features, wanted features (view:feature, a view for"),
        ({"entities": {"tailnum": 5}}, 422, "; invalid value: in entities.tailnum, wanted a list"),
        ({**ONE, **dict.fromkeys("abcdefg", 1)}, 422, "; and 2 more"),
        ({**ONE, "entities": {"tailnum": ["N1"] * 1001}}, 422, "too many entities"),
        (b" " * 65_537, 413, "too large"),
    ],
)
def test_a_wrong_request_is_told_what_is_wrong(
    server: FeatureServer, body: Any, status: int, said: str
) -> None:
    answer = server.ask("POST", "/v1/features", body)
    assert answer.status == status, answer.body
    assert answer.headers["content-type"] == "application/problem+json"
    assert said in answer.json["detail"]
    assert answer.json["status"] == status
    assert answer.json.keys() <= {"type", "title", "status", "detail", "hint"}


def test_a_body_that_says_no_length_is_cut_off_at_the_limit(server: FeatureServer) -> None:

    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=300)
    connection.request("POST", "/v1/features", iter([b" " * 40_000] * 2), encode_chunked=True)
    assert connection.getresponse().status == 413
    connection.close()


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/v1/features", 405), ("GET", "/nothing", 404)]
)
def test_what_no_route_answers_is_a_problem(
    server: FeatureServer, method: str, path: str, status: int
) -> None:
    answer = server.ask(method, path)
    assert (answer.status, answer.headers["content-type"]) == (status, "application/problem+json")


def test_numbers_keep_their_value_through_json(server: FeatureServer) -> None:
    names = [f"E{n}" for n in range(200)]
    ratios = server.read(["aircraft-delays:ratio"], {"tailnum": names})["features"]["ratio"]
    assert ratios == [n / 3 for n in range(200)]
    assert not any(map(math.isnan, ratios))
