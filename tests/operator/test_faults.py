"""Whatever goes wrong between operators and the API server: one Job per batch, each row once, and all gets there."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from api_fault import CutWatches, Delays, FirstConflicts, OldReads, Refusals
from cluster.control_plane import ControlPlane
from cluster.fixtures import namespace_of
from cluster.proxy import Proxy, proxy
from cluster_story import Story, story
from eventually import eventually
from examples import sample

pytestmark = pytest.mark.slow
WITHIN_S = 180.0
"""Who is refused again and again waits twice as long each time."""
FAULTS: dict[str, Callable[[Proxy], Refusals | Delays | FirstConflicts | OldReads | CutWatches]] = {
    "busy-and-failing": lambda _: Refusals(0.15, seed=1),
    "late": lambda _: Delays(0.4, seed=1),
    "conflicts": lambda _: FirstConflicts(),
    "old-reads": lambda _: OldReads(),
    "cut-watches": lambda way: CutWatches(way.cut),
}


@pytest.fixture
def it(controllers: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[Story]:
    with story(controllers, namespace, tmp_path) as told:
        told.apply(told.store(), told.pipeline(), told.view())
        told.next()
        yield told


def test_two_operators_at_once_make_one_job_per_batch_and_each_row_once(it: Story) -> None:
    for user in ("one", "two"):
        it.start(user=user, wait=False)
    it.settle()
    it.next()
    it.settle()
    assert len(it.jobs()) == len(it.node.ran) == 2


def test_work_goes_on_when_the_leader_is_killed_and_when_it_ends(it: Story) -> None:
    elected = ("--leader-elect", "--lease-s=3", f"--lease-namespace={it.namespace}")
    first = it.start(*elected, user="first")
    it.settle()
    second = it.start(*elected, user="second")
    first.server.kill()
    it.next()
    it.settle()
    it.start(*elected, user="third")
    second.server.stop(signal.SIGTERM)
    it.next()
    it.settle()
    assert len(it.jobs()) == len(it.node.ran) == 3


def met(plane: ControlPlane, folder: Path, name: str) -> int:
    """How often the fault happened until a first and a second file came through."""
    folder.mkdir()
    with (
        namespace_of(plane) as namespace,
        proxy(plane, name) as way,
        story(plane, namespace, folder) as it,
    ):
        fault = FAULTS[name](way)
        way.begin(fault)
        it.apply(it.store(), it.pipeline(), it.view())
        it.next()
        it.start(by=way, user=name, wait=False)
        it.settle(WITHIN_S)
        it.next()
        it.settle(WITHIN_S)
        assert it.batches() == [1, 2]
        assert len(it.jobs()) == len(it.node.ran)
        return fault.count


@pytest.mark.parametrize("name", sample(list(FAULTS), 3))
def test_what_goes_wrong_on_the_way_delays_and_doubles_nothing(
    controllers: ControlPlane, tmp_path: Path, name: str
) -> None:
    assert met(controllers, tmp_path / name, name) > 0


def test_an_api_server_that_is_killed_while_a_job_runs_is_only_waited_for(it: Story) -> None:
    it.node.paused = True
    it.start()
    eventually(lambda: len(it.node.ran) == 1)
    it.plane.kill_api_server()
    it.node.resume()
    it.plane.start_api_server()
    it.settle()
    it.next()
    it.settle()
    assert len(it.jobs()) == len(it.node.ran) == 2
