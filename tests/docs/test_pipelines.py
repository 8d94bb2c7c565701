"""docs/pipelines.md says what is done."""

from __future__ import annotations

import re
from typing import Any

import polars as pl
import pytest
from pipeline_fields import PAGE, written

from featurestore.expressions.run.cast import polars_type
from featurestore.resources.value import ColumnType
from featurestore_transforms.casting.delta_types import store

TABLE = re.search(r"<!-- texts -->\n(.*?)\n<!-- end -->", PAGE.read_text(), re.S)
assert TABLE is not None
HEAD, _, *ROWS = [[cell.strip() for cell in line.split("|")[1:-1]] for line in TABLE[1].splitlines()]
CASES = [
    (row[0].strip("`"), name, cell) for row in ROWS for name, cell in zip(HEAD[1:], row[1:], strict=True)
]


def done(text: str, name: str) -> Any:
    """What becomes of a text in a column that was learned as the type."""
    found = store(pl.col("x"), pl.String(), polars_type(ColumnType(name)))
    fits = pl.lit(True) if found.fits is None else found.fits
    value, good = pl.DataFrame({"x": [text]}).select(found.value.alias("v"), fits.alias("f")).row(0)
    return ("text" if name == "string" else str(value)) if good else "quarantine"


@pytest.mark.parametrize(("text", "name", "said"), CASES)
def test_a_text_becomes_what_the_table_says(text: str, name: str, said: str) -> None:
    assert done(text, name) == said


def test_the_fields_are_those_of_the_models() -> None:
    assert written(PAGE.read_text()) == PAGE.read_text(), "make crds"
