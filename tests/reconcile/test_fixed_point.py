"""From any state, whatever failed or was lost on the way, plans lead to where all that is wanted is there."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

from build_result import build_result
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from featurestore.reconcile.state import ObservedView
from featurestore.reconcile.steps import Promote
from featurestore.views.builds import ActiveBuild

EVENTS = st.lists(
    st.sampled_from(
        ["file", "files", "apply", "redefine", "ttl", "offline", "online", "suspend", "lost", "pass", "half"]
    ),
    max_size=30,
)


def is_settled(world: Any, name: str) -> None:
    """All that is wanted is there, and nothing else is online."""
    ledger = world.ledgers["flights"]
    assert ledger.open is None
    assert ledger.head == ledger.done
    plan = world.plan()
    assert [c.status for c in plan.pipelines["flights"] if c.type == "Ready"] == ["True"]
    if ledger.dataset_version is None:
        return
    seen, accepted, wanted = world.shown[name], world.views[name], world.wanted(name)
    assert seen.serving == ActiveBuild(wanted, accepted.digest)
    assert seen.builds[wanted].source_version == ledger.dataset_version
    online = accepted.resource.spec.online.enabled == "Always"
    assert seen.published == ({wanted: seen.builds[wanted].version} if online else {})
    assert [c.status for c in plan.views[name] if c.type == "Ready"] == ["True"]


def test_every_state_of_a_view_leads_to_the_same_end(
    new_world: Any, make_pipeline: Any, make_view: Any
) -> None:
    old, new = make_view(), make_view(filter="arr_delay > 0")
    versions = (None, 1, 2)
    states = itertools.product(
        ("Always", "Never"), (None, 2), (None, "old", "new"), versions, versions, versions, versions
    )
    tried = 0
    for online, dataset, serving, old_built, new_built, old_online, new_online in states:
        world = new_world().accept(make_pipeline(), old)
        old_digest, spec_digest = world.wanted("delays"), world.views["delays"].digest
        world.accept(make_view(filter="arr_delay > 0", online={"enabled": online}))
        new_digest = world.wanted("delays")
        versions = {"old": old_built, "new": new_built}
        if serving is not None and (versions[serving] is None or dataset is None):
            continue
        if (old_online or 0) > (old_built or 0) or (new_online or 0) > (new_built or 0):
            continue
        count = dataset or 0
        world.ledgers["flights"] = replace(
            world.ledgers["flights"], head=count, done=count, dataset_version=dataset
        )
        digests = {"old": old_digest, "new": new_digest}
        world.shown["delays"] = ObservedView(
            serving=ActiveBuild(digests[serving], spec_digest) if serving else None,
            serving_spec={"old": old.spec, "new": new.spec, None: None}[serving],
            builds={digests[k]: build_result(v, v) for k, v in versions.items() if v is not None},
            published={
                digest: version
                for digest, version in ((old_digest, old_online), (new_digest, new_online))
                if version is not None
            },
        )
        if dataset is None and (old_built or new_built):
            continue
        world.settle()
        is_settled(world, "delays")
        tried += 1
    assert tried > 150


@settings(max_examples=examples(300), deadline=None)
@given(events=EVENTS, faults=st.lists(st.booleans(), max_size=40), data=st.data())
def test_any_history_of_events_and_failures_ends_where_all_that_is_wanted_is_there(
    new_world: Any,
    make_pipeline: Any,
    make_view: Any,
    broken: Any,
    wrong: Any,
    events: list[str],
    faults: list[bool],
    data: Any,
) -> None:
    world = new_world().accept(make_pipeline(), make_view())
    view: dict[str, Any] = {}
    chance = iter(faults)
    read_version = 0
    for event in events:
        match event:
            case "file" | "files":
                world.arrive("flights", 1 if event == "file" else 600)
            case "apply":
                world.accept(make_pipeline(description=data.draw(st.text("ab", max_size=2))))
            case "redefine":
                view["filter"] = f"arr_delay > {data.draw(st.integers(0, 3))}"
            case "ttl":
                view["ttl"] = f"{data.draw(st.integers(1, 3))}d"
            case "offline" | "online":
                view["online"] = {"enabled": "Never" if event == "offline" else "Always"}
            case "suspend":
                view["suspend"] = data.draw(st.sampled_from(["Active", "Suspended"]))
            case "lost":
                world.shown["delays"] = replace(world.shown["delays"], published={})
            case "pass":
                world.now_us += 60_000_000
            case "half":
                world.now_us += 500_000
        world.accept(make_view(**view))
        plan = world.plan()
        for step in plan.steps:
            failed = world.attempts.get(step.key)
            assert failed is None or failed.next_us <= world.now_us
            if next(chance, False):
                if data.draw(st.booleans(), label="done, and its end not heard of"):
                    world.apply(step)
                world.fail(step, data.draw(st.sampled_from([broken, wrong])))
            else:
                world.apply(step)
            if isinstance(step, Promote):
                version = world.shown["delays"].builds[step.digest].source_version
                assert version >= read_version, "readers went back in time"
                read_version = version
    view["suspend"] = "Active"
    world.accept(make_view(**view))
    world.settle()
    is_settled(world, "delays")


def test_at_the_fixed_point_the_plan_stays_empty_whatever_time_it_is(
    world: Any, make_pipeline: Any, make_view: Any
) -> None:
    world.accept(make_pipeline(), make_view()).arrive("flights").settle()
    for later_us in (1, 10**6, 10**9, 10**15):
        world.now_us += later_us
        assert world.plan().steps == ()
        assert world.plan().wake_us is None
