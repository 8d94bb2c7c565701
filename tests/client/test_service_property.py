"""For random histories: through a service with a view in two roles and a view on demand, online at t is the join at t."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from examples import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from featurestore.registry.registry import Registry
from featurestore.resources import FeatureService, FeatureStore, View
from featurestore.storage.objects import Storage
from featurestore.timestamps import from_us

SECOND = 1_000_000
KEYS = ("N1", "N2", "N3")
DELAYS = {
    "entity": {"name": "aircraft", "joinKeys": [{"name": "tailnum", "type": "string"}]},
    "source": {"pipeline": "flights"},
    "timestampField": "at",
    "ttl": "30m",
    "features": [
        {"name": "delay", "type": "int64", "column": "delay"},
        {
            "name": "sum",
            "type": "int64",
            "aggregate": {"function": "Sum", "column": "delay", "windows": ["1h"]},
        },
    ],
}
COMPUTED = {
    "onDemand": {
        "request": [{"name": "minutes", "type": "float64"}],
        "inputs": [
            "delays:*",
            {"view": "delays", "as": "next", "joinKeyMap": {"tailnum": "spare"}, "features": ["delay"]},
        ],
    },
    "features": [
        {"name": "ratio", "type": "float64", "expression": "sum_1h / minutes"},
        {"name": "gap", "type": "int64", "expression": "COALESCE(delay, 0) - next__delay"},
    ],
}
SERVICE = {
    "features": [
        "delays:*",
        {"view": "delays", "as": "spare", "joinKeyMap": {"tailnum": "spare"}},
        "computed:*",
        {"view": "computed", "as": "turned", "joinKeyMap": {"tailnum": "spare", "spare": "tailnum"}},
    ]
}
events = st.lists(
    st.tuples(st.sampled_from(KEYS[:2]), st.integers(0, 9000), st.none() | st.integers(-50, 50)),
    min_size=1,
    max_size=10,
)
asked = st.lists(
    st.tuples(
        st.none() | st.sampled_from(KEYS),
        st.none() | st.sampled_from(KEYS),
        st.none() | st.sampled_from([0.0, 1.5, -2.0, 60.0]),
    ),
    min_size=1,
    max_size=6,
)
_roots = itertools.count()


def made(place: Any, root: Path, history: list[tuple[str, int, int | None]], published_s: int) -> Any:
    """A store in which all events up to ``published_s`` are published then."""
    here = type(place)(root, type(place.clock)())
    registry = Registry(Storage(str(root)))
    spec = {"offline": {"uri": str(root)}}
    registry.accept(
        FeatureStore.model_validate({"kind": "FeatureStore", "metadata": {"name": "s"}, "spec": spec})
    )
    for name, view in (("delays", DELAYS), ("computed", COMPUTED)):
        registry.accept(
            View.model_validate({"kind": "FeatureView", "metadata": {"name": name}, "spec": view})
        )
    service = {"kind": "FeatureService", "metadata": {"name": "model"}, "spec": SERVICE}
    registry.accept(FeatureService.model_validate(service))
    rows = [
        {
            "tailnum": key,
            "event_timestamp": second * SECOND,
            "created_timestamp": published_s * SECOND,
            "delay": delay,
            "__in_sum": delay,
            "__batch": 1,
            "__file": 0,
            "__row": number,
        }
        for number, (key, second, delay) in enumerate(history)
    ]
    here.clock.us = published_s * SECOND
    here.serve("delays", rows, 1, max(row["event_timestamp"] for row in rows))
    here.publish("delays")
    return here


@pytest.mark.parametrize("later_s", [0, 1, 1800, 5000])
@settings(max_examples=examples(6), deadline=None, suppress_health_check=list(HealthCheck))
@given(history=events, entities=asked)
def test_online_through_a_service_is_the_join_at_that_time(
    place: Any, tmp_path: Path, later_s: int, history: list[Any], entities: list[Any]
) -> None:
    here = made(place, tmp_path / f"root-{next(_roots)}", history, 9000)
    here.clock.us = (9000 + later_s) * SECOND
    columns = dict(zip(("tailnum", "spare", "minutes"), map(list, zip(*entities, strict=True)), strict=True))
    moment = from_us(here.clock.us).isoformat()
    store = here.connect()
    options: dict[str, Any] = {"full_feature_names": True, "include_event_timestamps": True}
    now = store.get_online_features("model", columns, **options)
    then = store.get_features(
        "model", {**columns, "t": [moment] * len(entities)}, timestamp_column="t", **options
    )
    answer = now.to_dict()
    assert {name: then.to_dict()[name] for name in answer} == answer
    assert now.statuses() == then.statuses()
    assert store.reader("model", full_feature_names=True).read(columns).statuses() == now.statuses()
    # And what is computed is computed of what stands beside it.
    for role, own, spare in (("computed", "delays", "spare"), ("turned", "spare", "delays")):
        for row, minutes in enumerate(columns["minutes"]):
            total, delay = answer[f"{own}__sum_1h"][row], answer[f"{own}__delay"][row]
            other = answer[f"{spare}__delay"][row]
            ratio = None if total is None or not minutes else total / minutes
            assert answer[f"{role}__ratio"][row] == ratio
            assert answer[f"{role}__gap"][row] == (None if other is None else (delay or 0) - other)
