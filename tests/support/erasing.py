"""A store with two entities in one pipeline, one of which is to be erased, and all that is left of a text below it."""

from __future__ import annotations

import gzip
import json
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
from laptop import Laptop

from featurestore.cli import erase as command
from featurestore.protocol import ErasureRequest
from featurestore.registry.project import open_project
from featurestore.storage.filesystem import filesystem
from featurestore.storage.objects import Storage
from featurestore_transforms.erasure.erase import run_erasure

START = datetime(2024, 1, 1, tzinfo=UTC)
NOW = START + timedelta(days=40)
SECRET = "N-14228-SECRET"
PIPELINE: dict[str, Any] = {
    "kind": "DataPipeline",
    "metadata": {"name": "events"},
    "spec": {
        "source": {"uri": "raw/*.csv", "format": "CSV"},
        "trigger": {"arrivals": {"maxWait": "1ms", "maxFiles": 2}},
        "transforms": [{"rename": {"columns": {"tail": "k"}}}],
        "expectations": [{"name": "positive", "that": "v >= 0"}],
    },
}
FEATURES = {"names": ["things:v", "things:total_30d"]}
LABELS = {"pipeline": "events", "timestampField": "ts", "columns": ["place"]}


def view(name: str, entity: str, key: str, *features: str) -> dict[str, Any]:
    total = {
        "name": "total",
        "type": "int64",
        "aggregate": {"function": "Sum", "column": "v", "windows": ["30d"]},
    }
    return {
        "kind": "FeatureView",
        "metadata": {"name": name},
        "spec": {
            "entity": {"name": entity, "joinKeys": [{"name": key, "type": "string"}]},
            "source": {"pipeline": "events"},
            "timestampField": "ts",
            "features": [{"name": "v", "type": "int64", "column": "v"}, total],
        },
    }


def training_set(name: str = "set", **spec: Any) -> dict[str, Any]:
    """Of the view ``things``, for each row of the dataset."""
    made = {"features": FEATURES, "labels": LABELS, **spec}
    return {"kind": "TrainingSet", "metadata": {"name": name}, "spec": made}


THINGS, PLACES = view("things", "thing", "k"), view("places", "place", "place")
# One of them leaves samples of what it compares.
PLACES["spec"]["online"] = {"sampleEntities": 0}


class Erasing(Laptop):
    """``drop_rows`` puts files of ``(key, place, value)``; ``erase`` does as the command does, in this process."""

    def __init__(self, folder: Path, root: str | None = None, redis: str | None = None) -> None:
        super().__init__(folder, START + timedelta(days=30))
        online = {"redis": {"url": redis}} if redis else {"duckdb": {}}
        store = {"offline": {"uri": root or "root"}, "online": online}
        (folder / "store.yaml").write_text(
            json.dumps({"kind": "FeatureStore", "metadata": {"name": "default"}, "spec": store})
        )
        self.project = open_project(folder, {}, folder)
        self.storage: Storage = self.project.storage
        self.apply(PIPELINE, THINGS, PLACES)

    def drop_rows(self, name: str, *rows: tuple[str, str, int]) -> None:
        lines = [
            f"{key},{place},{(START + timedelta(minutes=at + 60 * len(rows))).isoformat()},{value}"
            for at, (key, place, value) in enumerate(rows)
        ]
        (self.folder / "raw" / name).write_text("tail,place,ts,v\n" + "\n".join(lines) + "\n")

    def history(self) -> Erasing:
        """Three files, two batches, with rows of the secret in each table."""
        self.drop_rows("a.csv", (SECRET, "X", 1), ("b", "X", 2), (SECRET, "Y", -3), ("c", "Y", -4))
        self.drop_rows("b.csv", ("b", "Y", 5), (SECRET, "Y", 6))
        self.run()
        self.drop_rows("c.csv", ("z", "Y", 7), (SECRET, "X", 8), ("c", "X", 9))
        self.run()
        return self

    def keys(self, *keys: str) -> Path:
        path = self.folder / "keys.csv"
        path.write_text("k\n" + "".join(f"{key}\n" for key in keys))
        return path

    def begin(self, *keys: str, **how: Any) -> int:
        how = {"allow_return": False, "entity": "thing", "view": None, **how}
        entity, only = how.pop("entity"), how.pop("view")
        found = command.plan(self.project, entity, only, self.keys(*keys), **how)
        return command.begin(self.project, found, self.clock())

    def finish(self, number: int) -> dict[str, Any]:
        request = ErasureRequest(root=self.storage.root, number=number)
        return run_erasure(self.storage, request, lambda _: None).record

    def erase(self, *keys: str, **how: Any) -> dict[str, Any]:
        return self.finish(self.begin(*(keys or (SECRET,)), **how))

    def read(self, view: str, key: str, *entities: str) -> tuple[Any, Any]:
        """What online and join answer."""
        store = self.store(NOW)
        names = [f"{view}:v", f"{view}:total_30d"]
        online = store.get_features(names, [{key: each} for each in entities]).to_dict()
        labels = [{key: each, "t": START + timedelta(days=2)} for each in entities]
        return online, store.get_features(names, labels, timestamp_column="t").to_dict()

    def seen(self) -> Any:
        """All that readers see, and what people are told of it."""
        last = self.ledger("events").last_result()
        assert last is not None
        rows = self.table("datasets/events")
        return (
            sorted((row["__batch"], row["__file"], row["__row"], row["k"], row["v"]) for row in rows),
            sorted(
                (row["__batch"], row["__row"], row["record"])
                for row in self.table("quarantine/pipelines/events")
            ),
            self.read("things", "k", SECRET, "b", "c", "z"),
            self.read("places", "place", "X", "Y"),
            (last.dataset_rows, last.open_rows),
        )

    def traces(self, text: str = SECRET) -> list[str]:
        """Paths of objects below the root in which the text stands, as bytes or as a value of a table."""
        return sorted({path for path, data in self._objects() if _holds(path, data, text)})

    def _objects(self) -> Iterator[tuple[str, bytes]]:
        there, base = filesystem(self.storage.root)
        there.invalidate_cache()
        for path in there.find(base):
            yield path.removeprefix(base).lstrip("/"), there.cat_file(path)


def _holds(path: str, data: bytes, text: str) -> bool:
    if path.endswith(".gz"):
        data = gzip.decompress(data)
    if text.encode() in data:
        return True
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / path.rpartition("/")[2]
        file.write_bytes(data)
        if path.endswith(".parquet"):
            return text in str(pl.read_parquet(file).to_dicts())
        if path.endswith(".duckdb"):
            with duckdb.connect(str(file), read_only=True) as opened:
                names = [name for (name,) in opened.sql("SELECT table_name FROM duckdb_tables()").fetchall()]
                return any(text in str(opened.sql(f'FROM "{name}"').fetchall()) for name in names)
    return False
