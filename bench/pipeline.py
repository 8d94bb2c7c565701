"""How fast a batch is beside the same Polars plan written by hand, from scan to Parquet."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

from bench.figure import Figure
from featurestore.arrivals.files.listing import find_arrival
from featurestore.arrivals.ledger import Ledger
from featurestore.arrivals.manifest import Entry, Manifest
from featurestore.protocol import BatchRequest
from featurestore.registry.registry import Registry
from featurestore.resources import DataPipeline
from featurestore.storage.objects import Storage
from featurestore_transforms.batch.batch import run_batch

PAIRS = 5
FILES = 4
ROWS = 2_000_000
GOAL = 0.7
DISTANCE = "distance / (air_time / 60.0)"


def measure() -> list[Figure]:
    """The median of pairs that take turns in one run."""
    with tempfile.TemporaryDirectory() as folder:
        files = write_files(Path(folder), FILES, ROWS)
        size_mb = sum(file.stat().st_size for file in files) / 1e6
        by_hand, by_batch = [], []
        for pair in range(PAIRS + 1):
            hand_s = _by_hand(files, Path(folder) / f"hand-{pair}.parquet")
            batch_s = _by_batch(files, Path(folder) / f"store-{pair}")
            if pair:  # the first fills the caches
                by_hand.append(hand_s)
                by_batch.append(batch_s)
    ratios = [hand / batch for hand, batch in zip(by_hand, by_batch, strict=True)]
    share = statistics.median(ratios)
    rows = FILES * ROWS / 1e6
    return [
        Figure("pipeline", "Polars by hand", rows / statistics.median(by_hand), "M rows/s"),
        Figure("pipeline", "a batch", rows / statistics.median(by_batch), "M rows/s"),
        Figure("pipeline", "a batch, source bytes", size_mb / statistics.median(by_batch), "MB/s"),
        Figure(
            "pipeline",
            f"share of Polars by hand ({min(ratios):.2f} to {max(ratios):.2f})",
            share,
            "",
            f"at least {GOAL}",
            share >= GOAL,
        ),
    ]


def write_files(folder: Path, files: int, rows: int) -> list[Path]:
    """Flights, more or less: numbers, texts and times."""
    random = np.random.default_rng(0)
    tails = pl.Series([f"N{n:05d}" for n in range(5000)])
    paths = []
    for file in range(files):
        at = np.datetime64("2013-01-01") + np.sort(random.integers(0, 10**12, rows)).astype("m8[us]")
        path = folder / f"{file}.parquet"
        pl.DataFrame(
            {
                "flight": random.integers(1, 9000, rows),
                "tailnum": tails.gather(random.integers(0, len(tails), rows)),
                "distance": random.integers(17, 4983, rows).astype("f8"),
                "air_time": random.normal(150, 40, rows),
                "arr_delay": random.normal(7, 45, rows),
                "at": pl.Series(at).dt.replace_time_zone("UTC"),
            }
        ).write_parquet(path)
        paths.append(path)
    return paths


def _by_hand(files: list[Path], target: Path) -> float:
    start = time.perf_counter()
    (
        pl.scan_parquet(files)
        .filter(pl.col("air_time") > 60)
        .with_columns(speed=pl.sql_expr(DISTANCE))
        .filter(pl.sql_expr("distance BETWEEN 1 AND 6000"))
        .sink_parquet(target, compression="lz4", row_group_size=131_072, engine="streaming")
    )
    return time.perf_counter() - start


def _by_batch(files: list[Path], root: Path) -> float:
    storage = Storage(str(root))
    pipeline = DataPipeline.model_validate(
        {
            "metadata": {"name": "flights"},
            "spec": {
                "source": {"uri": str(files[0].parent / "*.parquet"), "format": "Parquet"},
                "transforms": [
                    {"filter": {"where": "air_time > 60"}},
                    {"derive": {"columns": {"speed": DISTANCE}}},
                ],
                "expectations": [{"name": "plausible", "that": "distance BETWEEN 1 AND 6000"}],
            },
        }
    )
    digest = Registry(storage).accept(pipeline)
    ledger = Ledger(storage, "flights")
    arrivals = [arrival for file in files if (arrival := find_arrival(str(file))) is not None]
    entries = tuple(Entry(arrival) for arrival in arrivals)
    ledger.try_append(Manifest("flights", ledger.uid(), 1, digest, 1, entries))
    start = time.perf_counter()
    run_batch(storage, BatchRequest(root=storage.root, pipeline="flights", number=1), lambda progress: None)
    return time.perf_counter() - start
