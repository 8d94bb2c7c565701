"""A dataset that tests change at will, as pipelines do: real Delta commits, with manifests in a real ledger."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from featurestore.arrivals.arrival import Arrival
from featurestore.arrivals.ledger import Ledger
from featurestore.arrivals.manifest import Entry, Manifest
from featurestore.protocol import BuildRequest, Progress
from featurestore.registry.registry import Registry
from featurestore.resources import FeatureView
from featurestore.resources.outputs import build_digest
from featurestore.storage import paths
from featurestore.storage.delta import BATCH, FILE, ROW, SYSTEM_COLUMNS, Table
from featurestore.storage.objects import Storage
from featurestore.views.builds import BuildResult
from featurestore.views.schema import QUARANTINE, view_schema
from featurestore_transforms.tables.data_files import write_data_file
from featurestore_transforms.tables.row_changes import scan
from featurestore_transforms.views.build import run_build

PLANNED_US = 1_600_000_000_000_000
"""Batch n is planned n seconds after this."""


class Lake:
    """The dataset of the pipeline ``flights`` and views on it."""

    def __init__(self, root: Path) -> None:
        self.storage = Storage(str(root))
        self.ledger = Ledger(self.storage, "flights")
        self.path = paths.dataset("flights")

    @property
    def table(self) -> Table:
        table = Table.open(self.storage, self.path)
        assert table is not None
        return table

    @property
    def version(self) -> int:
        return self.table.version

    def append(self, *files: pl.DataFrame) -> int:
        """One batch of source files; the dataset's version after it."""
        number = self._plan(len(files))
        data = [self.write(self.identified(number, file, rows)) for file, rows in enumerate(files)]
        return self.commit(number, [name for name in data if name.rows], [])

    def replace(self, gone: Callable[[pl.DataFrame], pl.Series], *files: pl.DataFrame) -> int:
        """One batch whose rows take the place of others; ``gone`` says which: bool per row."""
        number = self._plan(len(files))
        data = [self.write(self.identified(number, file, rows)) for file, rows in enumerate(files)]
        remove, rewritten = [], []
        for file in self.table.files():
            rows = scan(self.table, [file]).collect()
            mask = gone(rows)
            if mask.any():
                remove.append(file)
                rewritten.append(self.write(rows.filter(~mask)))
        return self.commit(number, [each for each in [*data, *rewritten] if each.rows], remove)

    def compact(self) -> int:
        """All rows in one data file; no row changes."""
        before = self.table.files()
        rows = scan(self.table, before).collect().reverse()
        table = self.table
        table.commit(
            app_id="compaction", number=table.version + 1, add=[self.write(rows)], remove=before, metadata={}
        )
        return self.version

    def live(self) -> pl.DataFrame:
        """All rows of the newest version, in the order of arrival."""
        return scan(self.table, self.table.files()).collect().sort(SYSTEM_COLUMNS)

    def identified(self, batch: int, file: int, rows: pl.DataFrame) -> pl.DataFrame:
        return rows.with_columns(
            pl.lit(batch, pl.Int64).alias(BATCH),
            pl.lit(file, pl.Int32).alias(FILE),
            pl.int_range(rows.height, dtype=pl.Int64).alias(ROW),
        )

    def write(self, rows: pl.DataFrame) -> Any:
        table = Table.create(
            self.storage, self.path, rows.to_arrow(compat_level=pl.CompatLevel.oldest()).schema
        )
        table.add_columns(rows.to_arrow(compat_level=pl.CompatLevel.oldest()).schema)
        return write_data_file(self.storage, self.path, rows)

    def commit(self, number: int, add: list[Any], remove: list[Any]) -> int:
        table = self.table
        return table.commit(
            app_id=self.ledger.uid(), number=number, add=add, remove=remove, metadata={}
        ).version

    def accept(self, view: FeatureView) -> str:
        """The view is wanted from now on; the digest of its build."""
        Registry(self.storage).accept(view)
        return self.digest(view)

    def digest(self, view: FeatureView) -> str:
        return build_digest(view.spec, self.ledger.uid())

    def request(self, view: FeatureView, to_version: int | None = None) -> BuildRequest:
        return BuildRequest(
            root=self.storage.root,
            view=view.metadata.name,
            digest=self.digest(view),
            to_version=self.version if to_version is None else to_version,
        )

    def build(self, view: FeatureView, to_version: int | None = None) -> BuildResult:
        """Bring the view's build up to a version, else to the newest."""
        told: list[Progress] = []
        return run_build(self.storage, self.request(view, to_version), told.append)

    def features(self, view: FeatureView) -> pl.DataFrame:
        """Rows of the view's build, in the order of arrival."""
        return self._rows(paths.features(view.metadata.name, self.digest(view)), view_schema(view.spec))

    def rejected_rows(self, view: FeatureView) -> pl.DataFrame:
        """Rows of the build's quarantine, in the order of arrival."""
        return self._rows(paths.rejected_rows(view.metadata.name, self.digest(view)), QUARANTINE)

    def build_table(self, view: FeatureView) -> Table:
        table = Table.open(self.storage, paths.features(view.metadata.name, self.digest(view)))
        assert table is not None
        return table

    def _rows(self, path: str, schema: pa.Schema) -> pl.DataFrame:
        table = Table.open(self.storage, path)
        if table is None:
            return pl.DataFrame(schema.empty_table())
        return scan(table, table.files()).collect().sort(SYSTEM_COLUMNS)

    def _plan(self, files: int) -> int:
        number = self.ledger.last_batch() + 1
        entries = tuple(
            Entry(Arrival(f"file:///raw/{number}-{index}.parquet", "v1", 10, number))
            for index in range(files)
        )
        manifest = Manifest(
            pipeline="flights",
            uid=self.ledger.uid(),
            number=number,
            spec_digest="s1",
            created_us=PLANNED_US + number * 1_000_000,
            entries=entries,
        )
        assert self.ledger.try_append(manifest)
        return number


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path)


@pytest.fixture
def new_lake(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Lake]:
    """Makes one empty lake after the other."""
    return lambda: Lake(tmp_path_factory.mktemp("lake"))


@pytest.fixture
def view() -> Callable[..., FeatureView]:
    """Makes views on ``flights``: aircraft by ``tailnum`` at ``at``, with the given features."""

    def make(*features: dict[str, Any], name: str = "delays", **spec: Any) -> FeatureView:
        return FeatureView.model_validate(
            {
                "metadata": {"name": name},
                "spec": {
                    "entity": {"name": "aircraft", "joinKeys": [{"name": "tailnum", "type": "string"}]},
                    "source": {"pipeline": "flights"},
                    "timestampField": "at",
                    "features": features or ({"name": "delay", "type": "int8", "column": "delay"},),
                    **spec,
                },
            }
        )

    return make
