from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurestore.arrivals.arrival import Arrival
from featurestore.arrivals.manifest import Action, Entry, Manifest, OpenBatch, first, should_close, split
from featurestore.resources.trigger import ArrivalOrder, ArrivalTrigger

TRIGGER = ArrivalTrigger(max_wait=timedelta(seconds=2), max_files=3, max_bytes=100)
NEWEST_FIRST = TRIGGER.model_copy(update={"order": ArrivalOrder.NEWEST_FIRST})

entries = st.lists(
    st.builds(
        Entry,
        st.builds(
            Arrival,
            uri=st.text(min_size=1, max_size=3),
            version=st.just("v1"),
            size_bytes=st.integers(0, 150),
            modified_us=st.integers(0, 5),
        ),
    ),
    max_size=20,
    unique_by=lambda entry: entry.arrival.uri,
)


def entry(uri: str, size_bytes: int = 1, modified_us: int = 0) -> Entry:
    return Entry(Arrival(uri, "v1", size_bytes, modified_us))


def uris(batches: list[tuple[Entry, ...]]) -> list[list[str]]:
    return [[one.arrival.uri for one in batch] for batch in batches]


@pytest.mark.parametrize(
    ("sizes", "now_us", "closes"),
    [
        ([], 10**9, False),
        ([1], 1_999_999, False),
        ([1], 2_000_000, True),
        ([1, 1], 0, False),
        ([1, 1, 1], 0, True),
        ([99], 0, False),
        ([50, 50], 0, True),
        ([1000], 0, True),
    ],
)
def test_a_batch_closes_on_count_bytes_or_wait(sizes: list[int], now_us: int, closes: bool) -> None:
    batch = OpenBatch(tuple(entry(str(n), size) for n, size in enumerate(sizes)), opened_us=0)
    assert should_close(batch, TRIGGER, now_us) is closes


def test_a_clock_that_went_back_closes_nothing_early() -> None:
    assert not should_close(OpenBatch((entry("a"),), opened_us=10_000_000), TRIGGER, 0)


def test_a_backlog_is_split_by_modified_time_then_uri() -> None:
    waiting = [entry("c", modified_us=1), entry("b", modified_us=1), entry("z"), entry("a", modified_us=2)]
    assert uris(list(split(waiting, TRIGGER))) == [["z", "b", "c"], ["a"]]


def test_where_the_newest_is_first_a_batch_has_the_newest_and_of_these_the_oldest_stands_first() -> None:
    waiting = [entry(uri, modified_us=at) for at, uri in enumerate("abcde")]
    assert uris(list(split(waiting, NEWEST_FIRST))) == [["c", "d", "e"], ["a", "b"]]


def test_a_file_above_max_bytes_is_a_batch_alone() -> None:
    waiting = [entry("a"), entry("b", 5000), entry("c")]
    assert uris(list(split(waiting, TRIGGER))) == [["a"], ["b"], ["c"]]


def test_empty_files_are_taken_too() -> None:
    assert uris(list(split([entry("a", 0)], TRIGGER))) == [["a"]]


@given(entries)
def test_a_split_loses_and_doubles_nothing_and_keeps_every_bound(waiting: list[Entry]) -> None:
    batches = list(split(waiting, TRIGGER))
    assert [one for batch in batches for one in batch] == sorted(
        waiting, key=lambda one: (one.arrival.modified_us, one.arrival.uri)
    )
    for batch in batches:
        assert 1 <= len(batch) <= TRIGGER.max_files
        assert len(batch) == 1 or sum(one.arrival.size_bytes for one in batch) <= TRIGGER.max_bytes


@given(entries, st.sampled_from([TRIGGER, NEWEST_FIRST]))
def test_all_but_the_last_batch_are_full(waiting: list[Entry], trigger: ArrivalTrigger) -> None:
    batches = list(split(waiting, trigger))
    for batch, following in pairwise(batches):
        next_one = following[0] if trigger is TRIGGER else following[-1]
        more = sum(one.arrival.size_bytes for one in (*batch, next_one))
        assert len(batch) == TRIGGER.max_files or more > TRIGGER.max_bytes


@given(entries, st.integers(0, 25))
def test_of_a_backlog_the_oldest_or_the_newest_come_first(waiting: list[Entry], limit: int) -> None:
    ordered = sorted(waiting, key=lambda one: (one.arrival.modified_us, one.arrival.uri))
    assert first(iter(waiting), ArrivalOrder.OLDEST_FIRST, limit) == ordered[:limit]
    assert first(iter(waiting), ArrivalOrder.NEWEST_FIRST, limit) == ordered[::-1][:limit]


def test_a_manifest_is_read_as_it_was_written(arrival: Callable[..., Arrival]) -> None:
    manifest = Manifest(
        pipeline="flights",
        uid="u",
        number=3,
        spec_digest="d",
        created_us=7,
        entries=(
            Entry(arrival("a\tü")),
            Entry(arrival("b"), Action.REPLACE, replaces=((1, 0), (2, 5))),
            Entry(arrival("c"), Action.REJECT, reason="why"),
            Entry(arrival("d"), Action.REPLAY, replays=(1, 4)),
        ),
        lookups=(("planes", 4),),
    )
    again = Manifest.from_json(manifest.to_json())
    assert again == manifest
    assert again.digest == manifest.digest
