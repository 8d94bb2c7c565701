"""A version of a training set has the rows of get_features over its labels, parted, and its bytes are its digest's."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from laptop import Laptop
from training import NOON, begin, expected, order, rows, training_set

from featurestore.client.training_data import TrainingData
from featurestore.protocol import Progress, TrainingSetRequest
from featurestore.storage.objects import Storage
from featurestore.training.training_versions import version_numbers
from featurestore_transforms.training import joined, pinned_version
from featurestore_transforms.training.make_version import run_training_set

HALVES = {"train": 0.5, "validation": 0.25, "test": 0.25}
SCHEMA = {"k": pl.String, "ts": pl.Datetime("us", "UTC"), "w": pl.Float64}
BY_TIME = {"by": "Time", "parts": HALVES}
BY_ENTITY = {"by": "Hash", "keys": ["k"], "parts": HALVES}
SHUFFLED = {"rows": 100, "shuffle": {"seed": 7}}


def made(laptop: Laptop, **spec: Any) -> TrainingData:
    laptop.apply(training_set(**spec))
    laptop.run()
    return laptop.store(laptop.now).training_set("set")


def content(root: Path, digest: str) -> dict[str, bytes]:
    """All files of a version."""
    folder = root / "trainingsets" / "set" / digest
    return {str(it.relative_to(folder)): it.read_bytes() for it in folder.rglob("*") if it.is_file()}


def test_a_run_makes_a_version_with_the_rows_of_get_features(laptop: Laptop) -> None:
    data = made(laptop)
    assert sorted(data.to_arrow().to_pylist(), key=order) == expected(laptop)
    assert (data.number, data.manifest.rows, list(data.parts)) == (1, 700, ["all"])
    assert data.to_polars().height == len(data.to_pandas()) == 700


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Laptop:
    """Events of few entities, many of them at the same time."""
    laptop = begin(tmp_path_factory.mktemp("history"), rows(500, entities=4))
    laptop.run()
    return laptop


LABELS = st.lists(
    st.fixed_dictionaries(
        {
            "k": st.sampled_from(["e0", "e1", "e2", "e3", "nobody", None]),
            "ts": st.integers(-600, 4 * 24 * 60).map(lambda minutes: NOON + timedelta(minutes=minutes)),
            "w": st.floats(0, 1),
        }
    ),
    min_size=1,
    max_size=150,
)


@settings(max_examples=examples(10), deadline=None)
@given(
    labels=LABELS,
    split=st.sampled_from([None, BY_TIME, BY_ENTITY]),
    shuffled=st.booleans(),
    row_bytes=st.sampled_from([160, 2**24]),
)
def test_of_any_labels_rows_are_those_of_get_features_and_parts_share_no_entity_or_time(
    history: Laptop,
    labels: list[dict[str, Any]],
    split: Mapping[str, Any] | None,
    shuffled: bool,
    row_bytes: int,
) -> None:
    pl.DataFrame(labels, schema=SCHEMA).write_parquet(history.folder / "labels.parquet")
    of_file = {"uri": "labels.parquet", "timestampField": "ts", "columns": ["w"]}
    history.apply(training_set(labels=of_file, split=split, shards=SHUFFLED if shuffled else {"rows": 100}))
    number = max(version_numbers(history.storage, "set"), default=0) + 1
    request = TrainingSetRequest(
        root=history.storage.root, base=str(history.folder), name="set", number=number
    )
    with pytest.MonkeyPatch.context() as patch:
        # With the greater one, the view does not fit.
        patch.setattr(joined, "_INDEX_BYTES", row_bytes)
        run_training_set(history.storage, request, lambda _: None)
    store = history.store(history.now)
    data = store.training_set("set")
    wanted = store.get_features(["view:v", "view:n_1d"], labels, timestamp_column="ts")
    assert sorted(data.to_arrow().to_pylist(), key=order) == sorted(wanted.to_arrow().to_pylist(), key=order)
    parts = {name: data.to_arrow(name).to_pylist() for name in data.parts}
    if split is BY_ENTITY:
        sides = [{row["k"] for row in found} for found in parts.values()]
        assert sum(map(len, sides)) == len(set().union(*sides))
    if split is BY_TIME:
        ends = [(min(it), max(it)) for it in ([row["ts"] for row in found] for found in parts.values()) if it]
        assert all(one[1] < other[0] for one, other in pairwise(ends))
    if not shuffled:
        for found in parts.values():
            assert [row["ts"] for row in found] == sorted(row["ts"] for row in found)


def test_the_same_digest_gives_the_same_bytes_with_other_threads_memory_and_pieces_and_in_another_place(
    laptop: Laptop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    laptop.apply(training_set(split=BY_TIME, shards=SHUFFLED))
    laptop.run()
    root = tmp_path / "root"
    [first] = [TrainingData.find(Storage(str(root)), "set")]
    connect = duckdb.connect
    for threads in (1, 8):
        elsewhere = tmp_path / f"with-{threads}-threads"
        shutil.copytree(root, elsewhere)
        shutil.rmtree(elsewhere / "trainingsets")
        monkeypatch.setattr(pinned_version, "_MOST_GROUPS", threads)
        monkeypatch.setattr(pinned_version, "ROW_GROUP_ROWS", 37 * threads)

        def with_threads(*args: Any, config: dict[str, Any], threads: int = threads) -> Any:
            return connect(*args, config={**config, "threads": threads})

        monkeypatch.setattr(duckdb, "connect", with_threads)
        pa.set_cpu_count(threads)
        request = TrainingSetRequest(root=str(elsewhere), base=str(tmp_path), name="set", number=1)
        result = run_training_set(Storage(str(elsewhere)), request, lambda _: None)
        assert result.digest == first.digest
        assert content(elsewhere, first.digest) == content(root, first.digest)


def test_how_many_rows_have_their_features_is_told_piece_by_piece_up_to_all_of_them(
    laptop: Laptop, monkeypatch: pytest.MonkeyPatch
) -> None:
    laptop.run()
    laptop.apply(training_set())
    monkeypatch.setattr(pinned_version, "ROW_GROUP_ROWS", 200)
    monkeypatch.setattr(pinned_version, "_MOST_GROUPS", 1)
    request = TrainingSetRequest(root=laptop.storage.root, base=str(laptop.folder), name="set", number=1)
    steps: list[Progress] = []
    run_training_set(laptop.storage, request, steps.append)
    assert [(it.done, it.total) for it in steps] == [(200, 700), (400, 700), (600, 700), (700, 700)]
    assert {it.step for it in steps} == {"join features of set"}


def test_shards_have_as_many_rows_as_wanted_and_are_as_the_manifest_says(laptop: Laptop) -> None:
    data = made(laptop, split=BY_TIME, shards=SHUFFLED)
    for part in data.manifest.parts:
        assert [shard.rows for shard in part.shards][:-1] == [100] * (len(part.shards) - 1)
        for shard in part.shards:
            file = pq.ParquetFile(f"{data.uri}/{shard.path}")
            assert file.metadata.num_rows == shard.rows
            assert file.schema_arrow.names == [column.name for column in data.manifest.columns]
            assert [str(field.type) for field in file.schema_arrow] == [
                column.type for column in data.manifest.columns
            ]


def test_statistics_missing_features_and_what_equals_a_label_stand_in_the_manifest(tmp_path: Path) -> None:
    history = tuple({**row, "k": f"e{n}", "v": n if n % 3 else None} for n, row in enumerate(rows(300)))
    labels = {"pipeline": "p", "timestampField": "ts", "columns": ["v", "w"]}
    data = made(begin(tmp_path, history), labels=labels, featureNames="Full", shards=SHUFFLED)
    frame, [part] = data.to_polars(), data.manifest.parts
    column = part.statistics["w"]
    assert (column.count, column.nulls, part.statistics["v"].nulls) == (300, 0, 100)
    assert column.mean == pytest.approx(frame["w"].mean())
    assert column.deviation == pytest.approx(frame["w"].std(ddof=0))
    assert (column.minimum, column.maximum) == (frame["w"].min(), frame["w"].max())
    assert [(it.feature, it.label, it.rows) for it in data.manifest.leaks if it.feature == "view__v"] == [
        ("view__v", "v", 200)
    ]
    missing = frame["view__v"].is_null() & frame["view__n_1d"].is_null()
    assert part.rows_without_features == missing.sum() == 100


def test_how_often_each_class_occurs_stands_in_the_manifest(tmp_path: Path) -> None:
    history = tuple({**row, "v": n % 3} for n, row in enumerate(rows(300)))
    labels = {"pipeline": "p", "timestampField": "ts", "columns": ["v"]}
    data = made(begin(tmp_path, history), labels=labels, featureNames="Full")
    assert data.manifest.parts[0].statistics["v"].values == {"0": 100, "1": 100, "2": 100}


def test_a_row_without_a_time_and_one_that_the_filter_leaves_out_are_no_rows(laptop: Laptop) -> None:
    laptop.drop("timeless.parquet", ({**rows(1)[0], "ts": None},))
    data = made(
        laptop, labels={"pipeline": "p", "timestampField": "ts", "columns": ["w"], "filter": "w < 0.5"}
    )
    assert data.manifest.rows_left_out in (0, 1)
    assert all(row["w"] < 0.5 for row in data.to_arrow().to_pylist())
    assert 0 < data.manifest.rows < 700
