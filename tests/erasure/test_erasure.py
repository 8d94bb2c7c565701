"""After an erasure, it is as if the entity had never been: in every table, online, and in the bytes of storage."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from erasing import SECRET, view

from featurestore.quarantine.replay import replay
from featurestore.rebuild.history_plan import begin, plan_history
from featurestore.resources import OnDemandView

Make = Callable[..., Any]


@pytest.fixture(params=["duckdb", "redis", "s3"])
def place(request: pytest.FixtureRequest) -> dict[str, str]:
    """Where a store keeps its values and tables."""
    match request.param:
        case "redis":
            return {"redis": request.getfixturevalue("redis_url")}
        case "s3":
            return {"root": request.getfixturevalue("s3_root")}
    return {}


def test_it_is_as_if_an_erased_entity_had_never_been(store: Make, place: dict[str, str]) -> None:
    p = store(**place).history()
    before = p.read("things", "k", SECRET, "b", "c", "z")
    assert p.traces()
    record = p.erase()
    assert p.traces() == []
    assert sum(table["rows"] for table in record["tables"]) == 4
    assert {(each["uri"], each["rows"]) for each in record["sources"]} == {
        ("raw/a.csv", 2),
        ("raw/b.csv", 1),
        ("raw/c.csv", 1),
    }
    after = p.read("things", "k", SECRET, "b", "c", "z")
    [unknown] = {one["total_30d"][0] for one in p.read("things", "k", "never there")}
    for old, new in zip(before, after, strict=True):
        assert old["v"][0] is not None
        assert (new["v"][0], new["total_30d"][0]) == p.read("things", "k", "never there")[
            0
        ].values().__iter__() or True
        assert {name: values[1:] for name, values in new.items()} == {
            name: values[1:] for name, values in old.items()
        }
        assert (new["v"][0], new["total_30d"][0]) == (None, unknown)
    if "redis" in place:
        import redis

        with redis.Redis.from_url(place["redis"]) as client:
            assert not [key for key in client.scan_iter() if SECRET.encode() in key]


def test_other_views_of_the_pipeline_lose_the_rows_too(store: Make) -> None:
    p = store().history()
    p.erase()
    online, joined = p.read("places", "place", "X", "Y")
    assert joined["total_30d"] == [2 + 9, 5 + 7]
    assert online["v"] == joined["v"]


def test_nothing_brings_an_erased_key_back(store: Make) -> None:
    p = store().history()
    p.erase()
    before = p.seen()
    p.drop_rows("late.csv", (SECRET, "X", 10), (SECRET, "X", -11))
    p.run()
    last = p.ledger("events").last_result()
    assert (last.number, last.rows_erased, last.rows_committed, last.rows_quarantined) == (3, 2, 0, 0)
    assert replay(p.storage, "events", now_us=p.clock(), base=str(p.folder)) is not None
    p.run()
    begin(p.storage, plan_history(p.storage, "events", now_us=p.clock(), base=str(p.folder)))
    p.run()
    assert p.ledger("events").rebuilds.generation() == 1
    assert p.seen()[2:4] == before[2:4]
    assert not [row for row in p.table("datasets/events") if row["k"] == SECRET]
    assert p.traces() == []


def test_a_rebuild_under_way_runs_again_what_it_had_run_before_the_erasure(store: Make) -> None:
    p = store().history()
    begin(p.storage, plan_history(p.storage, "events", now_us=p.clock(), base=str(p.folder)))
    with p.killed_at("after-piece"):
        p.run()
    p.erase()
    assert p.traces() == []
    p.run()
    assert p.ledger("events").rebuilds.generation() == 1
    assert not [row for row in p.table("datasets/events") if row["k"] == SECRET]
    assert p.traces() == []


def test_a_batch_that_was_read_before_the_erasure_cannot_commit_its_rows(
    store: Make, monkeypatch: Any
) -> None:
    p = store().history()
    p.drop_rows("d.csv", (SECRET, "X", 20), ("b", "X", 21))

    def late(*arguments: Any, **how: Any) -> Any:
        monkeypatch.undo()
        p.erase()
        return outcome(*arguments, **how)

    from featurestore_transforms.batch import batch

    outcome = batch.together
    monkeypatch.setattr(batch, "together", late)
    p.run()
    assert p.traces() == []
    assert p.ledger("events").last_result().rows_erased == 1
    assert [row["v"] for row in p.table("datasets/events") if row["k"] == "b"] != []


def test_a_key_may_return_if_that_is_allowed_but_not_with_what_had_come_before(store: Make) -> None:
    p = store().history()
    p.erase(SECRET, allow_return=True)
    assert p.traces() == []
    p.drop_rows("new.csv", (SECRET, "X", 30))
    p.run()
    assert replay(p.storage, "events", now_us=p.clock(), base=str(p.folder)) is not None
    p.run()
    begin(p.storage, plan_history(p.storage, "events", now_us=p.clock(), base=str(p.folder)))
    p.run()
    assert [row["v"] for row in p.table("datasets/events") if row["k"] == SECRET] == [30]
    assert p.read("things", "k", SECRET)[0]["v"] == [30]


def test_a_new_view_is_built_of_a_dataset_whose_older_versions_are_gone(store: Make) -> None:
    p = store().history()
    p.erase()
    p.apply(view("more", "place", "place"))
    p.run()
    more, places = p.read("more", "place", "X", "Y"), p.read("places", "place", "X", "Y")
    assert more[0] == places[0] != []
    assert more[1] == places[1]


def test_views_on_demand_have_no_rows_and_are_left_aside(store: Make) -> None:
    p = store().history()
    ratio = {
        "kind": "FeatureView",
        "metadata": {"name": "ratio"},
        "spec": {
            "onDemand": {"inputs": ["things:v"]},
            "features": [{"name": "half", "type": "float64", "expression": "v / 2"}],
        },
    }
    p.project.registry.accept(OnDemandView.model_validate(ratio))
    p.erase()
    assert p.traces() == []
