"""Every built-in step against plain Python, on random files: nothing is lost, nothing is doubled, nothing is moved."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import polars as pl
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from featurestore.resources.data_pipeline import Expectation
from featurestore.resources.transform import Transform
from featurestore.storage.delta import BATCH, FILE, ROW
from featurestore_transforms.steps.rules import RULE, RowRules
from featurestore_transforms.steps.transforms import apply_transforms, mark_broken

Row = dict[str, Any]
SCHEMA = {"k": pl.String, "v": pl.Int64, "x": pl.Float64, "s": pl.String, FILE: pl.Int32, ROW: pl.Int64}
PLANES = [("a", 1, 10), ("a", 2, 20), ("b", 1, None), (None, 1, 99)]


def good(row: Row) -> bool:
    return row[RULE] is None


def per_row(change: Callable[[Row], Row]) -> Callable[[list[Row]], list[Row]]:
    return lambda rows: [change(row) if good(row) else row for row in rows]


def keep_positive(rows: list[Row]) -> list[Row]:
    return [row for row in rows if not good(row) or (row["v"] is not None and row["v"] > 0)]


def cast_s(row: Row) -> Row:
    text = row["s"]
    if text is None:
        return row
    if re.fullmatch(r"[+-]?\d+(\.0+)?", text) and -(2**63) <= int(text.partition(".")[0]) < 2**63:
        return {**row, "s": int(text.partition(".")[0])}
    return {**row, RULE: "cast:s"}


def cast_x(row: Row) -> Row:
    x = row["x"]
    if x is None:
        return row
    if math.isfinite(x) and x == int(x) and -128 <= x <= 127:
        return {**row, "x": int(x)}
    return {**row, RULE: "cast:x"}


def order(value: Any) -> tuple[Any, ...]:
    """Nulls first, NaN last."""
    if value is None:
        return (0,)
    return (2,) if value != value else (1, value)


def last_by_x(rows: list[Row]) -> list[Row]:
    best: dict[Any, Row] = {}
    for row in rows:
        before = best.get((row[FILE], row["k"]))
        if good(row) and row["k"] is not None and (before is None or order(row["x"]) >= order(before["x"])):
            best[row[FILE], row["k"]] = row
    return [row for row in rows if not good(row) or row["k"] is None or best[row[FILE], row["k"]] is row]


def last_in_file(rows: list[Row]) -> list[Row]:
    best = {(row[FILE], row["k"]): row for row in rows if good(row)}
    return [row for row in rows if not good(row) or row["k"] is None or best[row[FILE], row["k"]] is row]


def sort_by_v(rows: list[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: (row[FILE], order(row["v"])))


def built(row: Row) -> Row:
    found = [(batch, year) for key, batch, year in PLANES if key == row["k"] and key is not None]
    return {**row, "built": max(found)[1] if found else None}


STEPS: dict[str, tuple[dict[str, Any], Callable[[list[Row]], list[Row]]]] = {
    "filter": ({"filter": {"where": "v > 0"}}, keep_positive),
    "derive": (
        {"derive": {"columns": {"d": "v + 1"}}},
        per_row(lambda row: {**row, "d": None if row["v"] is None else row["v"] + 1}),
    ),
    "text to number": ({"cast": {"columns": {"s": "int64"}}}, per_row(cast_s)),
    "float to int8": ({"cast": {"columns": {"x": "int8"}}}, per_row(cast_x)),
    "fill": (
        {"fillNull": {"columns": {"v": 7}}},
        per_row(lambda row: {**row, "v": 7 if row["v"] is None else row["v"]}),
    ),
    "last by x": ({"deduplicate": {"keys": ["k"], "orderBy": {"column": "x"}}}, last_by_x),
    "last in file": ({"deduplicate": {"keys": ["k"]}}, last_in_file),
    "sort": ({"sort": {"by": [{"column": "v"}]}}, sort_by_v),
    "lookup": (
        {"lookup": {"pipeline": "planes", "keys": {"k": "plane"}, "columns": {"year": "built"}}},
        per_row(built),
    ),
}
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "k": st.sampled_from(["a", "b", "c", None]),
            "v": st.none() | st.integers(-3, 3) | st.just(2**62),
            "x": st.none() | st.sampled_from([0.0, 1.0, 1.5, -128.0, 128.0, math.nan, math.inf]),
            "s": st.none() | st.sampled_from(["12", "-7", "x", "", "1.0", "9223372036854775808"]),
        }
    ),
    max_size=8,
)


def planes() -> pl.LazyFrame:
    return pl.LazyFrame(
        [
            {"plane": key, "year": year, BATCH: batch, FILE: 0, ROW: row}
            for row, (key, batch, year) in enumerate(PLANES)
        ],
        schema={"plane": pl.String, "year": pl.Int64, BATCH: pl.Int64, FILE: pl.Int32, ROW: pl.Int64},
    )


def ours(rows: list[Row], steps: list[str], expectations: list[dict[str, str]]) -> list[Row]:
    rules = RowRules()
    frame = rules.begin(pl.LazyFrame([{name: row[name] for name in SCHEMA} for row in rows], schema=SCHEMA))
    transforms = [Transform.model_validate(STEPS[step][0]) for step in steps]
    frame = apply_transforms(frame, transforms, {"planes": planes()}, rules, 1 << 30)
    frame = mark_broken(frame, [Expectation.model_validate(one) for one in expectations], rules)
    made = frame.collect(engine="streaming").rows(named=True)
    return [{**row, RULE: None if row[RULE] is None else rules.known[row[RULE]].name} for row in made]


def told(rows: list[Row]) -> tuple[list[Row], list[tuple[Any, ...]]]:
    """Good rows with all their values, in their order; and where marked ones are from and what they broke."""
    whole = [
        {name: "NaN" if value != value else value for name, value in row.items()} for row in rows if good(row)
    ]
    return whole, sorted((row[FILE], row[ROW], row[RULE]) for row in rows if not good(row))


@settings(max_examples=examples(250), deadline=None)
@given(
    files=st.lists(ROWS, min_size=1, max_size=3), steps=st.lists(st.sampled_from(sorted(STEPS)), unique=True)
)
def test_steps_do_what_plain_python_does(files: list[list[Row]], steps: list[str]) -> None:
    expectations = [{"name": "small", "that": "v < 100"}, {"name": "known", "that": "k IS NOT NULL"}]
    source = [
        {**row, FILE: file, ROW: number, RULE: None}
        for file, rows in enumerate(files)
        for number, row in enumerate(rows)
    ]
    rows = source
    for step in steps:
        rows = STEPS[step][1](rows)
    rows = per_row(lambda row: row if row["v"] is not None and row["v"] < 100 else {**row, RULE: "small"})(
        rows
    )
    rows = per_row(lambda row: row if row["k"] is not None else {**row, RULE: "known"})(rows)
    assert told(ours(source, steps, expectations)) == told(rows)


@settings(max_examples=examples(100), deadline=None)
@given(rows=ROWS, steps=st.lists(st.sampled_from(sorted(STEPS)), unique=True))
def test_a_row_is_good_or_marked_or_filtered_out_and_never_two_of_these(
    rows: list[Row], steps: list[str]
) -> None:
    source = [{**row, FILE: 0, ROW: number} for number, row in enumerate(rows)]
    made = ours(source, steps, [])
    numbers = [row[ROW] for row in made]
    assert len(numbers) == len(set(numbers))
    assert set(numbers) <= set(range(len(rows)))
    if not {"filter", "last by x", "last in file"} & set(steps):
        assert len(numbers) == len(rows)
