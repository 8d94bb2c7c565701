"""Keys of entities: no two share a text, and each is found among many."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurestore.online import entity_keys
from featurestore.online.entity_keys import KeyIndex, key_hashes, key_texts
from featurestore.online.needed_rows import by_value, unique

parts = st.tuples(
    st.text(alphabet="a1:|é\x00", max_size=4), st.integers(-99, 99), st.text(alphabet="a1:|", max_size=3)
)


@given(st.lists(parts, unique=True, max_size=40))
def test_entities_that_differ_have_texts_that_differ(entities: list[tuple[str, int, str]]) -> None:
    table = pa.table({name: [each[n] for each in entities] for n, name in enumerate("anb")})
    schema = pa.schema([("a", pa.string()), ("n", pa.int32()), ("b", pa.string())])
    texts = key_texts(table.cast(schema)).to_pylist()
    assert len(set(texts)) == len(entities)


def test_one_string_is_its_own_text_and_one_number_its_digits() -> None:
    assert key_texts(pa.table({"k": ["a:b", None, ""]})).to_pylist() == [b"a:b", None, b""]
    assert key_texts(pa.table({"k": pa.array([-5, None, 2**62])})).to_pylist() == [
        b"-5",
        None,
        b"4611686018427387904",
    ]


def test_a_text_is_null_where_one_of_the_keys_is() -> None:
    table = pa.table({"a": ["x", None, "x"], "n": pa.array([1, 1, None], pa.int32())})
    assert key_texts(table).to_pylist() == [b"1:x|1", None, None]


@given(st.lists(st.binary(max_size=6), unique=True), st.lists(st.binary(max_size=6)))
def test_each_key_is_found_at_its_place_and_no_other_is_found(have: list[bytes], ask: list[bytes]) -> None:
    index = KeyIndex.of(pa.array(have, pa.binary()))
    wanted = pa.array([*ask, None, *have], pa.binary())
    places = [have.index(each) if each in have else -1 for each in ask]
    assert index.find(wanted).tolist() == [*places, -1, *range(len(have))]


def test_keys_with_equal_hashes_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entity_keys, "key_hashes", lambda keys: np.full(len(keys), 7, np.uint64))
    have = [b"a", b"b", b"c", b"d"]
    index = KeyIndex.of(pa.array(have, pa.binary()))
    wanted = pa.array([b"d", b"zz", b"a", None, b"c", b"c"], pa.binary())
    assert index.find(wanted).tolist() == [3, -1, 0, -1, 2, 2]


def test_hashes_do_not_depend_on_what_stands_beside() -> None:
    texts = pa.array([b"", b"a", b"\x00", b"\x00\x00", b"N14228", b"a"], pa.binary())
    alone = [key_hashes(texts.slice(n, 1))[0] for n in range(len(texts))]
    assert key_hashes(texts).tolist() == alone
    assert len(set(alone)) == 5


def test_hashes_of_many_keys_hardly_ever_meet() -> None:
    texts = pa.array([f"N{n}".encode() for n in range(200_000)], pa.binary())
    assert len(np.unique(key_hashes(texts))) == 200_000


@pytest.mark.parametrize("name", ["[0]", ".a", '."', "a.b"])
def test_entities_are_told_apart_by_keys_whose_names_arrow_reads_as_paths(name: str) -> None:
    keys = pa.table({"a": ["x", "x", "w", "x"], name: ["2", "1", "3", "2"]})
    distinct = by_value(unique(keys))
    assert distinct.column_names == keys.column_names
    assert [tuple(row.values()) for row in distinct.to_pylist()] == [("w", "3"), ("x", "1"), ("x", "2")]
