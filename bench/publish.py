"""The first publication of 10 million rows of ten features into the embedded store, in processor time.

Rows come as most do: each data file is of a later time than the one before, of entities by chance. Beside ours stands
what Polars takes to decode the keys and times of all rows, without which no newest row is known. Feast's figures are
those of its fastest setting (0.67, materialized to Redis), which were measured once on two cores: it takes minutes.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import polars as pl

from bench.figure import Figure, percentile
from bench.view_table import FEATURES, ViewTable

ROWS, FILE_ROWS = 10_000_000, 2_000_000
ROUNDS = 5
FEAST_S = {100_000: 17.0, 1_000_000: 106.0}
"""Processor seconds of Feast's best, by entities."""
GOALS = {100_000: 15, 1_000_000: 40}
VIEWS = 5
_FILE_US = 10**12


def measure() -> list[Figure]:
    """Medians of some publications of each number of entities."""
    figures: list[Figure] = []
    for entities, goal in GOALS.items():
        with tempfile.TemporaryDirectory() as folder:
            table = ViewTable(Path(folder), {"duckdb": {}}, _frames(entities, FEATURES))
            ours, floor = _cpu_s(_publication(table)), _cpu_s(_keys_and_times(table))
            if entities == min(GOALS):
                parts = _cpu_of_parts(entities)
        question = f"publish {ROWS // 10**6} M rows, {entities:,} entities"
        ratio = FEAST_S[entities] / ours
        figures += [
            Figure(question, "Feast's best, measured once", FEAST_S[entities], "CPU s"),
            Figure(question, "keys and times decoded by Polars", floor, "CPU s"),
            Figure(question, "ours", ours, "CPU s"),
            Figure(question, "Feast's best to ours", ratio, "×", f"≥ {goal} ×", ratio >= goal),
        ]
        if entities == min(GOALS):
            share = parts / ours
            figures.append(Figure(question, f"as {VIEWS} views, to one", share, "×", "≤ 1.5 ×", share <= 1.5))
    return figures


def _cpu_of_parts(entities: int) -> float:
    """The same features as views of two each, published one after the other."""
    seconds = 0.0
    each = len(FEATURES) // VIEWS
    for first in range(0, len(FEATURES), each):
        with tempfile.TemporaryDirectory() as folder:
            features = FEATURES[first : first + each]
            table = ViewTable(Path(folder), {"duckdb": {}}, _frames(entities, features), features)
            seconds += _cpu_s(_publication(table), rounds=2)
    return seconds


def _publication(table: ViewTable) -> Callable[[], object]:
    def publish() -> object:
        shutil.rmtree(Path(table.storage.root) / "online", ignore_errors=True)
        return table.publish()

    return publish


def _keys_and_times(table: ViewTable) -> Callable[[], object]:
    plan = pl.scan_parquet(f"{table.folder}/*.parquet").select("k", "event_timestamp")
    return plan.collect


def _cpu_s(call: Callable[[], object], rounds: int = ROUNDS) -> float:
    call()  # loads libraries and fills caches
    seen = []
    for _ in range(rounds):
        start = time.process_time()
        call()
        seen.append(time.process_time() - start)
    return percentile(seen, 0.5)


def _frames(entities: int, features: list[str]) -> Iterator[pl.DataFrame]:
    rng = np.random.default_rng(1)
    for number in range(ROWS // FILE_ROWS):
        keys = pl.Series(rng.integers(0, entities, FILE_ROWS)).cast(pl.String).str.zfill(7)
        at_us = 1_700_000_000_000_000 + number * _FILE_US + np.sort(rng.integers(0, _FILE_US, FILE_ROWS))
        at = pl.Series(at_us).cast(pl.Datetime("us", "UTC"))
        yield pl.DataFrame(
            {"k": keys, "event_timestamp": at, **{name: rng.random(FILE_ROWS) for name in features}}
        )
