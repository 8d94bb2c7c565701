"""What wakes the runner."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from nats_server import NatsServer

from featurestore.resources.data_pipeline import Source
from featurestore.resources.notifications import NatsNotifications
from featurestore.runner.source_watcher import SourceWatcher

LONG_S = 30.0


@pytest.fixture
def watcher(tmp_path: Path) -> Iterator[SourceWatcher]:
    watcher = SourceWatcher(str(tmp_path))
    yield watcher
    watcher.close()


def source(uri: str = "raw/*.csv") -> Source:
    return Source.model_validate({"uri": uri, "format": "CSV"})


def wait_for(watcher: SourceWatcher, pipeline: str, write: Path) -> set[str]:
    """What is heard of files that are written until something is heard: the watch may need a moment to begin."""
    for attempt in range(200):
        (write / f"{attempt}.csv").write_text("a\n")
        heard = watcher.wait(0.1)
        if heard:
            return heard[pipeline]
    raise AssertionError("nothing was heard")


def test_without_hints_it_waits_its_time(watcher: SourceWatcher) -> None:
    assert watcher.wait(0.001) == {}


def test_a_ring_wakes_at_once_also_if_it_came_before(watcher: SourceWatcher) -> None:
    watcher.ring()
    assert watcher.wait(LONG_S) == {}


def test_a_signal_wakes_whoever_waits(watcher: SourceWatcher) -> None:
    before = signal.signal(signal.SIGALRM, lambda number, frame: watcher.ring())
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        assert watcher.wait(LONG_S) == {}
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_file_that_arrives_is_heard_of_under_its_pipeline(watcher: SourceWatcher, tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    watcher.attend({"flights": source()})
    heard = wait_for(watcher, "flights", tmp_path / "raw")
    assert all(Path(uri).parent == Path("raw") for uri in heard)


def test_a_source_that_is_attended_no_more_is_not_heard(watcher: SourceWatcher, tmp_path: Path) -> None:
    for name in ("raw", "other"):
        (tmp_path / name).mkdir()
    watcher.attend({"flights": source()})
    wait_for(watcher, "flights", tmp_path / "raw")
    watcher.attend({"planes": source("other/*.csv")})
    wait_for(watcher, "planes", tmp_path / "other")
    (tmp_path / "raw" / "late.csv").write_text("a\n")
    (tmp_path / "other" / "late.csv").write_text("a\n")
    heard: dict[str, set[str]] = {}
    while "late.csv" not in {Path(uri).name for uri in heard.get("planes", ())}:
        heard = watcher.wait(LONG_S)
        assert "flights" not in heard


def test_events_that_a_server_carries_are_heard_of_under_their_pipeline(
    watcher: SourceWatcher, nats: NatsServer
) -> None:
    carrier = NatsNotifications(servers=nats.address, subject="watched")
    watcher.attend({"flights": source("s3://raw/*.csv")}, {"flights": carrier})
    body = b'{"uri": "s3://raw/a.csv"}'
    heard: dict[str, set[str]] = {}
    while not heard:
        # Until it is subscribed, nobody hears.
        nats.publish("watched", body)
        heard = watcher.wait(0.1)
    assert heard == {"flights": {"s3://raw/a.csv"}}
