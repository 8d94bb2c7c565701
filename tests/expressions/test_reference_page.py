"""The reference of expressions says what they do: it is written from their table, and every example runs."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from featurestore.expressions.functions import BY_NAME
from featurestore.expressions.reference_page import examples, page
from featurestore.expressions.run.operations import OPERATIONS
from featurestore.expressions.run.program import compile_expression

ROOT = Path(__file__).parents[2]
EXAMPLES = list(examples())


def test_the_page_is_as_the_table_says() -> None:
    assert (ROOT / "docs/expressions.md").read_text() == page(), "run `make expressions`"


@pytest.mark.parametrize(("example", "result"), EXAMPLES, ids=[example for example, _ in EXAMPLES])
def test_each_example_gives_its_result(example: str, result: str) -> None:
    rows = pl.LazyFrame({"": [None]})
    answers = []
    for text in (example, result):
        program = compile_expression(text, {}, "docs")
        answers.append(program.prepare(rows).select(answer=program.value).collect())
    assert answers[0].item() == answers[1].item()
    assert result == "NULL" or answers[0].schema == answers[1].schema


def test_what_is_in_the_table_runs() -> None:
    same = {"IFNULL", "BETWEEN", "REGEXP_LIKE", "DIV", "MOD"}
    assert OPERATIONS.keys() == BY_NAME.keys() - same
