from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurestore.arrivals.arrival import Arrival
from featurestore.arrivals.files.file_source import FileSource
from featurestore.arrivals.files.settling import (
    OLD_US,
    QUIET_US,
    QUIET_WHOLE_US,
    FileObservation,
    StableFiles,
    ends_whole,
)
from featurestore.arrivals.manifest import Entry
from featurestore.arrivals.push_name import push_name
from featurestore.resources.data_pipeline import Source

NOW = 1_000_000_000
PUSH = {"schema": [{"name": "a", "type": "int64"}]}


def entry(version: str = "v1", modified_us: int = NOW, uri: str = "/raw/a.csv") -> Entry:
    return Entry(Arrival(uri, version, 1, modified_us))


def test_a_file_that_ends_whole_is_settled_after_a_short_quiet() -> None:
    assert FileObservation(entry().arrival, NOW, whole=True).settles_us == NOW + QUIET_WHOLE_US


def test_a_file_that_does_not_end_whole_must_be_quiet_for_longer() -> None:
    assert FileObservation(entry().arrival, NOW, whole=False).settles_us == NOW + QUIET_US


def test_a_file_that_has_not_changed_for_long_is_settled_at_first_sight() -> None:
    settling = StableFiles(lambda arrival: False)
    old = entry(modified_us=NOW - OLD_US)
    assert list(settling.admit([old], NOW)) == [old]


def test_an_object_is_whole_as_soon_as_it_is_seen() -> None:
    new = entry(uri="s3://raw/a.csv")
    assert list(StableFiles(lambda arrival: False).admit([new], NOW)) == [new]


@pytest.mark.parametrize(
    ("name", "push", "taken"),
    [(push_name("p", "a"), PUSH, True), (push_name("p", "a"), None, False), ("other.arrow", PUSH, False)],
    ids=["pushed", "no push", "another file"],
)
def test_a_file_that_was_pushed_and_no_other_is_settled_at_first_sight(
    tmp_path: Path, name: str, push: object, taken: bool
) -> None:
    (tmp_path / name).write_bytes(b"rows")
    spec = {"uri": f"{tmp_path}/*.arrow", "format": "Arrow", "push": push}
    source = FileSource(Source.model_validate(spec))
    [arrival] = source.arrivals()
    entries = [Entry(arrival)]
    assert list(source.admit(entries, arrival.modified_us)) == (entries if taken else [])


def test_a_fresh_file_is_taken_at_its_second_sight() -> None:
    settling = StableFiles(lambda arrival: True)
    assert list(settling.admit([entry()], NOW)) == []
    assert settling.due_us() == NOW + QUIET_WHOLE_US
    assert settling.due(NOW + QUIET_WHOLE_US - 1) == []
    assert settling.due(NOW + QUIET_WHOLE_US) == ["/raw/a.csv"]
    assert list(settling.admit([entry()], NOW + QUIET_WHOLE_US)) == [entry()]
    assert settling.due_us() is None


def test_a_file_that_changes_between_two_looks_waits_again() -> None:
    settling = StableFiles(lambda arrival: True)
    assert list(settling.admit([entry("v1")], NOW)) == []
    assert list(settling.admit([entry("v2")], NOW + QUIET_WHOLE_US)) == []
    assert list(settling.admit([entry("v2")], NOW + 2 * QUIET_WHOLE_US)) == [entry("v2")]


def test_a_file_that_is_admitted_stays_admitted_until_it_is_taken() -> None:
    settling = StableFiles(lambda arrival: True)
    list(settling.admit([entry()], NOW))
    for later in (1, 2, 50, 1000):
        assert list(settling.admit([entry()], NOW + later * QUIET_WHOLE_US)) == [entry()]


def test_a_file_that_is_gone_is_looked_for_once() -> None:
    settling = StableFiles(lambda arrival: True)
    list(settling.admit([entry()], NOW))
    assert settling.due(NOW + QUIET_WHOLE_US) == ["/raw/a.csv"]
    assert list(settling.admit([], NOW + QUIET_WHOLE_US)) == []
    assert settling.due_us() is None


def test_a_time_of_change_in_the_future_does_not_hold_a_file_back() -> None:
    settling = StableFiles(lambda arrival: False)
    ahead = entry(modified_us=NOW * 1000)
    assert list(settling.admit([ahead], NOW)) == []
    assert list(settling.admit([ahead], NOW + QUIET_US)) == [ahead]


def test_a_clock_that_goes_back_takes_nothing_early() -> None:
    settling = StableFiles(lambda arrival: True)
    list(settling.admit([entry()], NOW))
    assert list(settling.admit([entry()], NOW - 5)) == []


def test_files_that_were_taken_are_forgotten() -> None:
    settling = StableFiles(lambda arrival: True)
    list(settling.admit([entry(uri=f"/raw/{n}") for n in range(100)], NOW))
    assert len(settling.due(NOW + QUIET_WHOLE_US)) == 100
    list(settling.admit([], NOW + OLD_US))
    assert settling._seen == {}


@given(st.lists(st.tuples(st.integers(1, 400_000), st.booleans()), max_size=30))
def test_no_file_is_admitted_within_the_quiet_after_a_change(steps: list[tuple[int, bool]]) -> None:
    settling = StableFiles(lambda arrival: True)
    now, version, changed = NOW, 0, NOW
    for wait, changes in steps:
        now += wait
        if changes:
            version, changed = version + 1, now
        seen = entry(f"v{version}", modified_us=changed)
        if list(settling.admit([seen], now)):
            assert now - changed >= QUIET_WHOLE_US


@pytest.mark.parametrize(
    ("kind", "name", "content", "whole"),
    [
        ("Parquet", "a.parquet", b"PAR1....PAR1", True),
        ("Parquet", "a.parquet", b"PAR1....", False),
        ("Arrow", "a.arrow", b"ARROW1....ARROW1", True),
        ("Arrow", "a.arrow", b"ARROW1....", False),
        ("CSV", "a.csv", b"a,b\n1,2\n", True),
        ("CSV", "a.csv", b"a,b\n1,", False),
        ("JSON", "a.jsonl", b'{"a":1}\n', True),
        ("JSON", "a.jsonl", b'{"a":', False),
        ("CSV", "a.csv.gz", b"\x1f\x8b\n", False),
        ("CSV", "empty.csv", b"", False),
        ("Parquet", "short.parquet", b"P", False),
    ],
)
def test_a_finished_file_is_known_by_its_end(
    tmp_path: Path, kind: str, name: str, content: bytes, whole: bool
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    source = Source.model_validate({"uri": str(path), "format": kind})
    assert ends_whole(source, Arrival(str(path), "v1", len(content), 0)) is whole


def test_compressed_lines_have_no_mark(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"packed\n")
    source = Source.model_validate({"uri": str(path), "format": "CSV", "compression": "Gzip"})
    assert not ends_whole(source, Arrival(str(path), "v1", 7, 0))


def test_a_file_that_is_gone_does_not_end_whole(tmp_path: Path) -> None:
    source = Source.model_validate({"uri": "/raw/*.csv", "format": "CSV"})
    assert not ends_whole(source, Arrival(str(tmp_path / "gone"), "v1", 7, 0))
