"""Reads for inference: ours beside the bare store and beside Feast, in wall time and CPU time per read.

The floor on Redis is one ``MGET`` of values that hold ten doubles, by the same client, and one decode of all by numpy.
The embedded floor is a dict of keys and one take from each of ten arrays. Ours also checks a checksum per value, tells
statuses and event times, and notices a lost store.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from bench.figure import Figure, percentile
from bench.view_table import FEATURES, ViewTable
from featurestore.client.connection import Store
from featurestore.registry.project import open_project
from featurestore.timestamps import SECOND_US, current_us

ENTITIES = 100_000
ASKED = (1, 100, 1000)
ROUNDS = 9
ENTITIES_WITH_EVENTS, EVENTS = 10_000, 50
WINDOWED = {"Count": "int64", "Sum": "float64", "Mean": "float64", "Max": "float64", "Last": "float64"}
"""Aggregates, each over two windows, and their types."""
FEAST = "FEAST_PYTHON"
"""Names the Python of an environment that has ``feast[redis]``; without it Feast is not measured."""
Times = tuple[float, float]
"""Median of wall time and of CPU time per call, in microseconds."""


def measure() -> list[Figure]:
    """Both stores with the same values; floors and ours by turns, so that a busy moment meets both."""
    from server import free_port, serving

    with tempfile.TemporaryDirectory() as scratch:
        folder, port = Path(scratch), free_port()
        command = ["redis-server", "--port", str(port), "--save", "", "--appendonly", "no"]
        with serving(command, port, folder / "redis.log"):
            url = f"redis://127.0.0.1:{port}"
            redis = _store(folder / "redis", {"redis": {"url": f"{url}/0"}})
            embedded = _store(folder / "embedded", {"duckdb": {}})
            return [
                *_redis(redis, f"{url}/1"),
                *_memory(f"{url}/0"),
                *_feast(f"{port}"),
                *_embedded(embedded),
                *_windows("Redis", folder / "redis-windows", {"redis": {"url": f"{url}/2"}}),
                *_windows("embedded", folder / "embedded-windows", {"duckdb": {}}),
            ]


def _redis(store: Store, floor_url: str) -> Iterator[Figure]:
    import redis

    client = redis.Redis.from_url(floor_url)
    values = np.random.default_rng(1).random((ENTITIES, len(FEATURES)))
    names = [b"v:N%06d" % n for n in range(ENTITIES)]
    for first in range(0, ENTITIES, 1000):
        client.mset({name: values[first + n].tobytes() for n, name in enumerate(names[first : first + 1000])})
    row = np.dtype([(name, "<f8") for name in FEATURES])
    reader = store.reader("view")

    def floor(keys: list[str]) -> Any:
        found = client.mget([b"v:" + key.encode() for key in keys])
        rows = np.frombuffer(b"".join(found), row)
        return {name: rows[name] for name in FEATURES}

    for count in ASKED:
        rows, calls = _requests(count)
        by_floor, by_reader, by_call = _by_turns(
            [
                lambda keys=rows: floor(keys()),
                lambda keys=rows: reader.read({"k": keys()}).to_numpy(),
                lambda keys=rows: store.get_features("view", {"k": keys()}).to_dict(),
            ],
            calls,
        )
        question = f"Redis, {count:,} of {ENTITIES:,} entities, 10 features"
        yield Figure(question, "bare MGET and numpy decode", by_floor[0], "µs")
        yield Figure(question, "bare: CPU", by_floor[1], "µs")
        yield from _beside(question, "reader.read", by_reader, by_floor, 1.3)
        yield from _beside(question, "get_features", by_call, by_floor, None)


def _embedded(store: Store) -> Iterator[Figure]:
    rng = np.random.default_rng(1)
    arrays = {name: rng.random(ENTITIES) for name in FEATURES}
    places = {f"N{n:06d}": n for n in range(ENTITIES)}
    reader = store.reader("view")

    def floor(keys: list[str]) -> Any:
        place = np.fromiter(map(places.__getitem__, keys), np.int64, len(keys))
        return {name: array[place] for name, array in arrays.items()}

    for count in ASKED:
        rows, calls = _requests(count)
        form = "to_dicts" if count == 1 else "to_numpy"
        by_floor, by_reader, by_call = _by_turns(
            [
                lambda keys=rows: floor(keys()),
                lambda keys=rows, form=form: getattr(reader.read({"k": keys()}), form)(),
                lambda keys=rows: store.get_features("view", {"k": keys()}).to_dict(),
            ],
            calls,
        )
        question = f"embedded, {count:,} of {ENTITIES:,} entities, 10 features"
        yield Figure(question, "dict of keys and numpy take", by_floor[0], "µs")
        if count == 1:
            yield Figure(question, "reader.read", by_reader[0], "µs", "≤ 20 µs", by_reader[0] <= 20)
            yield Figure(question, "reader.read: CPU", by_reader[1], "µs")
        else:
            yield from _beside(question, "reader.read", by_reader, by_floor, 2.0)
        yield from _beside(question, "get_features", by_call, by_floor, None)


def _windows(name: str, root: Path, online: dict[str, Any]) -> Iterator[Figure]:
    """Outputs over windows, which are computed by each read."""
    rng, count = np.random.default_rng(1), ENTITIES_WITH_EVENTS * EVENTS
    ago_s = pl.Series(rng.integers(1, 2 * 86_400, count))
    values = rng.random(count)
    frame = pl.DataFrame(
        {
            "k": [f"N{n:06d}" for n in np.repeat(np.arange(ENTITIES_WITH_EVENTS), EVENTS).tolist()],
            **{
                f"__in_{function}": values if kind == "float64" else True
                for function, kind in WINDOWED.items()
            },
        }
    ).with_columns(event_timestamp=pl.lit(current_us() - ago_s * SECOND_US).cast(pl.Datetime("us", "UTC")))
    features = [
        {
            "name": function,
            "type": kind,
            "aggregate": {"function": function, "column": "x", "windows": ["1h", "1d"]},
        }
        for function, kind in WINDOWED.items()
    ]
    ViewTable(root, online, [frame], features).publish()
    reader = Store(open_project(root, {}, root)).reader("view")
    for asked in (1, 100):
        rows, calls = _requests(asked, ENTITIES_WITH_EVENTS)
        [ours] = _by_turns([lambda keys=rows: reader.read({"k": keys()}).to_dicts()], calls)
        question = f"{name}, {asked:,} of {ENTITIES_WITH_EVENTS:,} entities, 10 outputs over windows"
        goal, met = ("≤ 1,000 µs", ours[0] <= 1000) if asked == 1 else ("", None)
        yield Figure(question, "reader.read", ours[0], "µs", goal, met)
        yield Figure(question, "reader.read: CPU", ours[1], "µs")


def _memory(url: str) -> Iterator[Figure]:
    import redis

    client = redis.Redis.from_url(url)
    before = client.info("memory")["used_memory"]
    client.flushdb()
    freed = (before - client.info("memory")["used_memory"]) / ENTITIES
    yield Figure("Redis", "memory per entity with its key", freed, "bytes", "≤ 200 bytes", freed <= 200)


def _feast(port: str) -> Iterator[Figure]:
    python = os.environ.get(FEAST)
    if not python:
        return
    script = Path(__file__).with_name("feast_reads.py")
    done = subprocess.run(
        [python, "-P", script, port, str(ENTITIES)], capture_output=True, text=True, check=False, timeout=1800
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    for it in json.loads(done.stdout.splitlines()[-1]):
        question = f"Redis, {it['count']:,} of {ENTITIES:,} entities, 10 features"
        yield Figure(question, f"Feast {it['version']}: get_online_features", it["wall_us"], "µs")
        yield Figure(question, f"Feast {it['version']}: CPU", it["cpu_us"], "µs")


def _beside(question: str, name: str, ours: Times, floor: Times, most: float | None) -> Iterator[Figure]:
    ratio = ours[0] / floor[0]
    goal, met = ("", None) if most is None else (f"≤ {most:g} ×", ratio <= most)
    yield Figure(question, name, ours[0], "µs")
    yield Figure(question, f"{name} to floor", ratio, "×", goal, met)
    yield Figure(question, f"{name}: CPU", ours[1], "µs")


def _requests(count: int, entities: int = ENTITIES) -> tuple[Callable[[], list[str]], int]:
    """Keys of one read after the other, and how many reads are measured at a time."""
    rng = np.random.default_rng(2)
    many = [[f"N{n:06d}" for n in rng.integers(0, entities, count)] for _ in range(50)]
    at = iter(range(1 << 62))
    return (lambda: many[next(at) % len(many)]), max(20, 2000 // count)


def _by_turns(calls: list[Callable[[], Any]], times: int) -> list[Times]:
    found: list[list[Times]] = [[] for _ in calls]
    for _ in range(ROUNDS):
        for call, seen in zip(calls, found, strict=True):
            call()
            cpu, start = time.process_time(), time.perf_counter()
            for _ in range(times):
                call()
            wall = time.perf_counter() - start
            seen.append((wall / times * 1e6, (time.process_time() - cpu) / times * 1e6))
    return [
        (percentile([wall for wall, _ in seen], 0.5), percentile([cpu for _, cpu in seen], 0.5))
        for seen in found
    ]


def _store(root: Path, online: dict[str, Any]) -> Store:
    """A store with one view that was published."""
    rng = np.random.default_rng(1)
    columns = {name: rng.random(ENTITIES) for name in FEATURES}
    at = pl.Series([current_us() - SECOND_US]).cast(pl.Datetime("us", "UTC"))
    keys = {"k": [f"N{n:06d}" for n in range(ENTITIES)]}
    frame = pl.DataFrame({**keys, **columns}).with_columns(event_timestamp=pl.lit(at).first())
    ViewTable(root, online, [frame]).publish()
    return Store(open_project(root, {}, root))
