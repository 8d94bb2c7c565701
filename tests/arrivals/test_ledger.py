from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import pytest

from featurestore.arrivals.arrival import Arrival
from featurestore.arrivals.files.overwrites import decide
from featurestore.arrivals.ledger import CHECKPOINT_MANIFESTS, Ledger
from featurestore.arrivals.manifest import Action, Entry, Manifest
from featurestore.arrivals.result import BatchResult
from featurestore.errors import NotFound, RequestError, StorageError
from featurestore.resources.data_pipeline import OnOverwrite
from featurestore.storage import paths
from featurestore.storage.objects import Storage

Make = Callable[..., Arrival]
Take = Callable[[Ledger, Iterable[Entry]], Manifest]

REJECT, _, REPLACE = (partial(decide, on_overwrite=policy) for policy in OnOverwrite)


def land(ledger: Ledger, n: int) -> None:
    result = BatchResult(
        pipeline="flights",
        number=n,
        dataset_version=n,
        files=1,
        files_quarantined=0,
        rows_read=1,
        rows_committed=1,
        rows_quarantined=0,
        rows_dropped=0,
        finished_us=0,
    )
    ledger._storage.replace(paths.result("flights", n), result.model_dump_json().encode())


def manifest(ledger: Ledger, number: int, *entries: Entry) -> Manifest:
    return Manifest("flights", ledger.uid(), number, "spec", 0, entries)


def test_a_new_ledger_is_empty(storage: Storage) -> None:
    ledger = Ledger(storage, "flights")
    assert (ledger.last_batch(), ledger.committed_batch()) == (0, 0)
    assert ledger.result(1) is None
    with pytest.raises(NotFound, match="no such batch: in the ledger of 'flights', got 1"):
        ledger.manifest(1)


def test_a_ledger_keeps_its_uid(storage: Storage) -> None:
    assert Ledger(storage, "flights").uid() == Ledger(storage, "flights").uid()
    assert Ledger(storage, "flights").uid() != Ledger(storage, "planes").uid()


def test_what_is_intended_is_known_to_the_next_process(storage: Storage, arrival: Make, take: Take) -> None:
    ledger = Ledger(storage, "flights")
    written = take(ledger, ledger.new_entries([arrival("a"), arrival("b")], REJECT))
    other = Ledger(storage, "flights")
    assert other.last_batch() == 1
    assert other.manifest(1) == written
    assert list(other.new_entries([arrival("a"), arrival("b"), arrival("c")], REJECT)) == [
        Entry(arrival("c"))
    ]


def test_a_row_is_traced_to_its_file(ledger: Ledger, arrival: Make, take: Take) -> None:
    for n in range(3):
        take(ledger, ledger.new_entries([arrival(f"{n}/a"), arrival(f"{n}/b")], REJECT))
    ledger.checkpoint()
    assert Ledger(ledger._storage, "flights").manifest(2).entries[1].arrival.uri == "1/b"


def test_another_process_is_seen_without_a_restart(storage: Storage, arrival: Make, take: Take) -> None:
    one, two = Ledger(storage, "flights"), Ledger(storage, "flights")
    assert list(two.new_entries([], REJECT)) == []
    take(one, [Entry(arrival("a"))])
    land(one, 1)
    assert (two.last_batch(), two.committed_batch()) == (1, 1)
    assert list(two.new_entries([arrival("a")], REJECT)) == []
    assert two.entry(arrival("a"), REJECT) is None


def test_the_second_of_two_manifests_with_one_number_is_not_written(
    storage: Storage, arrival: Make, take: Take
) -> None:
    one, two = Ledger(storage, "flights"), Ledger(storage, "flights")
    first = take(one, [Entry(arrival("a"))])
    assert not two.try_append(manifest(two, 1, Entry(arrival("b"))))
    assert two.manifest(1) == first


def test_an_arrival_is_never_intended_twice(storage: Storage, arrival: Make, take: Take) -> None:
    one, two = Ledger(storage, "flights"), Ledger(storage, "flights")
    stale = list(two.new_entries([arrival("a")], REJECT))
    take(one, [Entry(arrival("a"))])
    assert not two.try_append(manifest(two, 2, *stale))
    one.checkpoint()
    assert not Ledger(storage, "flights").try_append(manifest(two, 2, *stale))
    assert two.last_batch() == 1


def test_an_arrival_is_not_taken_under_a_policy_that_was_decided_too_early(
    ledger: Ledger, arrival: Make, take: Take
) -> None:
    stale = list(ledger.new_entries([arrival("a", "v2")], REJECT))
    take(ledger, ledger.new_entries([arrival("a", "v1")], REJECT))
    assert not ledger.try_append(manifest(ledger, 2, *stale))


def test_rows_are_not_replaced_by_a_list_that_is_too_old(ledger: Ledger, arrival: Make, take: Take) -> None:
    take(ledger, ledger.new_entries([arrival("a", "v1")], REPLACE))
    stale = list(ledger.new_entries([arrival("a", "v3")], REPLACE))
    take(ledger, ledger.new_entries([arrival("a", "v2")], REPLACE))
    assert not ledger.try_append(manifest(ledger, 3, *stale))
    take(ledger, ledger.new_entries([arrival("a", "v3")], REPLACE))


def test_a_manifest_names_a_version_of_a_file_once(ledger: Ledger, arrival: Make) -> None:
    twice = [Entry(arrival("a", "v1")), Entry(arrival("a", "v1"))]
    assert not ledger.try_append(manifest(ledger, 1, *twice))
    assert ledger.last_batch() == 0


def test_quarantined_rows_are_replayed_once(ledger: Ledger, arrival: Make, take: Take) -> None:
    take(ledger, [Entry(arrival("a")), Entry(arrival("b"))])
    replay = Entry(arrival("a"), Action.REPLAY, replays=(1, 0))
    assert not ledger.try_append(manifest(ledger, 2, replay, replay))
    take(ledger, [replay])
    assert not ledger.try_append(manifest(ledger, 3, replay))
    ledger.checkpoint()
    assert not Ledger(ledger._storage, "flights").try_append(manifest(ledger, 3, replay))
    take(ledger, [Entry(arrival("b"), Action.REPLAY, replays=(1, 1))])


def test_a_replay_of_a_replay_is_taken(ledger: Ledger, arrival: Make, take: Take) -> None:
    take(ledger, [Entry(arrival("a"))])
    take(ledger, [Entry(arrival("a"), Action.REPLAY, replays=(1, 0))])
    take(ledger, [Entry(arrival("a"), Action.REPLAY, replays=(2, 0))])


def test_numbers_have_no_holes(ledger: Ledger, arrival: Make) -> None:
    with pytest.raises(RequestError, match=r"wanted number 1 of .*, got number 2 of"):
        ledger.try_append(manifest(ledger, 2, Entry(arrival("a"))))


def test_a_manifest_of_another_ledger_is_refused(ledger: Ledger, arrival: Make) -> None:
    foreign = dataclasses.replace(manifest(ledger, 1, Entry(arrival("a"))), uid="other")
    with pytest.raises(RequestError, match="got number 1 of other"):
        ledger.try_append(foreign)


def test_done_stops_at_the_first_batch_that_has_not_landed(ledger: Ledger, arrival: Make, take: Take) -> None:
    for n in range(1, 5):
        take(ledger, [Entry(arrival(str(n)))])
    for n in (1, 2, 4):
        land(ledger, n)
    assert ledger.committed_batch() == 2
    land(ledger, 3)
    assert ledger.committed_batch() == 4
    assert Ledger(ledger._storage, "flights").committed_batch() == 4
    landed = ledger.result(3)
    assert landed is not None
    assert landed.number == 3


@pytest.mark.parametrize("count", [998, 999, 1000, 1001])
def test_head_and_done_are_right_where_a_folder_of_batches_ends(ledger: Ledger, count: int) -> None:
    for n in range(1, count + 1):
        # Names are all that counting looks at.
        for path in (paths.manifest("flights", n), paths.result("flights", n)):
            target = Path(ledger._storage.uri(path))
            target.parent.mkdir(parents=True, exist_ok=True)
            target.touch()
    assert (ledger.last_batch(), ledger.committed_batch()) == (count, count)


def test_a_listing_that_is_not_sorted_is_refused_before_it_does_harm(ledger: Ledger, arrival: Make) -> None:
    for listing in (["b", "a"], ["a", "a"]):
        with pytest.raises(StorageError, match="not sorted"):
            list(ledger.new_entries([arrival(uri) for uri in listing], REJECT))


def test_a_start_after_a_checkpoint_knows_the_same(storage: Storage, arrival: Make, take: Take) -> None:
    ledger = Ledger(storage, "flights")
    take(ledger, [Entry(arrival("b\t1")), Entry(arrival("a%"))])
    take(ledger, ledger.new_entries([arrival("b\t1", "v2")], REPLACE))
    ledger.checkpoint()
    take(ledger, ledger.new_entries([arrival("c")], REJECT))
    for again in (ledger, Ledger(storage, "flights")):
        listing = [arrival("a%"), arrival("b\t1", "v3"), arrival("c"), arrival("d")]
        assert list(again.new_entries(listing, REPLACE)) == [
            Entry(arrival("b\t1", "v3"), Action.REPLACE, replaces=((2, 0),), follows=(2, 0)),
            Entry(arrival("d")),
        ]
        assert again.entry(arrival("c"), REJECT) is None
        assert again.last_batch() == 3


def test_losing_every_checkpoint_loses_nothing(ledger: Ledger, arrival: Make, take: Take) -> None:
    for n in range(3):
        take(ledger, [Entry(arrival(str(n)))])
        ledger.checkpoint()
    ledger._storage.delete("ledger/flights/checkpoints")
    again = Ledger(ledger._storage, "flights")
    assert list(again.new_entries([arrival(str(n)) for n in range(4)], REJECT)) == [Entry(arrival("3"))]


def test_the_last_two_checkpoints_are_kept(ledger: Ledger, arrival: Make, take: Take) -> None:
    for n in range(4):
        take(ledger, [Entry(arrival(str(n)))])
        ledger.checkpoint()
    names = ledger._storage.names("ledger/flights/checkpoints")
    assert names == ["000000000003.tsv.gz", "000000000004.tsv.gz"]


def test_a_checkpoint_with_nothing_new_writes_nothing(ledger: Ledger, arrival: Make, take: Take) -> None:
    ledger.checkpoint()
    assert ledger._storage.names("ledger/flights/checkpoints") == []


def test_two_processes_may_checkpoint_at_once(storage: Storage, arrival: Make, take: Take) -> None:
    one, two = Ledger(storage, "flights"), Ledger(storage, "flights")
    take(one, [Entry(arrival("a"))])
    two.last_batch()
    one.checkpoint()
    two.checkpoint()
    for ledger in (one, two, Ledger(storage, "flights")):
        assert list(ledger.new_entries([arrival("a"), arrival("b")], REJECT)) == [Entry(arrival("b"))]


def test_a_checkpoint_is_due_after_many_manifests(ledger: Ledger, arrival: Make, take: Take) -> None:
    for n in range(CHECKPOINT_MANIFESTS):
        assert not ledger.checkpoint_is_due()
        take(ledger, [Entry(arrival(f"{n:03d}"))])
    assert ledger.checkpoint_is_due()
    ledger.checkpoint()
    assert not ledger.checkpoint_is_due()


def test_a_look_that_goes_on_while_batches_are_taken_gives_nothing_twice(
    ledger: Ledger, arrival: Make, take: Take
) -> None:
    found = ledger.new_entries([arrival(uri) for uri in "abcd"], REJECT)
    first = next(found)
    take(ledger, [first, Entry(arrival("c"))])
    assert [entry.arrival.uri for entry in found] == ["b", "d"]


def test_storage_that_is_away_is_never_an_empty_ledger(tmp_path: Path, arrival: Make) -> None:
    (tmp_path / "file").write_bytes(b"no folder")
    ledger = Ledger(Storage(str(tmp_path / "file")), "flights")
    for call in (
        ledger.last_batch,
        ledger.committed_batch,
        ledger.uid,
        lambda: list(ledger.new_entries([arrival("a")], REJECT)),
    ):
        with pytest.raises(StorageError):
            call()
