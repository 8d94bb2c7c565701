from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Event, Thread

import pytest

from featurestore.arrivals.files.watch import watch
from featurestore.resources.data_pipeline import Source

PATIENCE_S = 90.0


@contextmanager
def hints(uri: str, base: str | None = None) -> Iterator[SimpleQueue[str]]:
    """A queue of hinted URIs, from a thread that has ended when the block does."""
    source = Source.model_validate({"uri": uri, "format": "CSV"})
    found: SimpleQueue[str] = SimpleQueue()
    stop = Event()

    def run() -> None:
        for uris in watch(source, base, stop):
            for hinted in uris:
                found.put(hinted)

    thread = Thread(target=run)
    thread.start()
    try:
        yield found
    finally:
        stop.set()
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


def until(found: SimpleQueue[str], wanted: str, again: Callable[[], object]) -> set[str]:
    """All URIs hinted until ``wanted``. ``again`` is repeated, for nothing says when watching has begun."""
    seen: set[str] = set()
    deadline = time.monotonic() + PATIENCE_S
    while wanted not in seen:
        assert time.monotonic() < deadline, f"no hint of {wanted}, only of {seen}"
        again()
        try:
            while True:
                seen.add(found.get(timeout=0.2))
        except Empty:
            continue
    return seen


def test_a_file_that_comes_is_hinted(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    with hints(f"{tmp_path}/*.csv") as found:
        until(found, str(path), lambda: path.write_bytes(os.urandom(4)))


def test_a_renamed_file_is_hinted_by_its_last_name_alone(tmp_path: Path) -> None:
    def drop() -> None:
        (tmp_path / "a.csv.part").write_bytes(os.urandom(4))
        (tmp_path / "a.csv.part").rename(tmp_path / "a.csv")

    with hints(f"{tmp_path}/*.csv") as found:
        assert until(found, f"{tmp_path}/a.csv", drop) == {f"{tmp_path}/a.csv"}


def test_what_the_source_does_not_name_is_not_hinted(tmp_path: Path) -> None:
    def drop() -> None:
        for name in ("b.txt", ".c.csv", "d.csv.tmp", "a.csv"):
            (tmp_path / name).write_bytes(os.urandom(4))

    with hints(f"{tmp_path}/**/*.csv") as found:
        assert until(found, f"{tmp_path}/a.csv", drop) == {f"{tmp_path}/a.csv"}


def test_files_in_a_folder_that_is_moved_here_are_hinted(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()

    def drop() -> None:
        shutil.rmtree(tmp_path / "raw" / "day", ignore_errors=True)
        (tmp_path / "made" / "deep").mkdir(parents=True)
        (tmp_path / "made" / "deep" / "a.csv").write_bytes(b"x")
        (tmp_path / "made").rename(tmp_path / "raw" / "day")

    with hints(f"{tmp_path}/raw/**/*.csv") as found:
        until(found, f"{tmp_path}/raw/day/deep/a.csv", drop)


def test_a_folder_that_is_made_later_is_watched_then(tmp_path: Path) -> None:
    def drop() -> None:
        (tmp_path / "raw").mkdir(exist_ok=True)
        (tmp_path / "raw" / "a.csv").write_bytes(os.urandom(4))

    with hints("raw/*.csv", str(tmp_path)) as found:
        until(found, "raw/a.csv", drop)


@pytest.mark.parametrize("uri", ["s3://raw/*.csv", "gs://raw/*.csv"])
def test_where_nothing_gives_hints_watching_ends_at_once(uri: str) -> None:
    source = Source.model_validate({"uri": uri, "format": "CSV"})
    assert list(watch(source, None, Event())) == []


def test_watching_ends_when_it_is_told_to(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "absent"):
        with hints(f"{folder}/*.csv"):
            pass
