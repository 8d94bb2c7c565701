"""For random histories: through a service with a view in two roles and a view on demand, online at t is the join at t.

In both online stores, and in every way in which they are read.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from examples import examples, exhaustive, sample
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from online_client import WAYS, OnlineClient

from featurestore.registry.registry import Registry
from featurestore.resources import FeatureService, FeatureStore, View
from featurestore.resources.value import ColumnType
from featurestore.storage.objects import Storage
from featurestore.timestamps import from_us

SECOND = 1_000_000
KEYS = ("N1", "N2", "N3")
DELAYS = {
    "entity": {"name": "aircraft", "joinKeys": [{"name": "tailnum", "type": "string"}]},
    "source": {"pipeline": "flights"},
    "timestampField": "at",
    "ttl": "30m",
    "online": {"sampleEntities": 0},
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
KINDS = {
    **{f"{role}__{name}": ColumnType.INT64 for role in ("delays", "spare") for name in ("delay", "sum_1h")},
    **{f"{role}__ratio": ColumnType.FLOAT64 for role in ("computed", "turned")},
    **{f"{role}__gap": ColumnType.INT64 for role in ("computed", "turned")},
}
TIMES_AND_STORES = [(later_s, online) for later_s in (0, 1, 1800, 5000) for online in ("duckdb", "redis")]
_roots = itertools.count()
_ways = itertools.cycle(WAYS)


def made(
    place: Any,
    root: Path,
    history: list[tuple[str, int, int | None]],
    published_s: int,
    online: dict[str, Any],
) -> Any:
    """A store in which all events up to ``published_s`` are published then."""
    here = type(place)(root, type(place.clock)())
    registry = Registry(Storage(str(root)))
    spec = {"offline": {"uri": str(root)}, "online": online}
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


@pytest.mark.parametrize(("later_s", "online"), sample(TIMES_AND_STORES, 4))
@settings(max_examples=examples(6), deadline=None, suppress_health_check=list(HealthCheck))
@given(history=events, entities=asked)
def test_online_through_a_service_is_the_join_at_that_time(
    place: Any,
    tmp_path: Path,
    redis_server: str,
    later_s: int,
    online: str,
    history: list[Any],
    entities: list[Any],
) -> None:
    spec: dict[str, Any] = {"duckdb": {}} if online == "duckdb" else {"redis": {"url": f"{redis_server}/0"}}
    here = made(place, tmp_path / f"root-{next(_roots)}", history, 9000, spec)
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
    statuses = {name: list(map(str, column)) for name, column in now.statuses().items()}
    client = OnlineClient(str(here.root), full_feature_names=True)
    client.now_us = here.clock.us
    types = [pa.string(), pa.string(), pa.float64()]
    rows = pa.table({name: pa.array(columns[name], kind) for name, kind in zip(columns, types, strict=True)})
    for way in WAYS if exhaustive() else [next(_ways)]:
        values, commits = client.read(way, ["model"], KINDS, rows)
        assert commits == now.commits == {"delays": 1}
        for name in KINDS:
            assert values[name] == list(
                zip(answer[name], statuses[name], answer[f"{name}__ts"], strict=True)
            ), (way, name)
    # And what is computed is computed of what stands beside it.
    for role, own, spare in (("computed", "delays", "spare"), ("turned", "spare", "delays")):
        for row, minutes in enumerate(columns["minutes"]):
            total, delay = answer[f"{own}__sum_1h"][row], answer[f"{own}__delay"][row]
            other = answer[f"{spare}__delay"][row]
            ratio = None if total is None or not minutes else total / minutes
            assert answer[f"{role}__ratio"][row] == ratio
            assert answer[f"{role}__gap"][row] == (None if other is None else (delay or 0) - other)
