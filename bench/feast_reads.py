"""Feast's reads of the same values on the same Redis: run by the Python of an environment that has ``feast[redis]``.

``feast_reads.py PORT ENTITIES``; the last line printed is JSON. Imports nothing of ours.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from datetime import datetime, timedelta, timezone
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.types import Float64

FEATURES = [f"f{n}" for n in range(10)]
ROUNDS = 9


def main(port: str, entities: int) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        store = _store(Path(scratch), port, entities)
        names = [f"view:{name}" for name in FEATURES]
        print(json.dumps([_measured(store, names, entities, count) for count in (1, 100, 1000)]))


def _store(folder: Path, port: str, entities: int) -> FeatureStore:
    rng = np.random.default_rng(1)
    rows = pd.DataFrame({name: rng.random(entities) for name in FEATURES})
    rows["k"] = [f"N{n:06d}" for n in range(entities)]
    rows["at"] = datetime.now(timezone.utc)  # noqa: UP017 - of whatever Python has Feast
    rows.to_parquet(folder / "rows.parquet")
    store = FeatureStore(
        config=RepoConfig(
            project="bench",
            provider="local",
            registry=str(folder / "registry.db"),
            online_store={"type": "redis", "connection_string": f"127.0.0.1:{port},db=2"},
            entity_key_serialization_version=3,
        )
    )
    thing = Entity(name="thing", join_keys=["k"], value_type=ValueType.STRING)
    view = FeatureView(
        name="view",
        entities=[thing],
        ttl=timedelta(days=30),
        schema=[Field(name=name, dtype=Float64) for name in FEATURES],
        source=FileSource(path=str(folder / "rows.parquet"), timestamp_field="at"),
    )
    store.apply([thing, view])
    store.write_to_online_store("view", df=rows)
    return store


def _measured(store: FeatureStore, names: list[str], entities: int, count: int) -> dict[str, object]:
    rng = np.random.default_rng(2)
    asked = [[{"k": f"N{n:06d}"} for n in rng.integers(0, entities, count)] for _ in range(20)]
    times = max(3, 200 // count)
    walls, cpus = [], []
    for _ in range(ROUNDS):
        cpu, start = time.process_time(), time.perf_counter()
        for n in range(times):
            found = store.get_online_features(features=names, entity_rows=asked[n % len(asked)]).to_dict()
        walls.append((time.perf_counter() - start) / times * 1e6)
        cpus.append((time.process_time() - cpu) / times * 1e6)
        assert None not in found["f0"]
    middle = ROUNDS // 2
    wall_us, cpu_us = sorted(walls)[middle], sorted(cpus)[middle]
    return {"count": count, "wall_us": wall_us, "cpu_us": cpu_us, "version": version("feast")}


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
