"""A pipeline of CSV files, run batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from featurestore.arrivals.ledger import Ledger
from featurestore.arrivals.manifest import Manifest
from featurestore.arrivals.result import BatchResult
from featurestore.arrivals.source_kinds import open_source
from featurestore.protocol import BatchRequest
from featurestore.quarantine import entries
from featurestore.quarantine.replay import replay
from featurestore.registry.registry import Registry
from featurestore.resources import DataPipeline
from featurestore.storage import paths
from featurestore.storage.delta import Table
from featurestore.storage.objects import Storage
from featurestore_transforms.batch.batch import run_batch
from featurestore_transforms.tables.row_changes import scan

NAME = "events"
NOW_US = 1_700_000_000_000_000


class Pipeline:
    def __init__(self, root: str, raw: Path, spec: Mapping[str, Any]) -> None:
        self.storage = Storage(root)
        self.raw = raw
        raw.mkdir()
        self.ledger = Ledger(self.storage, NAME)
        self.apply(spec)

    def apply(self, spec: Mapping[str, Any]) -> None:
        source = {"uri": f"{self.raw}/*", "format": "CSV", **spec.get("source", {})}
        full = {"metadata": {"name": NAME}, "spec": {**spec, "source": source}}
        self.digest = Registry(self.storage).accept(DataPipeline.model_validate(full))

    def batch(self, files: Mapping[str, str]) -> BatchResult:
        """The result of a batch of these files, which are written now."""
        entries = []
        source = open_source(Registry(self.storage).all(DataPipeline)[NAME].resource.spec.source)
        for name, text in files.items():
            (self.raw / name).write_text(text)
            [arrival] = source.look([str(self.raw / name)])
            entry = source.decide(arrival, self.ledger.known(arrival.uri))
            assert entry is not None
            entries.append(entry)
        number = self.ledger.last_batch() + 1
        manifest = Manifest(NAME, self.ledger.uid(), number, self.digest, NOW_US, tuple(entries))
        assert self.ledger.try_append(manifest)
        return self.run(number)

    def run(self, number: int) -> BatchResult:
        request = BatchRequest(root=self.storage.root, pipeline=NAME, number=number)
        return run_batch(self.storage, request, lambda progress: None)

    def replay(self, **which: int) -> Manifest | None:
        return replay(self.storage, NAME, now_us=NOW_US, **which)

    def replayed(self, **which: int) -> BatchResult:
        """The result of the batch that runs entries again."""
        manifest = self.replay(**which)
        assert manifest is not None
        return self.run(manifest.number)

    def entries(self) -> list[entries.Quarantined]:
        return entries.entries(self.storage, "pipelines", NAME)

    def open(self) -> list[tuple[int, int, str]]:
        return [(e.batch, e.file, e.rule) for e in self.entries() if e.replayed_in is None]

    def values(self, *columns: str) -> list[tuple[Any, ...]]:
        table = Table.open(self.storage, paths.dataset(NAME))
        assert table is not None
        frame: pl.DataFrame = scan(table, table.files()).select(columns).collect()
        return sorted(frame.rows())


@pytest.fixture
def pipeline(tmp_path: Path) -> Callable[..., Pipeline]:
    """Makes a pipeline from the fields of its spec."""

    def make(**spec: Any) -> Pipeline:
        return Pipeline(str(tmp_path / "store"), tmp_path / "raw", spec)

    return make
