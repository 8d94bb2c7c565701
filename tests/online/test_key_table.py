"""Keys are found by their hashes, and never by their hashes alone."""

from __future__ import annotations

import random
from zlib import crc32

import pyarrow as pa
import pytest

from featurestore.online.duckdb.key_table import KeyTable

MADE = random.Random(1)
KEYS = list(dict.fromkeys(MADE.randbytes(MADE.randrange(20)) for _ in range(2000)))


def places(table: KeyTable, keys: list[bytes]) -> list[int]:
    """By one look-up each, and by one of all: the same."""
    found = table.find_many(keys).tolist()
    assert [table.find(key) for key in keys] == found
    return found


@pytest.mark.parametrize("count", [0, 1, 2, 3, 2000])
def test_each_key_is_found_at_its_place_and_no_other_one(count: int) -> None:
    known = KEYS[:count]
    table = KeyTable(pa.array(known, pa.binary()))
    assert places(table, known) == list(range(len(known)))
    others = [key + b"\0" for key in known if key + b"\0" not in known]
    assert places(table, [*others, b"never"]) == [-1] * (len(others) + 1)


def test_keys_with_the_same_hash_are_told_apart() -> None:
    one, other = b"N304451600148", b"N619112783898"
    known, unknown = b"N988589623148", b"N286170010752"
    assert (crc32(one), crc32(known)) == (crc32(other), crc32(unknown))
    table = KeyTable(pa.array([*KEYS, one, other, known], pa.binary()))
    assert places(table, [other, one, known, unknown]) == [len(KEYS) + 1, len(KEYS), len(KEYS) + 2, -1]


def test_a_slice_of_keys_is_what_it_shows() -> None:
    table = KeyTable(pa.array(KEYS, pa.binary()).slice(5, 10))
    assert places(table, KEYS[:20]) == [-1] * 5 + list(range(10)) + [-1] * 5
