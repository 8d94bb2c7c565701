"""docs/databases.md says what is done: its pipeline is applied and run, on a real table."""

from __future__ import annotations

import re
from pathlib import Path

import yaml
from event_specs import START
from laptop import Laptop
from postgres_server import PostgresServer

from featurestore.storage import paths

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "databases.md").read_text()
CODE = ("featurestore/arrivals/sql/sql_source.py", "transforms/featurestore_transforms/sources/sql_reader.py")


def test_the_pipeline_of_the_page_takes_a_table_and_what_comes_later(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    [example] = re.findall(r"```yaml\n(kind: .*?)```", PAGE, re.S)
    pipeline = yaml.safe_load(example)
    pipeline["spec"]["source"]["sql"]["uri"] = postgres.uri
    postgres.ask("CREATE TABLE orders (id bigint PRIMARY KEY, updated_at timestamptz NOT NULL DEFAULT now())")
    laptop = Laptop(tmp_path, START)
    laptop.apply(pipeline)
    postgres.ask("INSERT INTO orders (id) VALUES (1), (2)")
    laptop.run()
    postgres.ask("INSERT INTO orders (id) VALUES (3)")
    laptop.run()
    assert sorted(row["id"] for row in laptop.table(paths.dataset("orders"))) == [1, 2, 3]


def test_the_page_names_each_rule() -> None:
    used = {rule for name in CODE for rule in re.findall(r'"(sql:[a-z]+)"', (ROOT / name).read_text())}
    assert used <= set(re.findall(r"`(sql:[a-z]+)`", PAGE))
    assert len(used) >= 7
