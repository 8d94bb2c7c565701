"""docs/tables.md says what is done: its pipeline is applied and run, on a real table."""

from __future__ import annotations

import re
from pathlib import Path

import yaml
from event_specs import START
from lake_table import FEED, LakeTable
from laptop import Laptop

from featurestore.storage import paths
from featurestore_transforms.sources import delta_reader

PAGE = (Path(__file__).parents[2] / "docs" / "tables.md").read_text()


def test_the_pipeline_of_the_page_takes_a_table_and_its_changes(tmp_path: Path) -> None:
    [example] = re.findall(r"```yaml\n(kind: .*?)```", PAGE, re.S)
    pipeline = yaml.safe_load(example)
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


def test_the_page_names_each_rule() -> None:
    reader = Path(delta_reader.__file__).read_text()
    log = Path("featurestore/arrivals/delta/delta_source.py")
    used = set(re.findall(r'"(delta:[a-z]+)"', reader + (Path(__file__).parents[2] / log).read_text()))
    assert used <= set(re.findall(r"`(delta:[a-z]+)`", PAGE))
    assert len(used) >= 7
