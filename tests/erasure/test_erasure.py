"""After an erasure, it is as if the entity had never been: in every table, online, and in the bytes of storage."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from erasing import PIPELINE, SECRET, Erasing, view
from examples import exhaustive

from featurestore.cli import erase as command
from featurestore.failure import Failure
from featurestore.quarantine.dismissal import Dismissal, dismissals, try_dismiss
from featurestore.quarantine.replay import replay
from featurestore.rebuild.history_plan import begin, plan_history
from featurestore.reconcile.conditions import ResourceStatus, record_status
from featurestore.resources import OnDemandView
from featurestore.storage import paths

Make = Callable[..., Any]


@pytest.fixture(params=["duckdb", "redis", "s3"] if exhaustive() else ["duckdb", "redis s3"])
def place(request: pytest.FixtureRequest) -> dict[str, str]:
    """Where a store keeps its values and tables."""
    fixtures = {"redis": ("redis", "redis_url"), "s3": ("root", "s3_root")}
    named = [fixtures[name] for name in request.param.split() if name in fixtures]
    return {field: request.getfixturevalue(fixture) for field, fixture in named}


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
        assert {name: values[1:] for name, values in new.items()} == {
            name: values[1:] for name, values in old.items()
        }
        assert (new["v"][0], new["total_30d"][0]) == (None, unknown)
    if "redis" in place:
        import redis

        with redis.Redis.from_url(place["redis"]) as client:
            assert not [key for key in client.scan_iter() if SECRET.encode() in key]


def test_other_views_of_the_pipeline_lose_the_rows_too(erased: Erasing) -> None:
    online, joined = erased.read("places", "place", "X", "Y")
    assert joined["total_30d"] == [2 + 9, 5 + 7]
    assert online["v"] == joined["v"]


def test_nothing_brings_an_erased_key_back(erased: Erasing) -> None:
    before = erased.seen()
    erased.drop_rows("late.csv", (SECRET, "X", 10), (SECRET, "X", -11))
    erased.run()
    last = erased.ledger("events").last_result()
    assert (last.number, last.rows_erased, last.rows_committed, last.rows_quarantined) == (3, 2, 0, 0)
    assert replay(erased.storage, "events", now_us=erased.clock(), base=str(erased.folder)) is not None
    erased.run()
    begin(
        erased.storage, plan_history(erased.storage, "events", now_us=erased.clock(), base=str(erased.folder))
    )
    erased.run()
    assert erased.ledger("events").rebuilds.generation() == 1
    assert erased.seen()[2:4] == before[2:4]
    assert not [row for row in erased.table("datasets/events") if row["k"] == SECRET]
    assert erased.traces() == []


def test_a_rebuild_under_way_runs_again_what_it_had_run_before_the_erasure(past: Erasing) -> None:
    begin(past.storage, plan_history(past.storage, "events", now_us=past.clock(), base=str(past.folder)))
    with past.killed_at("after-piece"):
        past.run()
    past.erase()
    assert past.traces() == []
    past.run()
    assert past.ledger("events").rebuilds.generation() == 1
    assert not [row for row in past.table("datasets/events") if row["k"] == SECRET]
    assert past.traces() == []


def test_a_batch_that_was_read_before_the_erasure_cannot_commit_its_rows(
    past: Erasing, monkeypatch: Any
) -> None:
    past.drop_rows("d.csv", (SECRET, "X", 20), ("b", "X", 21))

    def late(*arguments: Any, **how: Any) -> Any:
        monkeypatch.undo()
        past.erase()
        return outcome(*arguments, **how)

    from featurestore_transforms.batch import batch

    outcome = batch.together
    monkeypatch.setattr(batch, "together", late)
    past.run()
    assert past.traces() == []
    assert past.ledger("events").last_result().rows_erased == 1
    assert [row["v"] for row in past.table("datasets/events") if row["k"] == "b"] != []


def test_a_key_may_return_if_that_is_allowed_but_not_with_what_had_come_before(past: Erasing) -> None:
    past.erase(SECRET, allow_return=True)
    assert past.traces() == []
    past.drop_rows("new.csv", (SECRET, "X", 30))
    past.run()
    assert replay(past.storage, "events", now_us=past.clock(), base=str(past.folder)) is not None
    past.run()
    begin(past.storage, plan_history(past.storage, "events", now_us=past.clock(), base=str(past.folder)))
    past.run()
    assert [row["v"] for row in past.table("datasets/events") if row["k"] == SECRET] == [30]
    assert past.read("things", "k", SECRET)[0]["v"] == [30]


def test_a_new_view_is_built_of_a_dataset_whose_older_versions_are_gone(erased: Erasing) -> None:
    erased.apply(view("more", "place", "place"))
    erased.run()
    more, places = erased.read("more", "place", "X", "Y"), erased.read("places", "place", "X", "Y")
    assert more[0] == places[0] != []
    assert more[1] == places[1]


def test_views_on_demand_have_no_rows_and_are_left_aside(past: Erasing) -> None:
    ratio = {
        "kind": "FeatureView",
        "metadata": {"name": "ratio"},
        "spec": {
            "onDemand": {"inputs": ["things:v"]},
            "features": [{"name": "half", "type": "float64", "expression": "v / 2"}],
        },
    }
    past.project.registry.accept(OnDemandView.model_validate(ratio))
    past.erase()
    assert past.traces() == []


ODD = 'O\'Neil, "Jr" the 2nd, 名前'


def test_no_trace_of_an_odd_key_stays_in_any_table_reason_status_or_journal(store: Make) -> None:
    p = store()
    spec = {**PIPELINE["spec"], "columns": [{"name": "v", "type": "int64"}]}
    p.apply({**PIPELINE, "spec": spec})
    quoted = '"' + ODD.replace('"', '""') + '"'
    rows = [
        f"{quoted},X,2024-01-01T00:00:00Z,1",
        f"{quoted},X,2024-01-01T00:01:00Z,-2",
        f"b,X,2024-01-01T00:02:00Z,{quoted}",
        f"b,X,2024-01-01T00:03:00Z,3,{quoted}",
        "b,X,2024-01-01T00:04:00Z,4",
        "b,X,2024-01-01T00:05:00Z,x",
    ]
    (p.folder / "raw" / "a.csv").write_text("tail,place,ts,v\n" + "\n".join(rows) + "\n")
    p.run()
    status = paths.status("pipelines", "events")
    said = ResourceStatus.model_validate_json(p.storage.read(status))
    wrong = said.model_copy(
        update={"failure": Failure(type="RequestError", problem="no", got=ODD, retryable=False)}
    )
    record_status(p.storage, "pipelines", "events", wrong)
    dismiss = Dismissal(because=f"{ODD} asked for it", by="me", at_us=0, entries=())
    assert try_dismiss(p.storage, paths.quarantine("pipelines", "events"), 1, dismiss)
    reasons = [row["reason"] for row in p.table("quarantine/pipelines/events")]
    assert any("Neil" in reason for reason in reasons), reasons
    path = p.folder / "keys.csv"
    path.write_text(f"k\n{quoted}\n")
    number = command.begin(
        p.project, command.plan(p.project, "thing", None, path, allow_return=False), p.clock()
    )
    p.finish(number)
    left = {row["__row"]: row["reason"] for row in p.table("quarantine/pipelines/events")}
    assert "Neil" not in str(left)
    assert left[2] == "[erased]", "the value stands in the row of another key, and not in the reason"
    assert "'x'" in left[5], "a reason that shows no key stays"
    assert [row["v"] for row in p.table("datasets/events")] == [4]
    assert not [path for path in p.traces("Neil") if path.startswith(("registry", "ledger"))]
    assert "Neil" not in str([each.because for each in dismissals(p.storage, "quarantine/pipelines/events")])


def test_what_killed_writes_have_left_goes(past: Erasing) -> None:
    root = Path(past.storage.root)
    old = root / "online" / "things" / f".tmp-{'0' * 32}"
    stats = root / "datasets" / "events" / "_delta_log" / "00000000000000000009.json#1"
    other = root / "notes.tmp-1"
    for each in (old, stats, other):
        each.parent.mkdir(parents=True, exist_ok=True)
        each.write_text(SECRET)
    os.utime(stats, (0, 0))
    past.erase()
    assert not old.exists()
    assert not stats.exists()
    assert other.exists(), "it is not ours"
