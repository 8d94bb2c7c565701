"""Which attempt is due after which others: the file that ends the process is found, and no other is blamed."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurestore.arrivals.crash import is_from_outside
from featurestore.arrivals.isolation import (
    CRASHES_FROM_OUTSIDE,
    Isolation,
    Trial,
    Trials,
    isolate,
    refusal,
)
from featurestore.errors import StorageError
from featurestore.failure import Failure
from featurestore.storage import paths
from featurestore.storage.objects import Storage

CRASH = Failure(type="WorkerKilled", problem="died", got="signal SIGSEGV", retryable=True)


def crashed(at: Isolation, **how: object) -> Trial:
    return Trial.model_validate(
        {"first": at.first, "stop": at.stop, "ended_us": at.turn, "crash": CRASH, **how}
    )


def searched(entries: int, killers: set[int]) -> tuple[Isolation, list[Trial]]:
    """The search to its end, where exactly these entries end the process whenever they are read."""
    trials: list[Trial] = []
    while True:
        at = isolate(entries, trials)
        read = range(at.first, at.stop)
        if not read or (not at.halved and not killers):
            return at, trials
        bad = killers.intersection(read)
        trials.append(crashed(at) if bad else Trial(first=at.first, stop=at.stop, ended_us=at.turn))


@given(st.data())
def test_exactly_the_killers_are_found_and_all_others_are_read_once(data: st.DataObject) -> None:
    entries = data.draw(st.integers(1, 40))
    killers = data.draw(st.sets(st.integers(0, entries - 1), min_size=1))
    end, _ = searched(entries, killers)
    assert set(end.killers) == killers
    read = [index for part in end.parts for index in range(part.first, part.stop)]
    assert read == [index for index in range(entries) if index not in killers]


def test_one_killer_among_five_hundred_costs_a_dozen_crashes() -> None:
    _, trials = searched(500, {317})
    assert sum(trial.crash is not None for trial in trials) <= 2 + 9 + 2


def test_a_batch_that_crashed_once_is_attempted_whole_again() -> None:
    at = isolate(8, [crashed(isolate(8, []))])
    assert (at.halved, at.first, at.stop, at.turn) == (False, 0, 8, 1)
    assert at.streak is not None
    assert at.streak.count == 1


def test_a_file_alone_that_crashed_once_is_attempted_again() -> None:
    trials: list[Trial] = []
    while not (at := isolate(2, trials)).halved or at.stop - at.first > 1:
        trials.append(crashed(at))
    once = isolate(2, [*trials, crashed(at)])
    assert (once.first, once.stop, once.killers) == (0, 1, {})
    assert set(isolate(2, [*trials, crashed(at), crashed(at)]).killers) == {0}


def test_a_file_is_not_blamed_for_a_few_kills_that_somebody_may_have_sent() -> None:
    trials: list[Trial] = []
    for _ in range(CRASHES_FROM_OUTSIDE - 1):
        trials.append(crashed(isolate(1, trials), outside=True))
        assert isolate(1, trials).killers == {}
    trials.append(crashed(isolate(1, trials), outside=True))
    assert set(isolate(1, trials).killers) == {0}


def test_a_batch_is_not_halved_while_it_may_get_more_memory() -> None:
    trials: list[Trial] = []
    for _ in range(3):
        trials.append(crashed(isolate(4, trials), wants_memory=True))
    at = isolate(4, trials)
    assert (at.halved, at.out_of_memory) == (False, 3)
    assert isolate(4, [*trials, crashed(at)]).halved


def test_the_wait_after_a_crash_grows_with_crashes_in_a_row_and_a_new_part_waits_for_nothing() -> None:
    trials = [crashed(isolate(8, []))]
    streak = isolate(8, trials).streak
    assert streak is not None
    assert streak.next_us == 200_000
    trials.append(crashed(isolate(8, trials)))
    assert isolate(8, trials).streak is None


@pytest.mark.parametrize(
    ("kind", "got", "outside"),
    [
        ("WorkerKilled", "signal SIGKILL", True),
        ("WorkerKilled", "exit code 137, signal SIGKILL", True),
        ("WorkerKilled", "signal SIGSEGV; last step: read rows", False),
        ("WorkerKilled", "exit code 3", False),
        ("OutOfMemory", "signal SIGKILL", False),
        ("OutOfTime", "none", False),
    ],
)
def test_what_people_and_systems_send_is_told_from_what_engines_do(
    kind: str, got: str, outside: bool
) -> None:
    assert is_from_outside(Failure(type=kind, problem="died", got=got, retryable=True)) is outside


@pytest.mark.parametrize(
    ("kind", "rule"),
    [
        ("WorkerKilled", "file:killed"),
        ("OutOfMemory", "file:killed"),
        ("OutOfTime", "file:timeout"),
        ("Unforeseen", "file:unforeseen"),
    ],
)
def test_a_killer_is_quarantined_with_what_was_seen(kind: str, rule: str) -> None:
    seen = Failure(type=kind, problem="died", got="signal SIGBUS; it held 3.0 GiB at most", retryable=True)
    assert refusal(seen)[0] == rule
    assert "signal SIGBUS; it held 3.0 GiB at most" in refusal(seen)[1]


def test_of_two_who_record_the_same_attempt_one_is_first_and_both_see_its_trial(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    ours, theirs = Trials(storage, "trials"), Trials(storage, "trials")
    assert ours.append(3, 0, crashed(isolate(2, [])))
    assert not theirs.append(3, 0, Trial(first=0, stop=2, ended_us=9))
    assert ours.read(3) == theirs.read(3) == (crashed(isolate(2, [])),)
    assert ours.read(4) == ()


def test_a_trial_that_cannot_be_read_says_what_to_delete(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    storage.replace(paths.trial("trials", 3, 0), b"{")
    with pytest.raises(StorageError, match=r"Delete the folder .*trials/000000000003:"):
        Trials(storage, "trials").read(3)
