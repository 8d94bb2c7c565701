"""What wakes the runner."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from featurestore.resources.data_pipeline import Source
from featurestore.runner.source_watcher import SourceWatcher

LONG_S = 30.0


@pytest.fixture
def bell(tmp_path: Path) -> Iterator[SourceWatcher]:
    bell = SourceWatcher(str(tmp_path))
    yield bell
    bell.close()


def source(uri: str = "raw/*.csv") -> Source:
    return Source.model_validate({"uri": uri, "format": "CSV"})


def wait_for(bell: SourceWatcher, pipeline: str, write: Path) -> set[str]:
    """What is heard of files that are written until something is heard: the watch may need a moment to begin."""
    for attempt in range(200):
        (write / f"{attempt}.csv").write_text("a\n")
        heard = bell.wait(0.1)
        if heard:
            return heard[pipeline]
    raise AssertionError("nothing was heard")


def test_without_hints_it_waits_its_time(bell: SourceWatcher) -> None:
    assert bell.wait(0.001) == {}


def test_a_ring_wakes_at_once_also_if_it_came_before(bell: SourceWatcher) -> None:
    bell.ring()
    assert bell.wait(LONG_S) == {}


def test_a_signal_wakes_whoever_waits(bell: SourceWatcher) -> None:
    before = signal.signal(signal.SIGALRM, lambda number, frame: bell.ring())
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        assert bell.wait(LONG_S) == {}
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_file_that_arrives_is_heard_of_under_its_pipeline(bell: SourceWatcher, tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    bell.attend({"flights": source()})
    heard = wait_for(bell, "flights", tmp_path / "raw")
    assert all(Path(uri).parent == Path("raw") for uri in heard)


def test_a_source_that_is_attended_no_more_is_not_heard(bell: SourceWatcher, tmp_path: Path) -> None:
    for name in ("raw", "other"):
        (tmp_path / name).mkdir()
    bell.attend({"flights": source()})
    wait_for(bell, "flights", tmp_path / "raw")
    bell.attend({"planes": source("other/*.csv")})
    wait_for(bell, "planes", tmp_path / "other")
    (tmp_path / "raw" / "late.csv").write_text("a\n")
    (tmp_path / "other" / "late.csv").write_text("a\n")
    heard: dict[str, set[str]] = {}
    while "late.csv" not in {Path(uri).name for uri in heard.get("planes", ())}:
        heard = bell.wait(LONG_S)
        assert "flights" not in heard
