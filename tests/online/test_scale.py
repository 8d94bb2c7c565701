"""Two hundred views in one read and a million entities in a view, or in `make test` some of them: each value is as published."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from examples import exhaustive
from online_client import WAYS, OnlineClient

from featurestore.registry.registry import Registry
from featurestore.resources import FeatureService
from featurestore.resources.value import ColumnType
from featurestore.views.builds import ActiveBuild, promote

MakeView = Callable[..., Any]
MakeRow = Callable[..., Any]
VIEWS = 200 if exhaustive() else 8
ENTITIES = 1_000_000 if exhaustive() else 25_000
CHANGED = 1000
FEATURES = [
    {"name": "number", "type": "int64", "column": "number"},
    {"name": "share", "type": "float64", "column": "share"},
    {"name": "text", "type": "string", "column": "text"},
]


@pytest.mark.slow
@pytest.mark.parametrize("online_url", ["duckdb", "redis"], indirect=True)
def test_each_of_many_views_answers_with_its_own_values_in_one_read(
    online_url: str | None, view_in: MakeView, row: MakeRow, tmp_path: Path
) -> None:
    views = [view_in(online_url, name=f"v{n}", root=tmp_path) for n in range(VIEWS)]
    for n, view in enumerate(views):
        keys = [key for key in range(4) if key != n % 4]
        for commit in range(1 + (n % 50 == 0)):
            view.add(
                *(
                    row((f"k{key}",), 10 + commit, {"x": 1000 * n + key + commit}, at=(commit, 0, key))
                    for key in keys
                )
            )
        view.publish(20)
        promote(view.storage, view.name, ActiveBuild(view.digest, view.spec_digest))
    service = {"features": [f"{view.name}:*" for view in views]}
    Registry(views[0].storage).accept(
        FeatureService.model_validate(
            {"kind": "FeatureService", "metadata": {"name": "all"}, "spec": service}
        )
    )
    client = OnlineClient(str(tmp_path), full_feature_names=True)
    client.now_us = 20
    kinds = {f"{view.name}__x": ColumnType.INT64 for view in views}
    for times in (1, 10):
        asked = pa.table({"k": [f"k{key}" for key in range(5)] * times})
        for way in WAYS:
            values, commits = client.read(way, ["all"], kinds, asked)
            assert values.keys() == kinds.keys()
            for n, column in enumerate(values.values()):
                more = int(n % 50 == 0)
                wanted = [
                    (None, "NOT_FOUND") if key in (n % 4, 4) else (1000 * n + key + more, "PRESENT")
                    for key in range(5)
                ]
                assert [(value, status) for value, status, _ in column] == wanted * times, (way, n)
            assert commits == {view.name: 1 + (n % 50 == 0) for n, view in enumerate(views)}


def numbers(entities: np.ndarray[Any, Any], turn: int) -> Any:
    """What is published of entities. It is of each, and of each turn, another one."""
    return entities * 7919 + turn


def columns(entities: np.ndarray[Any, Any], turn: int) -> dict[str, Any]:
    number = numbers(entities, turn)
    return {
        "k": [f"entity-{n}" for n in entities.tolist()],
        "event_timestamp": np.full(len(entities), 100 + turn),
        "number": number,
        "share": number / 3,
        "text": [f"<{n}>" for n in number.tolist()],
    }


@pytest.mark.slow
@pytest.mark.parametrize("online_url", ["duckdb", "redis"], indirect=True)
def test_of_very_many_entities_each_has_its_own_values_before_and_after_some_change(
    online_url: str | None, view_in: MakeView
) -> None:
    things = view_in(online_url, FEATURES)
    random = np.random.default_rng(20)
    everything = random.permutation(ENTITIES)
    changed = random.choice(ENTITIES, CHANGED, replace=False)
    turn_of = np.zeros(ENTITIES, np.int64)
    for turn, entities in enumerate((everything, changed)):
        things.add_table(columns(entities, turn))
        turn_of[entities] = turn
        assert things.publish(1000).entities == ENTITIES
        things.await_newest(("entity-0",), 1000)
        for size in (3, 500, 12_000) if turn or exhaustive() else (3, 500):
            asked = np.concatenate([random.choice(ENTITIES, size), changed[:3], [ENTITIES, ENTITIES + 1]])
            answers = things.read([(f"entity-{n}",) for n in asked.tolist()], 1000)
            known = asked[:-2]
            wanted = columns(known, 0)
            number = numbers(known, turn_of[known])
            wanted |= {"number": number, "share": number / 3, "text": [f"<{n}>" for n in number.tolist()]}
            for name in ("number", "share", "text"):
                present = [(value, "PRESENT") for value in list(wanted[name])]
                assert answers[name] == [*present, (None, "NOT_FOUND"), (None, "NOT_FOUND")]
