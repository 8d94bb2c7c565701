"""Features that are computed when they are asked for: the same in the join and online."""

from __future__ import annotations

from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from featurestore.errors import CodeError, RequestError
from featurestore.registry.registry import Registry
from featurestore.resources import FeatureService, View
from featurestore.server.messages import ViewDescription
from featurestore.views.value_status import Status

NOW = "1970-01-01T00:35:00Z"
RATIO = {
    "onDemand": {
        "request": [{"name": "minutes", "type": "float64"}],
        "inputs": ["delays:delay", {"view": "routes", "as": "route", "features": ["delay"]}],
    },
    "features": [
        {"name": "ratio", "type": "float64", "expression": "delay / minutes"},
        {"name": "filled", "type": "int64", "expression": "COALESCE(delay, 0) + 1"},
        {"name": "both", "type": "float64", "expression": "delay + route__delay"},
    ],
}
ENTITIES = {
    "tailnum": ["N1", "N2", "N9", None, "N2"],
    "spare": ["N2", "N2", "N1", "N2", None],
    "origin": ["JFK", "JFK", "JFK", "JFK", "X"],
    "number": [7, 7, 7, 7, 7],
    "minutes": [2.0, 2.0, 2.0, None, 0.0],
}


def doubled(rows: pl.DataFrame) -> pl.Series:
    return rows["delay"] * 2


def of_arrow(rows: pa.Table) -> pa.ChunkedArray:
    return pc.multiply(rows.column("delay"), 3)


def too_few(rows: pl.DataFrame) -> list[int]:
    return [1]


def raising(rows: pl.DataFrame) -> pl.Series:
    raise KeyError("nothing of the kind")


def accept(place: Any, name: str, spec: dict[str, Any]) -> None:
    view = {"kind": "FeatureView", "metadata": {"name": name}, "spec": spec}
    Registry(place.storage).accept(View.model_validate(view))


@pytest.fixture
def online(online_in_duckdb: Any) -> Any:
    """Both views published at second 2100, and a view on demand over them."""
    accept(online_in_duckdb, "ratios", RATIO)
    return online_in_duckdb


def both(
    place: Any, features: Any, entities: dict[str, Any] = ENTITIES, **options: Any
) -> dict[str, list[Any]]:
    """Values, statuses and event times by column, which are the same in the join and online."""
    store, length = place.connect(), len(next(iter(entities.values())))
    now = store.get_features(features, entities, include_event_timestamps=True, **options)
    labels = {**entities, "at": [NOW] * length}
    then = store.get_features(
        features, labels, timestamp_column="at", include_event_timestamps=True, **options
    )
    prepared = store.reader(features, **options).read(entities)
    new = {name: values for name, values in now.to_dict().items() if name not in entities}
    assert {name: then.to_dict()[name] for name in new} == new
    assert now.statuses() == then.statuses() == prepared.statuses()
    assert prepared.to_dict() == {name: new[name] for name in now.statuses()}
    return {**new, "statuses": [now.statuses()]}


def test_expressions_over_inputs_and_request_fields_give_the_same_in_the_join_and_online(online: Any) -> None:
    found = both(online, "ratios")
    assert found["ratio"] == [None, -3.5, None, None, None]
    assert found["filled"] == [1, -6, 1, 1, -6]
    assert found["both"] == [None, -6.5, None, None, None]


def test_a_null_says_why_its_inputs_are_null_and_a_value_is_present_whatever_they_are(online: Any) -> None:
    [statuses] = both(online, "ratios")["statuses"]
    assert statuses["ratio"] == [
        Status.NULL_VALUE,
        Status.PRESENT,
        Status.NOT_FOUND,
        Status.NOT_FOUND,
        Status.NULL_VALUE,
    ]
    assert statuses["filled"] == [Status.PRESENT] * 5


def test_the_event_time_of_a_computed_value_is_that_of_its_oldest_input(online: Any) -> None:
    found = both(online, "ratios:both")
    assert [time and time.timestamp() for time in found["both__ts"]] == [500, 500, None, None, None]


def test_one_view_on_demand_reads_another_and_inputs_stay_hidden(online: Any) -> None:
    inputs = {"inputs": ["ratios:ratio", "delays:delay"]}
    features = [{"name": "percent", "type": "float64", "expression": "ratio * 100 + delay"}]
    accept(online, "percents", {"onDemand": inputs, "features": features})
    found = both(online, ["percents:percent", "ratios:filled"])
    assert found["percent"] == [None, -357.0, None, None, None]
    assert set(found) == {"percent", "percent__ts", "filled", "filled__ts", "statuses"}


def test_a_view_on_demand_in_two_roles_reads_its_inputs_by_the_keys_of_each(online: Any) -> None:
    spec = {
        "features": [
            "ratios:filled",
            {"view": "ratios", "as": "spare", "joinKeyMap": {"tailnum": "spare"}, "features": ["filled"]},
            "delays:delay",
        ]
    }
    service = {"kind": "FeatureService", "metadata": {"name": "model"}, "spec": spec}
    Registry(online.storage).accept(FeatureService.model_validate(service))
    found = both(online, "model", full_feature_names=True)
    assert found["ratios__filled"] == [1, -6, 1, 1, -6]
    assert found["spare__filled"] == [-6, -6, 1, -6, 1]
    assert found["delays__delay"] == [None, -7, None, None, -7]


def test_functions_get_columns_of_polars_or_arrow(online: Any) -> None:
    features = [
        {"name": "double", "type": "int64", "python": {"callable": f"{__name__}:doubled"}},
        {"name": "triple", "type": "float64", "python": {"callable": f"{__name__}:of_arrow"}},
    ]
    accept(online, "called", {"onDemand": {"inputs": ["delays:delay"]}, "features": features})
    found = both(online, "called")
    assert (found["double"], found["triple"]) == (
        [None, -14, None, None, -14],
        [None, -21.0, None, None, -21.0],
    )


@pytest.mark.parametrize(
    ("function", "message"),
    [("too_few", "a value for each row"), ("raising", "KeyError"), ("absent", "cannot be imported")],
)
def test_a_function_that_fails_is_named(online: Any, function: str, message: str) -> None:
    features = [{"name": "x", "type": "int64", "python": {"callable": f"{__name__}:{function}"}}]
    accept(online, "called", {"onDemand": {"inputs": ["delays:delay"]}, "features": features})
    with pytest.raises(CodeError, match=message) as said:
        online.connect().get_features("called", ENTITIES)
    assert "called:x" in str(said.value)


def test_missing_request_fields_are_named(online: Any) -> None:
    entities = {name: values for name, values in ENTITIES.items() if name != "minutes"}
    for more, timestamp_column in (({}, None), ({"at": [NOW] * 5}, "at")):
        with pytest.raises(RequestError, match="a column 'minutes' of type float64"):
            online.connect().get_features("ratios", {**entities, **more}, timestamp_column=timestamp_column)


def test_a_request_field_that_does_not_fit_is_refused_and_a_whole_number_is_a_float(online: Any) -> None:
    assert both(online, "ratios:ratio", {**ENTITIES, "minutes": [2] * 5})["ratio"][1] == -3.5
    with pytest.raises(RequestError, match=r"does not fit: in entities, column 'minutes'.*got 'soon'"):
        online.connect().get_features("ratios", {**ENTITIES, "minutes": ["soon"] * 5})


def test_a_value_that_leaves_its_type_is_invalid_and_holds_up_no_other_row(online: Any) -> None:
    inputs = {"request": [{"name": "n", "type": "int64"}], "inputs": ["delays:delay"]}
    features = [
        {"name": "small", "type": "int8", "expression": "n"},
        {"name": "sum", "type": "int64", "expression": "n + n"},
    ]
    accept(online, "sums", {"onDemand": inputs, "features": features})
    found = both(online, "sums", {"tailnum": ["N2"] * 3, "n": [7, 300, 2**62]})
    assert (found["small"], found["sum"]) == ([7, None, None], [14, 600, None])
    [statuses] = found["statuses"]
    assert statuses["small"] == [Status.PRESENT, Status.INVALID, Status.INVALID]
    assert statuses["sum"] == [Status.PRESENT, Status.PRESENT, Status.INVALID]


def test_nothing_but_the_request_may_be_asked(online: Any) -> None:
    inputs = {"request": [{"name": "n", "type": "int64"}]}
    features = [
        {"name": "more", "type": "int64", "expression": "n + 1"},
        {"name": "one", "type": "int64", "expression": "1"},
    ]
    accept(online, "alone", {"onDemand": inputs, "features": features})
    found = both(online, "alone", {"n": [1, None]})
    assert (found["more"], found["one"]) == ([2, None], [1, 1])


def test_no_rows_give_columns_of_the_declared_types(online: Any) -> None:
    entities = pl.DataFrame(ENTITIES).clear()
    schema = online.connect().get_features("ratios", entities).to_arrow().schema
    assert [schema.field(name).type for name in ("ratio", "filled")] == [pa.float64(), pa.int64()]
    assert online.connect().get_features("ratios", []).to_dict()["filled"] == []


def test_a_view_on_demand_says_what_it_takes_and_gives(online: Any) -> None:
    said = online.connect().describe("ratios")
    assert said["join_keys"] == {"tailnum": "string", "origin": "string", "number": "int32"}
    assert (said["request"], said["inputs"]) == ({"minutes": "float64"}, ["delays:delay", "routes:delay"])
    assert said["features"] == {"ratio": "float64", "filled": "int64", "both": "float64"}
    described = ViewDescription.model_validate(said)
    assert (described.request, described.serving, described.pipeline) == ({"minutes": "float64"}, None, None)


def test_views_that_came_to_be_computed_from_each_other_are_refused(online: Any) -> None:
    feature = [{"name": "x", "type": "float64", "expression": "ratio"}]
    accept(online, "one", {"onDemand": {"inputs": [{"view": "two", "features": ["x"]}]}, "features": feature})
    accept(online, "two", {"onDemand": {"inputs": [{"view": "one", "features": ["x"]}]}, "features": feature})
    with pytest.raises(RequestError, match=r"in a circle.*got one → two → one"):
        online.connect().get_features("one", ENTITIES)


def test_waiting_for_it_waits_for_its_inputs(online: Any) -> None:
    online.connect().wait_fresh("ratios", "1970-01-01T00:08:00Z")
    with pytest.raises(RequestError, match="no commits"):
        online.connect().wait_fresh("ratios", 3)
