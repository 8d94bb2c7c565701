"""In a cluster where the clock of an operator is wrong no row is lost or there twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster.binaries import MissingError
from cluster.control_plane import ControlPlane
from cluster_story import Story, story
from eventually import eventually
from operating import samples
from shifted_clock import shifted_clock
from unavailable import unavailable

pytestmark = pytest.mark.slow


@pytest.fixture
def it(controllers: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[Story]:
    with story(controllers, namespace, tmp_path) as told:
        yield told


@pytest.fixture
def clock() -> dict[str, str]:
    """An hour ahead. One that is behind would not trust the certificates of the API server of tests."""
    try:
        return shifted_clock("+1h")
    except MissingError as missing:
        unavailable(missing)


def test_with_an_operator_an_hour_ahead_and_another_that_is_right_each_row_is_there_once(
    it: Story, clock: dict[str, str]
) -> None:
    it.apply(it.store(), it.pipeline(), it.view())
    ahead = it.start(user="ahead", environment=clock)
    right = it.start(user="right")
    it.next()
    it.settle()
    it.node.paused = True
    it.next()
    eventually(lambda: len(it.node.ran) == 2, 60, it.told)
    it.node.kill()
    it.node.resume()
    it.next()
    it.settle(180)
    # By the clock of whoever tells it: the same event is an hour older to the one that is ahead.
    told = [samples(each.get("/metrics")[1], "freshness_seconds")[0] for each in (ahead, right)]
    assert 3500 < told[0] - told[1] < 3700
