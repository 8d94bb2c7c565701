"""docs/tables.md says what is done: its pipeline is applied and run, on a real table."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from event_specs import START
from ice_table import IceTable
from lake_table import FEED, LakeTable
from laptop import Laptop

from featurestore.arrivals.delta import delta_source
from featurestore.arrivals.iceberg import iceberg_source
from featurestore.storage import paths
from featurestore_transforms.sources import delta_reader, iceberg_reader, table_reader

PAGE = (Path(__file__).parents[2] / "docs" / "tables.md").read_text()


def example(name: str) -> Any:
    """The pipeline with this name that the page shows."""
    pipelines = map(yaml.safe_load, re.findall(r"```yaml\n(kind: .*?)```", PAGE, re.S))
    return next(it for it in pipelines if it["metadata"]["name"] == name)


def test_the_pipeline_of_the_page_takes_a_table_and_its_changes(tmp_path: Path) -> None:
    pipeline = example("orders")
    laptop = Laptop(tmp_path / "project", START)
    source = pipeline["spec"]["source"]["delta"]
    table = LakeTable(laptop.folder / source["uri"], **FEED)
    laptop.apply(pipeline)
    table.append(1, 2)
    laptop.run()
    table.table.update(predicate="n = 2", updates={"n": "20"})
    laptop.run()
    rows = [(row["n"], row["became"], row["table_version"]) for row in laptop.table(paths.dataset("orders"))]
    assert sorted(rows) == [(1, "insert", 0), (2, "insert", 0), (20, "update_postimage", 1)]


def test_the_pipeline_of_the_page_takes_the_snapshots_of_an_iceberg_table(tmp_path: Path) -> None:
    pipeline = example("trips")
    laptop = Laptop(tmp_path / "project", START)
    table = IceTable(laptop.folder / pipeline["spec"]["source"]["iceberg"]["uri"])
    laptop.apply(pipeline)
    table.append(1, 2)
    laptop.run()
    table.append(3)
    laptop.run()
    rows = [(row["n"], row["table_snapshot"]) for row in laptop.table(paths.dataset("trips"))]
    assert sorted(rows) == [(1, table.id(1)), (2, table.id(1)), (3, table.id(2))]


@pytest.mark.parametrize(
    ("kind", "modules"),
    [
        ("delta", (delta_source, delta_reader, table_reader)),
        ("iceberg", (iceberg_source, iceberg_reader, table_reader)),
    ],
)
def test_the_page_names_each_rule(kind: str, modules: Sequence[ModuleType]) -> None:
    text = "".join(Path(str(module.__file__)).read_text() for module in modules)
    # Rules that both kinds have are made of the kind.
    used = set(re.findall(rf'"(?:{kind}|\{{(?:self\._)?kind\}}):([a-zA-Z]+)"', text))
    assert used <= set(re.findall(rf"`{kind}:([a-zA-Z]+)`", PAGE))
    assert len(used) >= 7
