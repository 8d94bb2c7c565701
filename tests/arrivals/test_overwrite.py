from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import pytest

from featurestore.arrivals.arrival import Arrival
from featurestore.arrivals.checkpoint import KnownArrival
from featurestore.arrivals.files.overwrites import decide
from featurestore.arrivals.ledger import Ledger, live
from featurestore.arrivals.manifest import Action, Entry, Manifest
from featurestore.resources.data_pipeline import OnOverwrite

Make = Callable[..., Arrival]
Take = Callable[[Ledger, Iterable[Entry]], Manifest]

REJECT, APPEND, REPLACE = (partial(decide, on_overwrite=policy) for policy in OnOverwrite)


def known(version: str, batch: int, action: Action = Action.TAKE, file: int = 0) -> KnownArrival:
    return KnownArrival("a", batch, file, version, action)


@pytest.mark.parametrize("policy", OnOverwrite)
def test_a_new_file_is_taken(arrival: Make, policy: OnOverwrite) -> None:
    assert decide(arrival("a"), [], policy) == Entry(arrival("a"), Action.TAKE)


@pytest.mark.parametrize("policy", OnOverwrite)
@pytest.mark.parametrize("action", Action)
def test_a_version_that_is_known_does_nothing_whatever_became_of_it(
    arrival: Make, policy: OnOverwrite, action: Action
) -> None:
    before = [known("v1", 1), known("v2", 2, action)]
    assert decide(arrival("a", "v1"), before, policy) is None
    assert decide(arrival("a", "v2"), before, policy) is None


def test_a_rejected_version_says_which_was_there_and_which_came(arrival: Make) -> None:
    entry = REJECT(arrival("a", "v3"), [known("v1", 4), known("v2", 5, Action.REJECT)])
    assert entry is not None
    assert entry.action is Action.REJECT
    assert entry.rule == "file:overwritten"
    assert entry.reason == (
        "the file was overwritten: version v1 was taken in batch 4, this is version v3, and onOverwrite is Reject"
    )


def test_an_appended_version_is_taken_beside_the_old_one(arrival: Make) -> None:
    entry = APPEND(arrival("a", "v2"), [known("v1", 1)])
    assert entry is not None
    assert (entry.action, entry.replaces) == (Action.TAKE, ())
    assert "version v1 was taken in batch 1" in entry.reason


def test_a_replacing_version_names_all_whose_rows_stand(arrival: Make) -> None:
    before = [known("v1", 1), known("v2", 2, file=3), known("v3", 3, Action.REJECT)]
    entry = REPLACE(arrival("a", "v4"), before)
    assert entry is not None
    assert (entry.action, entry.replaces) == (Action.REPLACE, ((1, 0), (2, 3)))


def test_what_was_replaced_stands_no_more(arrival: Make) -> None:
    assert live([known("v1", 1), known("v2", 2, Action.REPLACE)]) == ((2, 0),)
    assert live([known("v1", 1), known("v2", 2, Action.REPLACE), known("v3", 3)]) == ((2, 0), (3, 0))


def test_replayed_rows_stand_beside_those_they_were_quarantined_from() -> None:
    assert live([known("v1", 1), KnownArrival("a", 4, 2, "v1", Action.REPLAY, (1, 0))]) == ((1, 0), (4, 2))


def test_nothing_stands_of_a_file_that_was_only_rejected() -> None:
    assert live([known("v1", 1, Action.REJECT)]) == ()


def test_a_rejected_version_is_reported_once(ledger: Ledger, arrival: Make, take: Take) -> None:
    take(ledger, ledger.new_entries([arrival("a")], REJECT))
    take(ledger, ledger.new_entries([arrival("a", "v2")], REJECT))
    assert list(ledger.new_entries([arrival("a", "v2")], REJECT)) == []
    assert list(ledger.new_entries([arrival("a", "v2")], REPLACE)) == []


def test_each_further_version_is_rejected_by_itself(ledger: Ledger, arrival: Make, take: Take) -> None:
    take(ledger, ledger.new_entries([arrival("a")], REJECT))
    take(ledger, ledger.new_entries([arrival("a", "v2")], REJECT))
    assert [entry.action for entry in ledger.new_entries([arrival("a", "v3")], REJECT)] == [Action.REJECT]


def test_a_replaced_file_is_replaced_again_by_the_next_version(
    ledger: Ledger, arrival: Make, take: Take
) -> None:
    for version in ("v1", "v2", "v3"):
        take(ledger, ledger.new_entries([arrival("a", version)], REPLACE))
    assert [ledger.manifest(n).entries[0].replaces for n in (1, 2, 3)] == [(), ((1, 0),), ((2, 0),)]


def test_a_change_of_policy_holds_for_the_next_version(ledger: Ledger, arrival: Make, take: Take) -> None:
    for version, policy in (("v1", REJECT), ("v2", APPEND), ("v3", REJECT), ("v4", REPLACE)):
        take(ledger, ledger.new_entries([arrival("a", version)], policy))
    assert ledger.manifest(4).entries[0].replaces == ((1, 0), (2, 0))


def test_a_deleted_file_does_nothing_and_neither_does_putting_it_back(
    ledger: Ledger, arrival: Make, take: Take
) -> None:
    take(ledger, ledger.new_entries([arrival("a"), arrival("b")], REJECT))
    assert list(ledger.new_entries([arrival("b")], REJECT)) == []
    assert list(ledger.new_entries([arrival("a"), arrival("b")], REJECT)) == []


def test_a_renamed_file_is_a_new_file(ledger: Ledger, arrival: Make, take: Take) -> None:
    take(ledger, ledger.new_entries([arrival("a")], REJECT))
    assert list(ledger.new_entries([arrival("b")], REJECT)) == [Entry(arrival("b"))]


def test_putting_an_earlier_version_back_does_nothing(ledger: Ledger, arrival: Make, take: Take) -> None:
    take(ledger, ledger.new_entries([arrival("a", "v1")], REPLACE))
    take(ledger, ledger.new_entries([arrival("a", "v2")], REPLACE))
    assert list(ledger.new_entries([arrival("a", "v1")], REPLACE)) == []
