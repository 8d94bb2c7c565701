"""A pipeline with labels, a view and a service on a laptop, and training sets of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from laptop import Laptop, view_of

from featurestore.storage import paths

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
PIPELINE = {
    "kind": "DataPipeline",
    "metadata": {"name": "p"},
    "spec": {"source": {"uri": "raw/*.parquet", "format": "Parquet"}},
}
SET: Mapping[str, Any] = {
    "features": {"names": ["view:v", "view:n_1d"]},
    "labels": {"pipeline": "p", "timestampField": "ts", "columns": ["w"]},
}


def training_set(**spec: Any) -> dict[str, Any]:
    return {"kind": "TrainingSet", "metadata": {"name": "set"}, "spec": {**SET, **spec}}


def rows(count: int, seed: int = 0, entities: int = 7) -> tuple[dict[str, Any], ...]:
    """Events of some entities within three days, some at the same time."""
    random = Random(seed)
    return tuple(
        {
            "k": f"e{random.randrange(entities)}",
            "ts": NOON + timedelta(minutes=random.randrange(3 * 24 * 60)),
            "v": random.randrange(1000) if random.random() < 0.9 else None,
            "w": random.random(),
        }
        for _ in range(count)
    )


def order(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """Of rows whose order does not matter."""
    return row["ts"], row["k"] or "", row["w"]


def expected(laptop: Laptop, features: Sequence[str] = ("view:v", "view:n_1d")) -> list[dict[str, Any]]:
    """What get_features answers for all labels, sorted."""
    labels = [{name: row[name] for name in ("k", "ts", "w")} for row in laptop.table(paths.dataset("p"))]
    found = laptop.store(laptop.now).get_features(features, labels, timestamp_column="ts")
    return sorted(found.to_arrow().to_pylist(), key=order)


def begin(folder: Path, *files: tuple[dict[str, Any], ...]) -> Laptop:
    laptop = Laptop(folder, NOON + timedelta(days=10))
    laptop.apply(PIPELINE, view_of("v"))
    for number, content in enumerate(files):
        laptop.drop(f"{number}.parquet", content)
    return laptop
