"""An operator that is killed at any call to the API server leaves nothing that the next one cannot go on from."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from cluster.control_plane import ControlPlane
from cluster.fixtures import namespace_of
from cluster.proxy import Proxy, proxy
from cluster_story import Story, story
from eventually import eventually
from fault import Kill
from operating import Operator

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("controllers")]
ROWS = {"k": ["a", "b"], "ts": ["2024-01-01T00:00:00", "2024-01-01T01:00:00"], "v": [1, 2]}
REST_S = 2.0
MOST_LIVES = 40


@dataclass(frozen=True)
class Lives:
    """A row of operators, each killed at a call: the n-th one at call ``first + step * n``."""

    name: str
    first: int
    step: int = 0
    writes: bool = True
    lost: bool = False

    def live(self, it: Story, way: Proxy, number: int) -> str:
        """Live once; the call that was the end. "" if it was not made: all is there, and nothing more is written."""
        started: list[Operator] = []
        at = self.first + self.step * number
        fault = Kill(lambda: started[0].server.pid, at, writes=self.writes, lost=self.lost)
        way.begin(fault)
        started.append(it.start(by=way, user=self.name, wait=False))
        eventually(lambda: fault.done.is_set() or it.settled(), 90)
        killed = fault.done.wait(REST_S)
        started[0].server.kill()
        return str(fault.met) if killed else ""


EVERY = [
    Lives("at-each-write", 1),
    Lives("at-each-write-unheard", 1, lost=True),
    Lives("at-every-second-write", 2),
    Lives("at-every-third-write-unheard", 3, lost=True),
    Lives("later-and-later", 1, 1),
    Lives("at-any-call", 1, 3, writes=False),
]


def lived(plane: ControlPlane, folder: Path, lives: Lives) -> list[str]:
    """The calls at which operators were killed until all was there, which is checked: one Job, and each row once."""
    folder.mkdir()
    with (
        namespace_of(plane) as namespace,
        proxy(plane, lives.name) as way,
        story(plane, namespace, folder) as it,
    ):
        it.apply(it.store(), it.pipeline(), it.view())
        it.drop("1.parquet", ROWS)
        ends = list(itertools.takewhile(bool, (lives.live(it, way, n) for n in range(MOST_LIVES))))
        assert len(ends) < MOST_LIVES, ends
        found = it.reader().get_features(["things:v"], [{"k": "a"}, {"k": "b"}]).to_dict()
        assert found["v"] == [1, 2]
        view, pipeline = it.get("featureview", "things")["status"], it.get("datapipeline", "events")["status"]
        assert (view["rows"], view["entities"], pipeline["rows"], pipeline["batch"]) == (2, 2, 2, 1)
        assert len(it.jobs()) == len(it.node.ran) == 1
        return ends


def test_an_operator_that_is_killed_at_any_call_leaves_nothing_half_done(
    controllers: ControlPlane, tmp_path: Path
) -> None:
    with ThreadPoolExecutor(3) as pool:
        ends = list(pool.map(lambda it: lived(controllers, tmp_path / it.name, it), EVERY))
    told = "\n".join(f"{lives.name}: {', '.join(them)}" for lives, them in zip(EVERY, ends, strict=True))
    for what in ("POST", "configmaps", "jobs", "events", "status"):
        assert what in told, told
