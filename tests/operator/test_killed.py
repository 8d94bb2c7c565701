"""An operator that is killed at any call to the API server leaves nothing that the next one cannot go on from."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain, takewhile
from pathlib import Path

import pytest
from api_fault import Kill
from cluster.control_plane import ControlPlane
from cluster.fixtures import namespace_of
from cluster.proxy import Call, Proxy, proxy
from cluster_story import LOOK_S, Story, story
from eventually import eventually
from examples import exhaustive, sample
from operating import Operator

from featurestore.reconcile.conditions import false
from featurestore.reconcile.reasons import Reason
from featurestore.resources.kinds import KINDS
from featurestore.timestamps import current_us
from featurestore_operator.controllers.status_fields import status
from featurestore_operator.kube.api_resources import OURS

pytestmark = pytest.mark.slow
WAVE, WAVES = 4, 2
"""Operators that are killed before one comes that goes on with the work of all, and how often that happens at once."""
SAMPLED = WAVE
WITHIN_S = 120.0
REST_S = 2.0
MOST_LIVES = 60
CERTAIN = (
    *(f"{verb} {kind.plural}" for verb in ("GET", "WATCH") for kind in KINDS.values()),
    *("GET jobs", "WATCH jobs", "GET pods", "WATCH pods", "PATCH configmaps", "POST jobs", "PATCH jobs"),
    *("PATCH featurestores/status", "PATCH datapipelines/status", "PATCH featureviews/status", "POST events"),
)
"""What operators ask for in every life, however they come to it."""


@dataclass(frozen=True)
class Point:
    """A call at which an operator is killed: the ``nth`` that asks for this.

    By what is asked, as threads call in another order in each life. ``unheard``: it is done before, else never made.
    """

    what: str
    nth: int
    unheard: bool

    def is_at(self, call: Call) -> bool:
        return (call.what, call.nth) == (self.what, self.nth)


NOWHERE = Point("", 0, unheard=False)


def points(calls: Iterable[Call]) -> list[Point]:
    """Before each of these calls, and after each that changes something."""
    return [Point(it.what, it.nth, unheard) for it in calls for unheard in sorted({False, it.writes})]


@contextmanager
def told(plane: ControlPlane, under: Path) -> Iterator[tuple[Story, Proxy]]:
    """A namespace with a store, a pipeline, a view and a file, and a way to it."""
    folder = Path(tempfile.mkdtemp(dir=under))
    with (
        namespace_of(plane) as namespace,
        proxy(plane, folder.name) as way,
        story(plane, namespace, folder) as it,
    ):
        it.apply(it.store(), it.pipeline(), it.view())
        it.next()
        # Each life has an Event to tell: what failed before it began fails no more.
        failed = false("Ready", Reason.FAILED, "It failed once.")
        metadata = {"namespace": it.namespace, "name": "things"}
        began = {"metadata": metadata, "status": status([failed], {}, {}, 1, None, current_us())}
        it.api.apply_status(OURS["FeatureView"], began)
        yield it, way


def dies(it: Story, way: Proxy, meets: Callable[[Call], bool], *, unheard: bool) -> bool:
    """Whether an operator was killed at such a call; if it never made one, it is when all is there."""
    started: list[Operator] = []
    fault = Kill(lambda: started[0].server.pid, meets, unheard=unheard)
    way.begin(fault)
    started.append(it.start(by=way, user=f"{it.folder.name}-killed", wait=False))
    eventually(lambda: fault.done.is_set() or it.settled(), WITHIN_S, it.told, each_s=LOOK_S)
    fault.done.wait(REST_S)
    started[0].server.kill()
    return fault.met is not None


def start_next(first: Story, *others: Story) -> None:
    """Another operator comes, and has the namespaces of all of them."""
    more = (f"--namespace={it.namespace}" for it in others)
    operator = first.start(*more, user=f"{first.folder.name}-next")
    for it in others:
        it.operators.append(operator)


def check(it: Story) -> None:
    """All comes to its end, once, and then nothing more is written."""
    it.settle(WITHIN_S)
    it.rest()
    view, pipeline = it.get("featureview", "things")["status"], it.get("datapipeline", "events")["status"]
    assert (view["rows"], view["entities"], pipeline["rows"], pipeline["batch"]) == (1, 1, 1, 1)
    assert len(it.jobs()) == len(it.node.ran) == 1


def killed_at(plane: ControlPlane, under: Path, where: Sequence[Point]) -> list[tuple[bool, list[Point]]]:
    """Of each point, whether an operator came to it, and which ones it came by; the next one goes on from all."""

    def die(it: tuple[Story, Proxy], point: Point) -> tuple[bool, list[Point]]:
        met = dies(*it, point.is_at, unheard=point.unheard)
        return met, points(it[1].calls)

    def check_after(it: Story, point: Point) -> None:
        try:
            check(it)
        except Exception as error:
            error.add_note(f"the operator before was killed at {point}")
            raise

    with ExitStack() as stack, ThreadPoolExecutor(len(where)) as pool:
        them = [stack.enter_context(told(plane, under)) for _ in where]
        ends = list(pool.map(die, them, where))
        stories = [it for it, _ in them]
        start_next(*stories)
        list(pool.map(check_after, stories, where))
        return ends


def test_after_an_operator_that_is_killed_at_any_call_the_next_one_goes_on(
    controllers: ControlPlane, tmp_path: Path
) -> None:
    [(_, seen)] = killed_at(controllers, tmp_path, [NOWHERE])
    tried = sample(seen, SAMPLED)
    certain = [it for it in tried if it.nth == 1 and it.what in CERTAIN]
    came: dict[Point, bool] = {}
    known = dict.fromkeys(tried)
    with ThreadPoolExecutor(WAVES) as pool:
        # A life may have calls that none before it had.
        while todo := [it for it in known if it not in came]:
            waves = [todo[at : at + WAVE] for at in range(0, len(todo), WAVE)]
            ends = [*chain(*pool.map(lambda wave: killed_at(controllers, tmp_path, wave), waves))]
            came |= zip(todo, (met for met, _ in ends), strict=True)
            if exhaustive():
                known |= dict.fromkeys(chain(*(seen for _, seen in ends)))
    assert {it.what for it in seen if it.nth == 1} >= set(CERTAIN)
    assert [it for it in certain if not came[it]] == []


def test_operators_that_each_die_of_their_first_write_get_there_together(
    controllers: ControlPlane, tmp_path: Path
) -> None:
    with told(controllers, tmp_path) as (it, way):
        lives = takewhile(lambda _: dies(it, way, lambda call: call.writes, unheard=True), range(MOST_LIVES))
        assert 5 < len(list(lives)) < MOST_LIVES
        start_next(it)
        check(it)
