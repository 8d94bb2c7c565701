"""Files that are not of the format of their pipeline, or use of it what Arrow does not read, are called what they are."""

from __future__ import annotations

import base64
import io
import zlib
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

Make = Callable[..., Any]
EMPTY_GROUP = zlib.decompress(
    base64.b64decode(
        "eNptkr9PwkAUx18PxA5oIvouvaRDY6SBBBFIBEwYMCbGgYEwOZiYQgs2wRah6MLgn+HogIlDJ0f/BEf/EAcTd98VDfXH3bX3fXfvfd7rS9uHnT"
        "KmcItm+PTxstpChhA9SYSMrqkKLMZSccj9c0qDKd8GEdM07x7eX9d/E5O2jIveRIpZEUEKkQGxBMckguCQN4EtXKKory12pXMV5wqXdzoPFZxJ"
        "iUlxdpLo+DeYkoXcKsg05trZnVa42dwgh32mpTxnEjg2MmmsuJ7njBFk6U1yXvNHget71vDctgIru01xhozjTOiiYIJOGbKQEpKKdMqphLliqo"
        "3q/+0SOjWJ4NA4kFUDnyeQ80eGxyBhbAH7mTXizvjMDBWJjffuD+5Z4t4YVoHfMyoyzVUSINLa0cANLqbdYs+/3BtZ46upE+wO/Jg0rp3xhLIa"
        "pWKlWqzkulN3aBv1er9i1fqlnlOu5UVBB6AFp/RBbfqHPgE4BVXl"
    )
)
"""By parquet-go: columns ``id``, ``optional_data``, and a group that holds a group without fields."""


def parquet_bytes(values: pa.Array) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table({"v": values}), sink, store_schema=False)
    return sink.getvalue()


def arrow_bytes(values: pa.Array) -> bytes:
    sink = io.BytesIO()
    rows = pa.table({"v": values})
    with pa.ipc.new_file(sink, rows.schema) as file:
        file.write_table(rows)
    return sink.getvalue()


@pytest.fixture
def refused(pipeline: Make) -> Callable[..., tuple[str, str]]:
    """The rule and the reason by which a file with these bytes is in quarantine, as a whole."""

    def run(data: bytes, form: str = "Parquet") -> tuple[str, str]:
        p = pipeline(source={"format": form})
        (p.raw / "a").write_bytes(data)
        p.batch("a")
        [entry] = p.quarantine("__row", "rule", "reason")
        assert entry["__row"] is None
        return entry["rule"], entry["reason"]

    return run


@pytest.mark.parametrize(
    ("form", "data", "said"),
    [
        ("Parquet", b"id,v\n1,2\n", "it seems to be text. Set spec.source.format: CSV or JSON"),
        ("Arrow", b"<!DOCTYPE html>", "it is an HTML page"),
        ("Parquet", b"\x1f\x8b\x08\x00", "it is compressed with gzip. Unpack it first"),
        ("Arrow", parquet_bytes(pa.array([1])), "it is a Parquet file. Set spec.source.format: Parquet"),
        ("Parquet", arrow_bytes(pa.array([1])), "it is an Arrow file. Set spec.source.format: Arrow"),
        ("Parquet", b"\x00\x01\x02\x03", "it does not begin with PAR1"),
    ],
)
def test_what_is_of_another_format_says_what_it_is(refused: Make, form: str, data: bytes, said: str) -> None:
    rule, reason = refused(data, form)
    assert rule == "file:format"
    assert said in reason


def test_a_parquet_file_that_is_its_mark_alone_is_truncated(refused: Make) -> None:
    assert refused(b"PAR1")[0] == "file:truncated"


@pytest.mark.parametrize(
    ("values", "was", "now", "said"),
    [
        # The key of a map, optional and not required.
        (pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())), b"\x25\x00\x18\x03key", b"\x25\x02\x18\x03key", "Map keys"),
        # A decimal of 33 bytes and 77 digits.
        (pa.array([1], pa.decimal256(76, 0)), b"\x15\x0e\x15\x40", b"\x15\x0e\x15\x42", "[1, 76]: 77"),
    ],
    ids=["map", "decimal"],
)  # fmt: skip
def test_what_arrow_does_not_read_is_unsupported_and_not_corrupt(
    refused: Make, values: pa.Array, was: bytes, now: bytes, said: str
) -> None:
    data = parquet_bytes(values)
    start = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    assert was in data[start:]
    damaged = data[:start] + data[start:].replace(was, now).replace(b"\x98\x01", b"\x9a\x01")
    rule, reason = refused(damaged)
    assert rule == "file:unsupported"
    assert said in reason


def test_a_new_field_of_structs_in_a_map_evolves(pipeline: Make) -> None:
    p = pipeline(source={"format": "Parquet"})
    for name, fields in (("0", {"x": 1}), ("1", {"x": 2, "y": "z"})):
        kind = pa.map_(pa.string(), pa.struct([(f, pa.array([v]).type) for f, v in fields.items()]))
        pq.write_table(pa.table({"m": pa.array([[("a", fields)], None], kind)}), p.raw / name)
        p.batch(name)
    assert p.rows("m") == [
        {"m": {"a": {"x": 1, "y": None}}},
        {"m": None},
        {"m": {"a": {"x": 2, "y": "z"}}},
        {"m": None},
    ]


def test_a_group_without_fields_leaves_the_other_columns_of_its_file(pipeline: Make) -> None:
    p = pipeline(source={"format": "Parquet"})
    (p.raw / "a").write_bytes(EMPTY_GROUP)
    p.batch("a")
    assert p.rows("id", "optional_data") == [{"id": 1, "optional_data": 100}]
