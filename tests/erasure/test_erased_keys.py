"""Which rows and records are of erased keys."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from featurestore.arrivals.erasure import Erasure, hash_key, lengths_of
from featurestore.resources.data_pipeline import DataPipelineSpec
from featurestore_transforms.steps.column_names import short
from featurestore_transforms.tables.erased_keys import ERASED, ErasedKeys, trace

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
        lengths=lengths_of(keys),
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
        ({"line": "1,b-c,x"}, ["tail"], False),
    ],
    ids=[
        "renamed",
        "another column",
        "computed",
        "lacking",
        "a line",
        "a part of a word",
        "nested",
        "a part of a date",
    ],
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


ODD_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=130)
ODD = st.one_of(
    st.sampled_from(
        ["a b", " a", 'O\'Neil, "Jr"', "two\nlines\t", "\x1b[2J", "名前", "é́", "x" * 120, "7", '""', "\\n"]
    ),
    ODD_TEXTS,
)
SHOWN = [
    "wanted int64, got '{}'",
    "k = {}; v = 1",
    "({}) is not true",
    "{}",
    "row 3: {}: no such thing",
]


@settings(max_examples=examples(100), deadline=None)
@given(key=ODD, how=st.sampled_from(SHOWN), written=st.sampled_from([str, repr, json.dumps]))
def test_a_reason_that_shows_an_odd_key_as_it_is_or_escaped_is_blanked(
    key: str, how: str, written: Callable[[str], str]
) -> None:
    assert erased((key,)).blanked(how.format(written(key)), "{}", 1) == ERASED


@settings(max_examples=examples(50), deadline=None)
@given(key=ODD)
def test_a_malformed_line_that_holds_an_odd_key_as_a_field_is_of_it(key: str) -> None:
    keys, quoted = erased((key,)), key.replace('"', '""')
    for line in (f'1,"{quoted}",x', f"{key},x", f"1;{key}"):
        assert keys.in_record(json.dumps({"line": line}), 1, {"k": ["tail"]}), line


@settings(max_examples=examples(50), deadline=None)
@given(key=st.text(st.characters(exclude_categories=["Cs"]), min_size=61, max_size=200))
def test_a_reason_that_shows_a_part_of_a_key_is_blanked(key: str) -> None:
    keys, reason = erased((key,)), f"wanted int64, got {short(key)}"
    assert keys.blanked(reason, None, 1) == ERASED, "a file: nothing tells what was cut"
    assert keys.blanked(reason, json.dumps({"v": key}), 1) == ERASED
    assert keys.blanked(reason, json.dumps({"v": "1" * 300}), 1) == reason, "the row has another long value"


def test_reasons_that_only_look_alike_stay() -> None:
    keys = erased(("N1",), ("a b",))
    for reason in ("wanted int64, got 'N12'", "xN1", "aa b", "a  b", "", None):
        assert keys.blanked(reason, "{}", 1) == reason


def test_a_reason_shows_a_key_of_several_columns_if_it_shows_each() -> None:
    keys = erased(("A A", "1"), a="string", n="int64")
    assert keys.blanked("a = 'A A', n = 1 is not true", "{}", 1) == ERASED
    assert keys.blanked("a = 'A A', n = 2 is not true", "{}", 1) != ERASED
    assert keys.blanked("n = 1", "{}", 1) == "n = 1"
