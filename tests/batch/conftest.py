"""A pipeline with a folder of source files, whose batches are run here or in processes of their own."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from featurestore.arrivals.files.listing import find_arrival
from featurestore.arrivals.ledger import Ledger, live
from featurestore.arrivals.manifest import Action, Entry, Manifest
from featurestore.arrivals.result import BatchResult
from featurestore.protocol import BatchRequest
from featurestore.registry.registry import Registry
from featurestore.resources import DataPipeline
from featurestore.storage import paths
from featurestore.storage.delta import Table
from featurestore.storage.objects import Storage
from featurestore_transforms.batch.batch import run_batch

NAME = "events"
CREATED_US = 1_700_000_000_000_000
Rows = list[dict[str, Any]]


class Pipeline:
    """``raw``: where its files are. Manifests are numbered by the ledger; ``run`` runs the last one."""

    def __init__(self, root: str, raw: Path, spec: Mapping[str, Any]) -> None:
        self.storage = Storage(root)
        self.raw = raw
        self.raw.mkdir(exist_ok=True)
        self.ledger = Ledger(self.storage, NAME)
        self.digest = ""
        self.apply(spec)

    def apply(self, spec: Mapping[str, Any]) -> None:
        """From the next manifest on the pipeline is this one."""
        source = {"uri": f"{self.raw}/*", "format": "CSV", **spec.get("source", {})}
        full = {"metadata": {"name": NAME}, "spec": {**spec, "source": source}}
        self.digest = Registry(self.storage).accept(DataPipeline.model_validate(full))

    def csv(self, name: str, text: str) -> str:
        (self.raw / name).write_text(text)
        return name

    def parquet(self, name: str, frame: pl.DataFrame | Mapping[str, Any]) -> str:
        pl.DataFrame(frame).write_parquet(self.raw / name)
        return name

    def entry(self, name: str, **how: Any) -> Entry:
        arrival = find_arrival(str(self.raw / name))
        assert arrival is not None
        return Entry(arrival, **how)

    def intend(self, *names: str | Entry, lookups: tuple[tuple[str, int], ...] = ()) -> int:
        """The number of a new manifest with these files."""
        entries = tuple(self.entry(name) if isinstance(name, str) else name for name in names)
        number = self.ledger.last_batch() + 1
        manifest = Manifest(NAME, self.ledger.uid(), number, self.digest, CREATED_US, entries, lookups)
        assert self.ledger.try_append(manifest)
        return number

    def request(self, number: int) -> BatchRequest:
        return BatchRequest(root=self.storage.root, pipeline=NAME, number=number)

    def run(self, number: int | None = None) -> BatchResult:
        number = self.ledger.last_batch() if number is None else number
        return run_batch(self.storage, self.request(number), lambda progress: None)

    def batch(self, *names: str | Entry) -> BatchResult:
        return self.run(self.intend(*names))

    def replaced(self, name: str) -> Entry:
        """The entry of a file that is new, or takes the place of what the ledger knows of it."""
        known = self.ledger.known(str(self.raw / name))
        os.utime(self.raw / name, ns=(len(known) * 10**9, len(known) * 10**9))
        if not known:
            return self.entry(name)
        return self.entry(name, action=Action.REPLACE, replaces=live(known), follows=known[-1].place)

    def overwrite(self, name: str, text: str) -> Entry:
        """The entry of a file with new content, which takes the place of its old rows."""
        return self.replaced(self.csv(name, text))

    def table(self, path: str) -> Table:
        table = Table.open(self.storage, path)
        assert table is not None
        return table

    @property
    def dataset(self) -> Table:
        return self.table(paths.dataset(NAME))

    def rows(self, *columns: str) -> Rows:
        """Rows of the dataset by batch, file and row; without these numbers if columns are named."""
        return _rows(self.dataset, columns)

    def quarantine(self, *columns: str) -> Rows:
        """Rows of the quarantine by batch, file and row; without when they were put there."""
        table = Table.open(self.storage, paths.quarantine("pipelines", NAME))
        return _rows(table, columns) if table else []


def _rows(table: Table, columns: tuple[str, ...]) -> Rows:
    from featurestore_transforms.tables.row_changes import scan

    frame = scan(table, table.files()).sort("__batch", "__file", "__row", nulls_last=False).collect()
    wanted = columns or [name for name in frame.columns if name != "quarantined_at"]
    return frame.select(wanted).to_dicts()


@pytest.fixture
def pipeline(tmp_path: Path) -> Callable[..., Pipeline]:
    """Makes a pipeline from the fields of its spec."""

    def make(**spec: Any) -> Pipeline:
        return Pipeline(str(tmp_path / "store"), tmp_path / "raw", spec)

    return make


@pytest.fixture
def maker() -> type[Pipeline]:
    """Makes a pipeline in any folder: for tests that need many."""
    return Pipeline


@pytest.fixture
def pair(maker: Any, tmp_path: Path) -> Callable[..., tuple[Any, Any]]:
    """A pipeline with files, and a fresh one that reads the same files under another spec."""

    def make(old: dict[str, Any], new: dict[str, Any]) -> tuple[Any, Any]:
        return (
            maker(str(tmp_path / "old"), tmp_path / "raw", old),
            maker(str(tmp_path / "fresh"), tmp_path / "raw", new),
        )

    return make


@pytest.fixture
def command() -> Callable[[BatchRequest], list[str]]:
    """Arguments of Python for a process that runs one request."""

    def arguments(request: BatchRequest) -> list[str]:
        return ["-m", "featurestore_transforms", "--request", json.dumps(request.model_dump())]

    return arguments


@pytest.fixture
def python() -> str:
    return sys.executable
