"""Which rows and records are of erased keys."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest

from featurestore.arrivals.erasure import Erasure, hash_key
from featurestore.resources.data_pipeline import DataPipelineSpec
from featurestore_transforms.tables.erased_keys import ErasedKeys, trace

SALT = "ab" * 32


def erased(*keys: tuple[str, ...], **types: str) -> ErasedKeys:
    columns = tuple(sorted((types or {"k": "string"}).items()))
    erasure = Erasure(
        number=1,
        entity="thing",
        keys=columns,
        pipelines={"events": None},
        salt=SALT,
        hashes=tuple(sorted(hash_key(SALT, key) for key in keys)),
        asked_us=0,
    )
    return ErasedKeys.of("events", erasure)


@pytest.mark.parametrize(
    ("types", "keys", "columns", "wanted"),
    [
        ({"k": "string"}, [("b",)], {"k": ["a", "b", None, "b"]}, [False, True, False, True]),
        ({"k": "int64"}, [("7",)], {"k": [7, 8, None]}, [True, False, False]),
        ({"k": "int64"}, [("7",)], {"k": ["7", "x", None]}, [True, False, False]),
        ({"k": "string"}, [("7",)], {"k": [7, 70]}, [True, False]),
        (
            {"a": "string", "n": "int64"},
            [("AA", "1")],
            {"a": ["AA", "AA", "UA", None], "n": [1, 2, 1, 1]},
            [True, False, False, False],
        ),
        ({"k": "string"}, [("b",)], {"other": ["b"]}, [False]),
    ],
    ids=["strings", "integers", "numbers as texts", "texts of numbers", "two columns", "no such column"],
)
def test_rows_are_found_by_the_text_of_their_key(
    types: dict[str, str], keys: Any, columns: dict[str, Any], wanted: list[bool]
) -> None:
    assert erased(*keys, **types).flags(pl.DataFrame(columns)).to_list() == wanted


@pytest.mark.parametrize(
    ("record", "names", "wanted"),
    [
        ({"tail": "b", "v": 1}, ["tail"], True),
        ({"tail": "a", "v": "b"}, ["tail"], False),
        ({"tail": "a", "v": "b"}, None, True),
        ({"v": "b"}, ["tail"], True),
        ({"line": "1,b,x"}, ["tail"], True),
        ({"line": "1,bb,x"}, ["tail"], False),
        ({"deep": [{"v": "b"}]}, None, True),
    ],
    ids=["renamed", "another column", "computed", "lacking", "a line", "a part of a word", "nested"],
)
def test_a_record_is_of_a_key_by_its_column_or_where_that_is_not_known_by_any_value(
    record: Any, names: Any, wanted: bool
) -> None:
    assert erased(("b",)).in_record(json.dumps(record), 1, {"k": names}) is wanted


@pytest.mark.parametrize(
    ("steps", "wanted"),
    [
        ([], {"k"}),
        ([{"rename": {"columns": {"a": "b"}}}, {"rename": {"columns": {"b": "k"}}}], {"a"}),
        ([{"derive": {"columns": {"k": "upper(a)"}}}], None),
        ([{"derive": {"columns": {"x": "upper(a)"}}}], {"k"}),
        ([{"sql": {"query": "SELECT * FROM input"}}], None),
    ],
    ids=["same", "renamed twice", "derived", "another derived", "sql"],
)
def test_a_key_is_traced_to_the_columns_of_the_source(steps: Any, wanted: Any) -> None:
    spec = DataPipelineSpec.model_validate(
        {"source": {"uri": "raw/*.csv", "format": "CSV"}, "transforms": steps}
    )
    assert trace(spec, "k") == wanted


def test_a_reason_is_shown_without_the_keys_that_it_names() -> None:
    text = erased(("N1",)).redacted("wanted int64, got 'N1'. N12, N1: two")
    assert text == "wanted int64, got '[erased]'. N12, [erased]: two"
