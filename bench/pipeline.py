"""How fast a batch is beside the same Polars plan written by hand, for each format of files; and one of many small files."""

from __future__ import annotations

import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from bench.figure import Figure
from featurestore.arrivals.files.listing import find_arrival
from featurestore.arrivals.ledger import Ledger
from featurestore.arrivals.manifest import Entry, Manifest
from featurestore.arrivals.result import BatchResult
from featurestore.protocol import BatchRequest
from featurestore.registry.registry import Registry
from featurestore.resources import DataPipeline
from featurestore.storage.objects import Storage
from featurestore_transforms.batch.batch import run_batch

PAIRS = 5
FILES = 4
GOAL = 0.7
SMALL_FILES, SMALL_ROWS, SMALL_GOAL = 2_000, 10, 200
DISTANCE = "distance / (air_time / 60.0)"


class Format(NamedTuple):
    """``rows``: of each of its files, so that a batch takes some seconds. ``goal``: of the share, if there is one."""

    name: str
    rows: int
    write: Callable[[pl.DataFrame, Path], None]
    scan: Callable[[list[Path]], pl.LazyFrame]
    goal: float | None = None


FORMATS = (
    Format("Parquet", 2_000_000, pl.DataFrame.write_parquet, pl.scan_parquet, GOAL),
    Format("CSV", 250_000, pl.DataFrame.write_csv, lambda files: pl.scan_csv(files, try_parse_dates=True)),
    Format(
        "JSON",
        100_000,
        pl.DataFrame.write_ndjson,
        lambda files: pl.scan_ndjson(files).with_columns(pl.col("at").str.to_datetime(time_zone="UTC")),
    ),
)


class Spent(NamedTuple):
    wall_s: float
    cpu_s: float


def measure() -> list[Figure]:
    """Medians of pairs that take turns in one run."""
    return [figure for one in FORMATS for figure in _compared(one)] + [_small_files()]


def _small_files() -> Figure:
    """Files a second of a batch of many small ones."""
    small = FORMATS[0]._replace(rows=SMALL_ROWS)
    with tempfile.TemporaryDirectory() as folder:
        files = write_files(Path(folder), SMALL_FILES, SMALL_ROWS, small)
        spent = _by_batch(files, Path(folder) / "store", small)
    rate = len(files) / spent.wall_s
    name = f"a batch of {len(files):,} small files ({spent.cpu_s / len(files) * 1000:.2f} CPU ms each)"
    return Figure("pipeline", name, rate, "files/s", f"≥ {SMALL_GOAL}", rate >= SMALL_GOAL)


def _compared(one: Format) -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        files = write_files(Path(folder), FILES, one.rows, one)
        size_mb = sum(file.stat().st_size for file in files) / 1e6
        by_hand, by_batch = [], []
        for pair in range(PAIRS + 1):
            hand = _by_hand(files, Path(folder) / f"hand-{pair}.out", one)
            batch = _by_batch(files, Path(folder) / f"store-{pair}", one)
            if pair:  # the first fills the caches
                by_hand.append(hand)
                by_batch.append(batch)
    pairs = list(zip(by_hand, by_batch, strict=True))
    walls = [hand.wall_s / batch.wall_s for hand, batch in pairs]
    share, cpu_share = statistics.median(walls), statistics.median(h.cpu_s / b.cpu_s for h, b in pairs)
    rows, batch_s = FILES * one.rows / 1e6, statistics.median(batch.wall_s for batch in by_batch)
    hand_s = statistics.median(hand.wall_s for hand in by_hand)
    name = f"a batch of {one.name}"
    return [
        Figure("pipeline", f"Polars by hand, {one.name}", rows / hand_s, "M rows/s"),
        Figure("pipeline", name, rows / batch_s, "M rows/s"),
        Figure("pipeline", f"{name}, source bytes", size_mb / batch_s, "MB/s"),
        Figure(
            "pipeline",
            f"{name}, share of Polars by hand ({min(walls):.2f} to {max(walls):.2f})",
            share,
            "",
            f"at least {one.goal}" if one.goal else "",
            share >= one.goal if one.goal else None,
        ),
        Figure("pipeline", f"{name}, the same of CPU seconds", cpu_share, ""),
    ]


def write_files(folder: Path, files: int, rows: int, one: Format = FORMATS[0]) -> list[Path]:
    """Flights, more or less: numbers, texts and times."""
    random = np.random.default_rng(0)
    tails = pl.Series([f"N{n:05d}" for n in range(5000)])
    paths = []
    for file in range(files):
        at = np.datetime64("2013-01-01") + np.sort(random.integers(0, 10**12, rows)).astype("m8[us]")
        path = folder / f"{file}.{one.name.lower()}"
        flights = pl.DataFrame(
            {
                "flight": random.integers(1, 9000, rows),
                "tailnum": tails.gather(random.integers(0, len(tails), rows)),
                "distance": random.integers(17, 4983, rows).astype("f8"),
                "air_time": random.normal(150, 40, rows),
                "arr_delay": random.normal(7, 45, rows),
                "at": pl.Series(at).dt.replace_time_zone("UTC"),
            }
        )
        one.write(flights, path)
        paths.append(path)
    return paths


def _by_hand(files: list[Path], target: Path, one: Format) -> Spent:
    start = _spent()
    (
        one.scan(files)
        .filter(pl.col("air_time") > 60)
        .with_columns(speed=pl.sql_expr(DISTANCE))
        .filter(pl.sql_expr("distance BETWEEN 1 AND 6000"))
        .sink_parquet(target, compression="lz4", row_group_size=131_072, engine="streaming")
    )
    return _since(start)


def _by_batch(files: list[Path], root: Path, one: Format) -> Spent:
    storage = Storage(str(root))
    pipeline = DataPipeline.model_validate(
        {
            "metadata": {"name": "flights"},
            "spec": {
                "source": {"uri": f"{files[0].parent}/*{files[0].suffix}", "format": one.name},
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
    start = _spent()
    result = run_batch(
        storage, BatchRequest(root=storage.root, pipeline="flights", number=1), lambda progress: None
    )
    spent = _since(start)
    assert isinstance(result, BatchResult)
    assert result.rows_read == len(files) * one.rows
    assert not result.rows_quarantined
    return spent


def _spent() -> Spent:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return Spent(time.perf_counter(), used.ru_utime + used.ru_stime)


def _since(start: Spent) -> Spent:
    return Spent(*(now - then for now, then in zip(_spent(), start, strict=True)))
