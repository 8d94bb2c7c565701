"""Expressions give what plain Python with exact integers gives, bit by bit, or say of the same rows that they cannot."""

from __future__ import annotations

import random
import struct
from typing import Any

import polars as pl
import pytest
from examples import examples
from expression_oracle import COLUMNS, Fault, Grower, rows

from featurestore.errors import SpecError
from featurestore.expressions.run.program import compile_expression

SCHEMA = {
    "i": pl.Int64, "j": pl.Int64, "x": pl.Float64, "y": pl.Float64, "s": pl.String, "u": pl.String, "b": pl.Boolean,
    "c": pl.Boolean, "t": pl.Datetime("us", "UTC"), "d": pl.Date,
}  # fmt: skip
ROWS = 24
BATCHES = 20
TREES = 22_000
KINDS = ["int", "int", "float", "float", "bool", "bool", "text", "time", "date"]


def shown(value: Any) -> Any:
    """Equal only if the bits are, but for NaN, of which there is one."""
    if isinstance(value, float):
        return "NaN" if value != value else struct.pack(">d", value)
    return value


@pytest.mark.parametrize("batch", range(BATCHES))
def test_a_random_expression_gives_what_plain_python_gives(batch: int) -> None:
    chance = random.Random(batch)
    frame = pl.DataFrame(rows(chance, ROWS), schema=SCHEMA)
    values = frame.rows(named=True)
    assert list(frame.columns) == list(COLUMNS)
    tried = refused = 0
    while tried < examples(TREES) // BATCHES:
        meant = Grower(chance).grow(chance.choice(KINDS), chance.choice([1, 2, 3]))
        tried += 1
        try:
            program = compile_expression(meant.text, dict(frame.schema), "spec")
        except SpecError as error:
            if "an integer is out of the range of int64" not in str(error):
                raise
            refused += 1
            continue
        fault = pl.lit(False) if program.fault is None else program.fault
        made = program.prepare(frame.lazy()).with_columns(value=program.value, fault=fault).collect()
        for row, value, faulty in zip(values, made["value"].to_list(), made["fault"].to_list(), strict=True):
            try:
                wanted, fails = meant.of(row), False
            except Fault:
                wanted, fails = None, True
            assert faulty == fails, (meant.text, row)
            if not fails:
                assert shown(value) == shown(wanted), (meant.text, row)
    assert refused < tried // 3
