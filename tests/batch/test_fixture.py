"""What becomes of every file of ``fixtures/drift`` and ``fixtures/corrupt``."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import polars as pl
import pytest

from featurestore.arrivals.result import is_drift

Make = Callable[..., Any]
FIXTURES = Path(__file__).parents[2] / "fixtures"
FORMATS = {"parquet": "Parquet", "csv": "CSV", "json": "JSON", "arrow": "Arrow", "gz": "CSV"}
ALL = [path for folder in ("drift", "corrupt") for path in sorted((FIXTURES / folder).iterdir())]

# File to: rows that are taken, and those that are not as (row, rule, what its reason says). Files of drift/ come
# after base.parquet, whose three rows are taken.
ROWS: dict[str, tuple[int, list[tuple[int, str, str]]]] = {
    "drift/base.parquet": (3, []),
    "drift/new_column.parquet": (3, []),
    "drift/new_nested.parquet": (3, []),
    "drift/reordered.parquet": (3, []),
    "drift/upper_case.parquet": (3, []),
    "drift/narrower.parquet": (3, []),
    "drift/text_as_number.parquet": (3, []),
    "drift/decimal.parquet": (3, []),
    "drift/categorical.parquet": (3, []),
    "drift/naive_time.parquet": (3, []),
    "drift/other_zone.parquet": (3, []),
    "drift/no_values.parquet": (3, []),
    "drift/pandas_index.parquet": (3, []),
    "drift/numbers_as_text.parquet": (
        2,
        [(1, "schema:typeChanged", "amount: wanted float64, got 'much'")],
    ),
    "drift/whole_as_float.parquet": (2, [(1, "schema:typeChanged", "id: wanted int64, got 2.5")]),
    "drift/unsigned.parquet": (2, [(1, "schema:typeChanged", "wanted int64, got 9223372036854775808")]),
    "drift/nanoseconds.parquet": (2, [(2, "schema:typeChanged", "wanted timestamp, got 2024-01-01")]),
    "drift/time_as_text.parquet": (2, [(2, "schema:typeChanged", "at: wanted timestamp, got 'soon'")]),
    "drift/text_as_struct.parquet": (
        1,
        [
            (0, "schema:typeChanged", "name: wanted string, got {first: '"),
            (2, "schema:typeChanged", "name: wanted string, got {first: '"),
        ],
    ),
    "drift/late_float.csv": (2001, []),
    "drift/late_text.csv": (2001, []),
    "drift/leading_zeros.csv": (2, []),
    "drift/large_and_fraction.csv": (2, []),
    "drift/kinds.csv": (2, []),
    "drift/kinds.json": (2, []),
    "drift/mixed.json": (4, []),
    "corrupt/header_only.csv": (0, []),
    "corrupt/no_rows.parquet": (0, []),
    "corrupt/ragged.csv": (
        2,
        [
            (1, "row:malformed", "wanted 2 values, got 1: 2"),
            (2, "row:malformed", "wanted 2 values, got 3: 3,c,x"),
        ],
    ),
    "corrupt/quotes.csv": (3, [(2, "row:malformed", "a quote is never closed")]),
    "corrupt/not_utf8.csv": (2, [(1, "row:malformed", "not UTF-8")]),
    "corrupt/lines.json": (
        2,
        [
            (1, "row:malformed", "not JSON: Expecting ',' delimiter"),
            (2, "row:malformed", "not JSON: Expecting value"),
            (3, "row:malformed", "wanted an object, got an array"),
        ],
    ),
    "corrupt/truncated.json": (1, [(1, "row:malformed", "not JSON: Unterminated string")]),
}

# File that is not taken at all, to its rule and what the reason says.
WHOLE: dict[str, tuple[str, str]] = {
    "drift/missing_column.parquet": (
        "schema:missingColumn",
        "no column 'amount'; the file has 'id', 'name', 'at'",
    ),
    "corrupt/empty.parquet": ("file:empty", "no bytes"),
    "corrupt/empty.csv": ("file:empty", "no bytes"),
    "corrupt/empty.json": ("file:empty", "no bytes"),
    "corrupt/empty.arrow": ("file:empty", "no bytes"),
    "corrupt/blank.csv": ("file:empty", "no line"),
    "corrupt/truncated.parquet": ("file:truncated", "does not end with PAR1"),
    "corrupt/truncated.arrow": ("file:truncated", "does not end with ARROW1"),
    "corrupt/truncated_stream.arrow": ("file:truncated", "Expected to be able to read"),
    "corrupt/truncated.csv.gz": ("file:truncated", "Truncated compressed stream"),
    "corrupt/text.parquet": ("file:format", "it seems to be text"),
    "corrupt/text.arrow": ("file:format", "it seems to be text"),
    "corrupt/plain.csv.gz": ("file:format", "compressed with gzip, and it is not"),
    "corrupt/parquet.csv": ("file:format", "it is a Parquet file. Set spec.source.format: Parquet"),
    "corrupt/page.parquet": ("file:corrupt", "no page begins at byte 4"),
    "corrupt/footer.parquet": ("file:corrupt", "Thrift"),
    "corrupt/column_twice.parquet": ("file:format", "two columns have the name 'id'"),
    "corrupt/column_twice.csv": ("file:format", "two columns have the name 'id'"),
    "corrupt/semicolons.csv": ("file:delimiter", "the delimiter is ',' and seems to be ';'"),
    "corrupt/case_twice.parquet": ("file:format", "upper and lower case only: 'id' and 'ID'"),
    "corrupt/reserved.parquet": ("file:format", "column '__batch'"),
    "corrupt/latin1_header.csv": ("file:format", "the first line is not UTF-8. See spec.source.csv.encoding"),
}

# Types that are learned from a first file.
LEARNED: dict[str, dict[str, str]] = {
    "drift/late_float.csv": {"id": "int64", "value": "double"},
    "drift/late_text.csv": {"id": "int64", "value": "string"},
    "drift/leading_zeros.csv": {"zip": "string", "n": "int64"},
    "drift/large_and_fraction.csv": {"n": "string", "k": "int64"},
    "drift/kinds.csv": {
        "whole": "int64",
        "part": "double",
        "yes": "bool",
        "day": "date32[day]",
        "at": "timestamp[us, tz=UTC]",
        "text": "string",
    },
    "drift/kinds.json": {
        "whole": "int64",
        "part": "double",
        "yes": "bool",
        "text": "string",
        "list": "list<element: int64>",
        "late": "struct<x: int64>",
    },
    "drift/mixed.json": {"id": "int64", "v": "string"},
}


def _taken(pipeline: Make, name: str, *, after_base: bool, **spec: Any) -> Any:
    path = FIXTURES / name
    p = pipeline(source={"format": FORMATS[path.name.rsplit(".", 1)[1]]}, **spec)
    if after_base:
        shutil.copy(FIXTURES / "drift" / "base.parquet", p.raw / "0.parquet")
        p.batch("0.parquet")
    shutil.copy(path, p.raw)
    p.batch(path.name)
    return p


def _follows(name: str) -> bool:
    return name.startswith("drift/") and name.endswith(".parquet")


def test_every_fixture_has_its_outcome() -> None:
    named = {str(path.relative_to(FIXTURES)) for path in ALL}
    assert named == ROWS.keys() | WHOLE.keys()


@pytest.mark.parametrize("name", ROWS)
def test_good_rows_are_taken_and_the_others_told(pipeline: Make, name: str) -> None:
    taken, broken = ROWS[name]
    p = _taken(pipeline, name, after_base=_follows(name))
    last = p.ledger.last_batch()
    assert len([row for row in p.rows() if row["__batch"] == last]) == taken
    found = [(row["__row"], row["rule"], row["reason"]) for row in p.quarantine()]
    assert [(row, rule) for row, rule, _ in found] == [(row, rule) for row, rule, _ in broken]
    for (_, _, reason), (_, _, wanted) in zip(found, broken, strict=True):
        assert wanted in reason


@pytest.mark.parametrize("name", WHOLE)
def test_a_file_that_cannot_be_taken_is_told_with_its_reason(pipeline: Make, name: str) -> None:
    rule, reason = WHOLE[name]
    p = _taken(pipeline, name, after_base=_follows(name))
    [row] = p.quarantine()
    assert (row["rule"], row["__row"], row["record"]) == (rule, None, None)
    assert reason in row["reason"]
    assert p.ledger.result(p.ledger.last_batch()).files_refused == {rule: 1}
    assert is_drift(rule) == name.startswith("drift/")


@pytest.mark.parametrize("name", LEARNED)
def test_types_are_learned_over_the_whole_file(pipeline: Make, name: str) -> None:
    p = _taken(pipeline, name, after_base=False)
    found = {field.name: str(field.type) for field in p.dataset.schema}
    assert {name: kind for name, kind in found.items() if not name.startswith("__")} == LEARNED[name]


@pytest.mark.parametrize("name", ["reordered", "upper_case", "narrower", "naive_time", "other_zone"])
def test_values_survive_what_is_no_drift(pipeline: Make, name: str) -> None:
    base = pl.read_parquet(FIXTURES / "drift" / "base.parquet").to_dicts()
    p = _taken(pipeline, f"drift/{name}.parquet", after_base=True)
    rows = p.rows("id", "name", "amount", "at", "__batch")
    assert [row for row in rows if row.pop("__batch") == 2] == base


@pytest.mark.parametrize(
    ("policy", "name", "rule"),
    [
        ({"newColumn": "Quarantine"}, "new_column", "schema:newColumn"),
        ({"newColumn": "FailBatch"}, "new_column", "batch:schema:newColumn"),
        ({"missingColumn": "FailBatch"}, "missing_column", "batch:schema:missingColumn"),
        ({"typeChanged": "FailBatch"}, "whole_as_float", "batch:schema:typeChanged"),
    ],
)
def test_a_policy_refuses_the_file_or_the_batch(
    pipeline: Make, policy: dict[str, str], name: str, rule: str
) -> None:
    p = _taken(pipeline, f"drift/{name}.parquet", after_base=True, schemaPolicy=policy)
    assert p.quarantine("rule", "__row") == [{"rule": rule, "__row": None}]
    assert len(p.rows()) == 3
    assert p.ledger.result(2).files_refused == {rule: 1}
    assert is_drift(rule)


def test_a_new_column_can_be_ignored(pipeline: Make) -> None:
    p = _taken(pipeline, "drift/new_column.parquet", after_base=True, schemaPolicy={"newColumn": "Ignore"})
    assert len(p.rows()) == 6
    assert "city" not in p.dataset.schema.names


def test_a_missing_column_can_be_read_as_null(pipeline: Make) -> None:
    policy = {"missingColumn": "Ignore"}
    p = _taken(pipeline, "drift/missing_column.parquet", after_base=True, schemaPolicy=policy)
    assert [row["amount"] for row in p.rows("amount")] == [0.5, 1.5, 2.5, None, None, None]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    found = importlib.util.spec_from_file_location("make_fixtures", FIXTURES / "make.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_the_fixtures_can_be_made_anew(script: ModuleType, tmp_path: Path) -> None:
    script.make(tmp_path)
    for path in ALL:
        again = tmp_path / path.relative_to(FIXTURES)
        if path.suffix in (".csv", ".json"):
            assert again.read_bytes() == path.read_bytes() or path.name == "parquet.csv"
        elif _follows(str(path.relative_to(FIXTURES))):
            assert pl.read_parquet(again).equals(pl.read_parquet(path))
    assert {path.name for path in tmp_path.glob("*/*")} == {path.name for path in ALL}


def test_a_declared_column_may_have_another_delimiter_in_its_name(pipeline: Make) -> None:
    p = _taken(
        pipeline,
        "corrupt/semicolons.csv",
        after_base=False,
        columns=[{"name": "id;v", "type": "string"}],
    )
    assert p.rows("id;v") == [{"id;v": "1;a"}]
