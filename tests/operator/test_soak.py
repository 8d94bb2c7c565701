"""A laptop and a cluster take the same files and messages while storage, broker and workers fail: the soak, in short.

`make soak` is the same for half an hour, and then also says whether memory grows.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from cluster.control_plane import ControlPlane
from examples import exhaustive

from bench.soak import soak
from bench.verdict import summary

ARRIVALS = 40

pytestmark = [
    pytest.mark.slow,
    pytest.mark.new_process,
    pytest.mark.skipif(not exhaustive(), reason="minutes of a busy machine: make test-all"),
]


def test_all_that_is_sent_is_read_once_whatever_fails_meanwhile(
    controllers: ControlPlane, tmp_path: Path
) -> None:
    lines: list[str] = []
    verdict = soak(controllers, tmp_path, ARRIVALS, every_s=0.5, outage_s=5.0, told=lines.append)
    told = "\n".join([*lines, *summary(verdict)])
    assert verdict.faults == [], told
    assert verdict.drained_s is not None, told
    assert verdict.reads > 0, told
