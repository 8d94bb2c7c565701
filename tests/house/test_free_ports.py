"""Tests that run side by side give their servers different ports, also those that do not listen yet."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from server import free_port

DRAWN = 300
"""Two who drew so many each, and knew nothing of each other, would have five in common."""
OTHER = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[1] / "support")!r})
from server import free_port
print(*(free_port() for _ in range({DRAWN})), flush=True)
sys.stdin.read()
"""


def test_no_two_processes_are_given_the_same_port() -> None:
    command = [sys.executable, "-c", OTHER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        theirs = set(map(int, other.stdout.readline().split()))
        ours = {free_port() for _ in range(DRAWN)}
        other.communicate()
    assert len(theirs) == len(ours) == DRAWN
    assert not ours & theirs


def test_ports_of_a_process_that_ended_are_given_again() -> None:
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", OTHER.replace(str(DRAWN), "5000")],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
        )
        assert len(set(done.stdout.split())) == 5000
    assert free_port()
