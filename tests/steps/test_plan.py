"""The plan that steps make: streamed, small, and free of index where no row can be marked."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from featurestore.errors import SpecError
from featurestore.resources.data_pipeline import Expectation
from featurestore.resources.transform import Transform
from featurestore.storage.delta import BATCH, FILE, ROW
from featurestore_transforms.steps.rules import RULE, RowRules
from featurestore_transforms.steps.transforms import apply_transforms, mark_broken

IN_MEMORY, HOLDS_ROWS = 'fillcolor="0.0 0.3 1.0"', 'fillcolor="0.16 0.3 1.0"'
ROW_WISE: list[dict[str, Any]] = [
    {"rename": {"columns": {"a": "b"}}},
    {"filter": {"where": "b > 0"}},
    {"derive": {"columns": {"c": "b / 2"}}},
    {"cast": {"columns": {"b": "int32"}}},
    {"fillNull": {"columns": {"c": 0.0}}},
    {"select": {"columns": ["b", "c"]}},
    {"drop": {"columns": ["c"]}},
]
POSITIVE = {"name": "positive", "that": "b > 0"}


@pytest.fixture
def file(tmp_path: Path) -> pl.LazyFrame:
    path = tmp_path / "file.parquet"
    pl.DataFrame({"a": range(1000), "s": ["x"] * 1000}).write_parquet(path)
    numbered = pl.scan_parquet(path, row_index_name=ROW)
    return numbered.with_columns(pl.col(ROW).cast(pl.Int64), pl.lit(0, pl.Int32).alias(FILE))


def plan(
    file: pl.LazyFrame, steps: list[dict[str, Any]], *expectations: dict[str, str], **lookups: pl.LazyFrame
) -> pl.LazyFrame:
    rules = RowRules()
    frame = apply_transforms(
        rules.begin(file), [Transform.model_validate(step) for step in steps], lookups, rules, 1 << 30
    )
    return mark_broken(frame, [Expectation.model_validate(one) for one in expectations], rules)


def physical(frame: pl.LazyFrame) -> str:
    """The nodes that run, colored by what they hold."""
    graph = frame.show_graph(engine="streaming", plan_stage="physical", raw_output=True)
    assert graph is not None
    return graph


def test_row_wise_steps_and_expectations_hold_no_rows(file: pl.LazyFrame) -> None:
    made = physical(plan(file, ROW_WISE, POSITIVE))
    assert IN_MEMORY not in made
    assert HOLDS_ROWS not in made
    assert HOLDS_ROWS in physical(plan(file, [{"sort": {"by": [{"column": "a"}]}}]))


def test_a_lookup_holds_the_other_table_and_falls_back_to_nothing(file: pl.LazyFrame) -> None:
    step = {"lookup": {"pipeline": "other", "keys": {"a": "k"}, "columns": {"v": "v"}}}
    other = pl.LazyFrame({"k": [1], "v": [2], BATCH: [1], FILE: [0], ROW: [0]})
    assert IN_MEMORY not in physical(plan(file, [step], other=other))


def test_a_filter_reaches_the_file_where_no_row_can_be_marked(file: pl.LazyFrame) -> None:
    keep = {"filter": {"where": "a > 990"}}
    assert "SELECTION" in plan(file, [keep]).explain()
    marking = {"cast": {"columns": {"s": "int64"}}}
    assert "SELECTION" not in plan(file, [marking, keep]).explain()
    assert plan(file, [keep]).select(ROW).collect()[ROW].to_list() == list(range(991, 1000))


def test_a_plan_grows_by_its_expectations_and_not_with_their_powers(file: pl.LazyFrame) -> None:
    many = [{"name": f"rule-{n}", "that": f"a % 64 <> {n}"} for n in range(64)]
    began = time.process_time()
    marked = plan(file, [], *many).collect(engine="streaming")
    assert time.process_time() - began < 20
    assert marked[RULE].to_list() == [n % 64 for n in range(1000)]


@pytest.mark.parametrize("name", ["^a.*$", "*"])
@pytest.mark.parametrize("kind", ["rename", "derive"])
def test_a_name_that_polars_takes_for_a_pattern_is_refused(file: pl.LazyFrame, kind: str, name: str) -> None:
    columns = {"a": name} if kind == "rename" else {name: "a + 1"}
    with pytest.raises(SpecError, match="pattern of names"):
        plan(file, [{kind: {"columns": columns}}])


def test_any_other_name_is_a_name(file: pl.LazyFrame) -> None:
    names = {"self": "a", "exprs": "a", "other name": "a", "^": "a", "größe": "a", "a.b": "a"}
    made = plan(
        file,
        [
            {"derive": {"columns": names}},
            {"cast": {"columns": dict.fromkeys(names, "float64")}},
            {"fillNull": {"columns": dict.fromkeys(names, 1)}},
            {"select": {"columns": [*names]}},
        ],
    )
    assert made.collect().row(7, named=True) == {**dict.fromkeys(names, 7.0), ROW: 7, FILE: 0, RULE: None}


def test_a_plan_over_a_thousand_columns_is_made_in_moments() -> None:
    wide = pl.DataFrame({f"c{n}": [n] for n in range(1000)}).lazy()
    wide = wide.with_columns(pl.lit(0, pl.Int32).alias(FILE), pl.lit(0, pl.Int64).alias(ROW))
    steps = [{"derive": {"columns": {f"d{n}": f"c{n} + 1"}}} for n in range(40)]
    began = time.process_time()
    plan(wide, steps).collect_schema()
    assert time.process_time() - began < 20
