"""A training set read in batches by one worker, beside a plain Arrow scan of the same files into batches."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds

from bench.figure import Figure
from featurestore.client.training_data import TrainingData
from featurestore.offline.shard_writer import OpenShard, part_of
from featurestore.resources.training_set import WHOLE
from featurestore.storage import paths
from featurestore.storage.objects import Storage
from featurestore.training.training_manifest import (
    ColumnRole,
    PinnedLabels,
    Pins,
    TrainingColumn,
    TrainingManifest,
)

SHARDS, SHARD_ROWS, FEATURES = 8, 262_144, 20
BATCH_ROWS = 1024
ROUNDS = 5
SHARE = 0.8


def measure() -> list[Figure]:
    """By turns, so that a busy moment meets all."""
    with tempfile.TemporaryDirectory() as folder:
        data = _made(Path(folder))
        files = sorted(str(path) for path in Path(data.uri).rglob("*.parquet"))
        ways: dict[str, Callable[[], Iterable[pa.RecordBatch]]] = {
            "plain Arrow scan": lambda: ds.dataset(files).to_batches(batch_size=BATCH_ROWS),
            "in order": lambda: data.shards(batch_rows=BATCH_ROWS),
            "shuffled": lambda: data.shards(batch_rows=BATCH_ROWS, seed=1),
        }
        took: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(ROUNDS):
            for name, batches in ways.items():
                begun = time.perf_counter()
                rows = sum(len(batch) for batch in batches())
                took[name].append(time.perf_counter() - begun)
                assert rows == data.manifest.rows
    speed = {name: data.manifest.rows / median(times) for name, times in took.items()}
    plain = speed["plain Arrow scan"]
    return [
        Figure("training", "plain Arrow scan", plain / 1e6, "million rows/s"),
        *(
            Figure(
                "training",
                f"one worker, {name}",
                speed[name] / plain,
                "of the scan",
                "at least 0.8",
                speed[name] >= SHARE * plain,
            )
            for name in ("in order", "shuffled")
        ),
    ]


def _made(folder: Path) -> TrainingData:
    """A version with the shards that a set is written with."""
    storage, random = Storage(str(folder)), np.random.default_rng(0)
    columns = [TrainingColumn(name="label", type="bool", role=ColumnRole.LABEL)]
    columns.append(TrainingColumn(name="time", type="timestamp[us, tz=UTC]", role=ColumnRole.TIME))
    columns += [TrainingColumn(name=f"f{n}", type="double", role=ColumnRole.FEATURE) for n in range(FEATURES)]
    records = []
    for number in range(SHARDS):
        values: dict[str, Any] = {"label": random.random(SHARD_ROWS) < 0.1}
        times = np.arange(number * SHARD_ROWS, (number + 1) * SHARD_ROWS)
        values["time"] = pa.array(times, pa.timestamp("us", "UTC"))
        values |= {f"f{n}": random.normal(size=SHARD_ROWS) for n in range(FEATURES)}
        table = pa.table(values)
        shard = OpenShard.of(table.schema, tuple(columns))
        shard.take(table)
        content, record = shard.end(paths.shard(WHOLE, number))
        storage.put_if_absent(f"{paths.training_data('set', 'digest')}/{record.shard.path}", content)
        records.append(record)
    part = part_of(WHOLE, records)
    manifest = TrainingManifest(
        name="set",
        digest="digest",
        spec="",
        definition={},
        pins=Pins(views=(), labels=PinnedLabels(), code={}),
        columns=tuple(columns),
        rows=part.rows,
        size_bytes=part.size_bytes,
        parts=(part,),
    )
    return TrainingData(storage, "set", 1, manifest)
