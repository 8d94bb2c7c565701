"""The rows of a training set are read once each, by however many ranks and workers, and whenever they are killed."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import chdir
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from featurestore.client.training_data import TrainingData
from featurestore.client.training_reader import TrainingReader
from featurestore.errors import Damaged, NotFound, RequestError
from featurestore.storage import paths
from featurestore.storage.objects import Storage
from featurestore.training.training_manifest import (
    ColumnRole,
    PinnedLabels,
    Pins,
    TrainingColumn,
    TrainingManifest,
    TrainingPart,
    TrainingShard,
)

PAGE = Path(__file__).parents[2] / "docs" / "training-sets.md"
SIZES = ((7, 5), (1,), (64, 64, 3), (20,))
ROWS = sum(map(sum, SIZES))
"""Rows of each row group of each shard: 164 rows."""
GOLDEN = [4, 3, 0, 2, 6, 1, 5, 8, 10, 11, 7, 9]
"""What an epoch begins with. If it changes, states that were kept point at other rows: change the reader's format, too."""


def made(
    folder: Path,
    sizes: tuple[tuple[int, ...], ...] = SIZES,
    part: str = "all",
    names: tuple[str, str] = ("n", "text"),
) -> TrainingData:
    """A version whose rows are numbered in their order."""
    storage, shards, first = Storage(str(folder)), [], 0
    place, types = paths.training_data("set", "d1"), (pa.int64(), pa.string())
    for number, groups in enumerate(sizes):
        file = folder / place / part / f"{number:05}.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        with pq.ParquetWriter(file, pa.schema(dict(zip(names, types, strict=True)))) as writer:
            for rows in groups:
                numbers = list(range(first, first + rows))
                first += rows
                if rows:
                    writer.write_table(pa.table([numbers, [str(n) for n in numbers]], names=names), rows)
        shards.append(
            TrainingShard(
                path=f"{part}/{file.name}", rows=sum(groups), size_bytes=1, sha256="", row_groups=groups
            )
        )
    whole = TrainingPart(name=part, rows=first, size_bytes=1, shards=tuple(shards))
    columns = (
        TrainingColumn(name=names[0], type="int64", role=ColumnRole.LABEL),
        TrainingColumn(name=names[1], type="string", role=ColumnRole.FEATURE),
    )
    manifest = TrainingManifest(
        name="set",
        digest="d1",
        spec="",
        definition={},
        pins=Pins(views=(), labels=PinnedLabels(), code={}),
        columns=columns,
        rows=first,
        size_bytes=1,
        parts=(whole,),
    )
    return TrainingData(storage, "set", 1, manifest)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TrainingData:
    return made(tmp_path_factory.mktemp("set"))


def numbers(batches: Any) -> list[int]:
    return [n for batch in batches for n in batch.column("n").to_pylist()]


class Training:
    """Ranks, each with workers whose batches are taken in turns, in step with each other."""

    def __init__(self, data: TrainingData, world: int, workers: int, state: Any, **options: Any) -> None:
        self.readers = [
            [
                data.shards(rank=rank, world_size=world, worker=worker, workers=workers, **options)
                for worker in range(workers)
            ]
            for rank in range(world)
        ]
        for rank in self.readers:
            for reader in rank if state else ():
                reader.load_state_dict(state)
        self.iterators = [[iter(reader) for reader in rank] for rank in self.readers]
        self.number = 0

    def step(self) -> list[list[int]]:
        """What each rank reads; [] where it has nothing more."""
        turn = self.number % len(self.readers[0])
        self.number += 1
        found = [next(rank[turn], None) for rank in self.iterators]
        return [[] if batch is None else numbers([batch]) for batch in found]

    def states(self) -> list[Any]:
        """After the last step, through JSON."""
        turn = (self.number - 1) % len(self.readers[0])
        return [json.loads(json.dumps(rank[turn].state_dict())) for rank in self.readers]

    def close(self) -> None:
        for rank in self.iterators:
            for iterator in rank:
                iterator.close()  # type: ignore[attr-defined]


def steps(training: Training) -> Iterator[list[int]]:
    """The rows of each step, until no rank has any."""
    while any(found := training.step()):
        yield [n for rank in found for n in rank]


worlds = st.tuples(st.integers(1, 5), st.integers(1, 3), st.integers(0, 6), st.integers(2, 40))


@settings(max_examples=examples(60), deadline=None)
@given(st.lists(worlds, min_size=1, max_size=5), st.sampled_from([None, 7]), st.integers(1, 5))
def test_each_row_is_read_once_an_epoch_whatever_is_killed_and_however_many_read_on(
    data: TrainingData, lives: list[tuple[int, int, int, int]], seed: int | None, interleave: int
) -> None:
    read: list[int] = []
    state = None
    for world, workers, kill_after, batch_rows in lives:
        options = {"seed": seed, "epochs": 2, "interleave": interleave, "batch_rows": batch_rows}
        training = Training(data, world, workers, state, **options)
        for _ in range(kill_after):
            found = training.step()
            if not all(found):
                break
            read += [n for rank in found for n in rank]
            states = training.states()
            assert all(it == states[0] for it in states)
            state = states[0]
        training.close()
    last = data.shards(rank=0, world_size=1, epochs=2, seed=seed, interleave=interleave)
    if state:
        last.load_state_dict(state)
    read += numbers(last)
    assert sorted(read[:ROWS]) == list(range(ROWS))
    assert sorted(read[ROWS:]) == list(range(ROWS))


@settings(max_examples=examples(40), deadline=None)
@given(
    st.integers(1, 9),
    st.integers(1, 4),
    st.integers(1, 70),
    st.sampled_from(["uneven", "drop", "pad"]),
    st.lists(st.lists(st.integers(0, 30), max_size=3).map(tuple), max_size=3).map(tuple),
)
def test_the_remainder_is_spread_dropped_or_padded_as_was_chosen(
    tmp_path_factory: pytest.TempPathFactory,
    world: int,
    workers: int,
    batch_rows: int,
    remainder: str,
    sizes: tuple[tuple[int, ...], ...],
) -> None:
    data = made(tmp_path_factory.mktemp("sizes"), sizes)
    rows = data.manifest.rows
    read = [
        [
            [
                len(batch)
                for batch in data.shards(
                    rank=rank,
                    world_size=world,
                    worker=worker,
                    workers=workers,
                    batch_rows=batch_rows,
                    remainder=remainder,
                )
            ]
            for worker in range(workers)
        ]
        for rank in range(world)
    ]
    batches = [sum(map(len, rank)) for rank in read]
    each = [sum(map(sum, rank)) for rank in read]
    if remainder == "uneven":
        assert sum(each) == rows
        assert max(batches) - min(batches) <= (batch_rows == 1 or rows < world)
    else:
        assert len(set(batches)) == 1
        assert set(each) == {rows // world if remainder == "drop" else -(-rows // world)}


def test_what_is_padded_are_rows_of_the_same_epoch_and_what_is_dropped_differs_by_epoch(
    data: TrainingData,
) -> None:
    def of(remainder: str, epochs: int) -> Counter[int]:
        ranks = [
            data.shards(rank=rank, world_size=3, seed=1, epochs=epochs, remainder=remainder)
            for rank in range(3)
        ]
        return Counter(n for reader in ranks for n in numbers(reader))

    padded, dropped = of("pad", 1), of("drop", 8)
    assert set(padded) == set(range(ROWS))
    assert padded.total() == 165
    assert set(dropped) == set(range(ROWS))
    assert dropped.total() == 8 * 162


def test_an_epoch_has_its_own_order_which_only_set_seed_and_epoch_decide(data: TrainingData) -> None:
    one = numbers(data.shards(seed=1, epochs=2, batch_rows=10))
    assert one == numbers(data.shards(seed=1, epochs=2, batch_rows=10))
    assert one[:ROWS] != one[ROWS:]
    assert one != numbers(data.shards(seed=2, epochs=2, batch_rows=10))
    assert one[:12] == GOLDEN
    assert numbers(data.shards()) == list(range(ROWS))


def test_a_reader_goes_on_where_its_iteration_was_left_and_ends_after_its_epochs(data: TrainingData) -> None:
    reader = data.shards(batch_rows=50)
    assert numbers([next(iter(reader))]) == list(range(50))
    assert numbers(reader) == list(range(50, ROWS))
    assert list(reader) == []
    assert reader.state_dict()["epoch"] == 1


def test_a_state_of_other_rows_or_another_seed_or_none_is_refused_in_words(data: TrainingData) -> None:
    state = data.shards(seed=1).state_dict()
    with pytest.raises(RequestError, match=r"another reader: in state, seed, wanted 2, got 1"):
        data.shards(seed=2).load_state_dict(state)
    with pytest.raises(RequestError, match=r"state, digest, wanted 'd1', got 'd2'"):
        data.shards(seed=1).load_state_dict({**state, "digest": "d2"})
    with pytest.raises(RequestError, match=r"state, part, wanted 'all', got None"):
        data.shards(seed=1, part="all").load_state_dict(state)
    with pytest.raises(RequestError, match=r"state, erasures"):
        data.shards(seed=1).load_state_dict({**state, "erasures": 1})
    for broken in ({}, {**state, "position": "0"}, {**state, "position": ROWS + 1}, {**state, "chunk": 0}):
        with pytest.raises(RequestError, match="not the state of a reader"):
            data.shards(seed=1).load_state_dict(broken)


def test_the_rank_is_read_when_iteration_begins(data: TrainingData, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = data.shards(batch_rows=41)
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert numbers(reader) == [*range(41, 82), *range(123, 164)]


def test_the_example_of_the_page_goes_on_where_it_was_killed(tmp_path: Path) -> None:
    data = made(tmp_path, ((3000, 1000), (500,)), "train", ("late", "last_arr_delay"))
    (example,) = re.findall(r"```python\n(import json\n.*?)```", PAGE.read_text(), re.DOTALL)
    names: dict[str, Any] = {"data": data}
    with chdir(tmp_path):
        exec(example, names)
        assert json.loads(Path("reader.json").read_text())["epoch"] == 3
        assert len(names["late"]) < 1024
        killed = data.shards(part="train", seed=7, epochs=3)
        assert len(next(iter(killed))) == 1024
        Path("reader.json").write_text(json.dumps(killed.state_dict()))
        exec(example.replace("...", "read.append(len(late))"), names | {"read": (read := [])})
    assert sum(read) == 3 * 4500 - 1024


def test_a_worker_does_not_go_on_without_the_others(data: TrainingData) -> None:
    reader = data.shards(worker=0, workers=2, batch_rows=10)
    next(iter(reader))
    with pytest.raises(RequestError, match="a worker cannot go on by itself"):
        iter(reader)


def test_workers_go_on_each_from_a_state_and_turn_of_its_own(data: TrainingData) -> None:
    def of(worker: int) -> TrainingReader:
        return data.shards(worker=worker, workers=3, batch_rows=10, seed=1)

    readers = [of(worker) for worker in range(3)]
    batches = [iter(reader) for reader in readers]
    given = numbers([next(batches[n % 3]) for n in range(5)])  # Worker 2 gave one, the others two.
    again = [of(worker) for worker in range(3)]
    for reader, stopped in zip(again, readers, strict=True):
        reader.load_state_dict(stopped.state_dict(), stopped.turn)
    rest = [numbers(reader) for reader in again]
    assert rest == [numbers(it) for it in batches]
    assert sorted([*given, *chain(*rest)]) == list(range(ROWS))


def test_only_the_columns_that_are_asked_for_are_read(data: TrainingData) -> None:
    (batch,) = data.shards(columns=["text"], seed=3)
    assert batch.schema.names == ["text"]
    assert sorted(batch.column("text").to_pylist(), key=int) == [str(n) for n in range(ROWS)]
    (batch,) = data.shards(columns=["text", "n"], seed=3)
    assert batch.schema.names == ["text", "n"]
    assert [str(n) for n in batch.column("n").to_pylist()] == batch.column("text").to_pylist()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_rows": 0}, "batch_rows"),
        ({"epochs": 0}, "epochs"),
        ({"columns": []}, "columns"),
        ({"columns": ["m"]}, "no column 'm'"),
        ({"remainder": "even"}, "uneven, drop, pad"),
        ({"worker": 2, "workers": 2}, "worker"),
        ({"rank": 2, "world_size": 2}, "2 of 2"),
        ({"rank": 0}, "0 of None"),
    ],
)
def test_arguments_that_are_wrong_are_refused_when_the_reader_is_made(
    data: TrainingData, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        data.shards(**options)


def test_a_part_that_is_not_there_and_a_shard_that_was_changed_are_told(tmp_path: Path) -> None:
    data = made(tmp_path)
    with pytest.raises(NotFound, match="no part 'train'"):
        data.shards(part="train")
    path = next(tmp_path.rglob("00000.parquet"))
    pq.write_table(pa.table({"n": [1], "text": ["1"]}), path)
    with pytest.raises(Damaged, match=r"wanted 7 rows in row group 0, got 1 rows"):
        list(data.shards())


def test_ranks_that_are_whole_chunks_apart_read_different_row_groups(tmp_path: Path) -> None:
    data = made(tmp_path, ((64,) * 4, (64,) * 4))
    opened: dict[int, set[int]] = {}
    for rank in range(4):
        found = numbers(data.shards(seed=1, batch_rows=16, rank=rank, world_size=4))
        opened[rank] = {n // 64 for n in found}
    assert sorted(group for groups in opened.values() for group in groups) == list(range(8))
