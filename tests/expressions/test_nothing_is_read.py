"""Whatever passes the check opens no file: shown by texts made of the pieces that attacks are made of."""

from __future__ import annotations

from pathlib import Path

import duckdb
import polars as pl
import pytest
from examples import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from featurestore.errors import SpecError
from featurestore.expressions.check import check_expression
from featurestore.expressions.query_text import query_text
from featurestore.expressions.run.program import compile_expression
from featurestore_transforms.steps.query_engine import answer

SECRET = "planted-secret"

WORDS = r"""i s b x self planted.csv 'planted.csv' "planted.csv" "self" 'it''s' 'a\' \ ' " '' "" `
    read_csv read_parquet READ_CSV scan_csv read_json read_ipc glob LOWER ABS COALESCE COUNT SUM IF
    ( ) ( ) ( ) , , . * + - / // || = <> < ; -- /* */ # :: ~ ^ & | ! @ $ $$ ? : [ ] { } -> =>
    SELECT FROM FROM WHERE WITH AS AS JOIN ON UNION ALL IN EXISTS INTO CREATE TABLE VALUES LATERAL UNNEST
    AND OR NOT IS NULL CASE WHEN THEN ELSE END BETWEEN LIKE ESCAPE OVER PARTITION BY ORDER GROUP LIMIT FILTER
    DISTINCT CAST TRY_CAST EXTRACT INTERVAL DATE TIMESTAMP COLLATE XOR ISNULL NOTNULL ANY EXCLUDE REPLACE
    E'x' X'41' N'x' U&'x' 1 0.5 .5 1. 1e3 0x1F 1_0 é"""
PIECES = st.sampled_from([*WORDS.split(), "\x00", "\u00a0", "\n", "\t"])
SOUP = st.lists(st.tuples(PIECES, st.sampled_from(["", " ", " ", " "])), max_size=14).map(
    lambda pieces: "".join(piece + space for piece, space in pieces)
)
TABLES = st.sampled_from(
    [
        "self",
        "read_csv('planted.csv')",
        "'planted.csv'",
        '"planted.csv"',
        "planted",
        "q",
        "(SELECT * FROM self) AS z",
    ]
)
VALUES = st.sampled_from(
    [
        "*",
        "i",
        "q.i",
        "COUNT(*) AS n",
        "read_csv('planted.csv')",
        "(SELECT MAX(i) FROM read_csv('planted.csv'))",
        "s",
    ]
)
QUERIES = st.builds(
    "{0}SELECT {1} FROM {2}{3}{4}".format,
    st.sampled_from(
        ["", "WITH q AS (SELECT * FROM self) ", "WITH q AS (SELECT * FROM read_csv('planted.csv')) "]
    ),
    VALUES,
    TABLES,
    st.sampled_from(["", ", ", " CROSS JOIN ", " -- ", " /* "]),
    st.one_of(TABLES, SOUP, st.just("")),
)


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "planted.csv").write_text(f"i,s\n1,{SECRET}\n")
    return tmp_path


FEW = settings(
    max_examples=examples(300),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def test_the_planted_file_would_be_read_without_the_check(planted: Path) -> None:
    assert SECRET in str(duckdb.sql("SELECT * FROM read_csv('planted.csv')").fetchall())


@FEW
@given(text=SOUP)
def test_an_expression_that_passes_reads_the_columns_that_it_names_and_nothing_else(
    text: str, rows: pl.DataFrame, planted: Path
) -> None:
    try:
        used = check_expression(text, where="spec")
        program = compile_expression(text, dict(rows.schema), "spec")
    except SpecError:
        return
    assert used == set(program.columns)
    plan = program.prepare(rows.lazy()).select(program.value.alias("answer"))
    assert "SCAN" not in plan.explain(optimized=False)
    assert SECRET not in str(plan.collect())


@FEW
@given(
    text=st.one_of(QUERIES, SOUP.map("SELECT i FROM self {}".format), SOUP.map("SELECT {} FROM self".format))
)
def test_a_query_that_passes_opens_no_file(text: str, rows: pl.DataFrame, planted: Path) -> None:
    try:
        made = str(answer(rows, query_text(text, where="spec"), "spec", max_bytes=1 << 30, max_s=20))
    except SpecError as error:
        made = str(error)
    assert SECRET not in made
