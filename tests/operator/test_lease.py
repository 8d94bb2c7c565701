"""Several operators: one works, and another takes over."""

from __future__ import annotations

import json

import pytest
from cluster.control_plane import ControlPlane
from eventually import eventually
from manifest import pipeline, text
from operating import Operator, Start

from featurestore_operator.kube.lease import Move, Sight, move

HELD = {"holderIdentity": "b", "leaseDurationSeconds": 15}


@pytest.mark.parametrize(
    ("spec", "now_s", "what"),
    [
        ({**HELD, "holderIdentity": "a"}, 999.0, Move.RENEW),
        (HELD, 114.0, Move.WAIT),
        (HELD, 116.0, Move.TAKE),
        ({**HELD, "holderIdentity": ""}, 100.0, Move.TAKE),
        ({}, 100.0, Move.TAKE),
    ],
    ids=["ours", "held", "not renewed for its duration", "given up", "new"],
)
def test_a_lease_is_taken_when_its_holder_is_gone(spec: dict[str, object], now_s: float, what: Move) -> None:
    assert move(spec, "a", Sight("7", seen_s=100.0), now_s) is what


def elected(plane: ControlPlane, namespace: str) -> str:
    lease = json.loads(plane.kubectl("get", "lease", "-n", namespace, "-o", "json"))["items"]
    return str(lease[0]["spec"]["holderIdentity"]) if lease else ""


def options(namespace: str) -> tuple[str, ...]:
    return f"--namespace={namespace}", f"--lease-namespace={namespace}", "--lease-s=4"


def pair(plane: ControlPlane, namespace: str, start: Start) -> tuple[Operator, Operator]:
    """One that leads and one that stands by."""
    plane.kubectl("apply", "--server-side", "--filename=-", stdin=text(pipeline(namespace, "flights")))
    first = start(*options(namespace), user="first")
    eventually(lambda: first.looks_at("DataPipeline", "flights") != [])
    second = start(*options(namespace), user="second")
    assert elected(plane, namespace) == "first"
    return first, second


def test_of_two_operators_one_works_and_the_other_takes_over_at_once_when_it_ends(
    control_plane: ControlPlane, namespace: str, start: Start
) -> None:
    first, second = pair(control_plane, namespace, start)
    assert second.seen() == []
    first.server.stop()
    assert "has ended" in first.log()
    assert elected(control_plane, namespace) in ("", "second")
    eventually(lambda: second.looks_at("DataPipeline", "flights") != [])
    assert elected(control_plane, namespace) == "second"


def test_a_killed_leader_is_followed_when_its_lease_has_run_out(
    control_plane: ControlPlane, namespace: str, start: Start
) -> None:
    first, second = pair(control_plane, namespace, start)
    first.server.kill()
    assert elected(control_plane, namespace) == "first"
    eventually(lambda: second.looks_at("DataPipeline", "flights") != [])


def test_a_leader_that_cannot_renew_stops_to_work_and_goes_on_when_it_can(
    control_plane: ControlPlane, namespace: str, start: Start
) -> None:
    first, second = pair(control_plane, namespace, start)
    control_plane.kill_api_server()
    eventually(lambda: "no longer leads" in first.log())
    control_plane.start_api_server()
    eventually(lambda: elected(control_plane, namespace) != "")
    change = text(pipeline(namespace, "flights", "changed"))
    control_plane.kubectl("apply", "--server-side", "--filename=-", stdin=change)
    leader = first if elected(control_plane, namespace) == "first" else second
    eventually(lambda: leader.looks_at("DataPipeline", "flights")[-1:] != [])
    eventually(lambda: leader.looks_at("DataPipeline", "flights")[-1]["description"] == "changed")


def test_at_rest_nothing_is_written_but_the_lease(
    control_plane: ControlPlane, namespace: str, start: Start
) -> None:
    since = control_plane.audit.mark()
    pair(control_plane, namespace, start)
    eventually(lambda: len(control_plane.audit.writes("first", since)) >= 2)
    writes = control_plane.audit.writes("first", since) + control_plane.audit.writes("second", since)
    assert {it.resource for it in writes} == {"leases.coordination.k8s.io"}
