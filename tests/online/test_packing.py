"""The layout of a packed value is what ``docs/online-layout.md`` says, and nothing else is ever read as one."""

from __future__ import annotations

import random
import struct
import zlib
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from featurestore.online.entities import Section, Stored
from featurestore.online.layout import Form
from featurestore.online.packed.heap import UnreadableValue
from featurestore.online.packed.packing import Packing
from featurestore.resources.feature_view import FeatureViewSpec

PREFIX = b"abcdef:"
BUILD = zlib.crc32(b"view:digest")
ORDER = {"event_us": 11, "created_us": 12, "__batch": 13, "__file": 14, "__row": 15}


def form_of(*features: dict[str, Any]) -> Form:
    return Form.of(
        FeatureViewSpec.model_validate(
            {
                "entity": {"name": "thing", "joinKeys": [{"name": "k", "type": "string"}]},
                "source": {"pipeline": "p"},
                "timestampField": "ts",
                "features": list(features),
            }
        )
    )


def stored_of(form: Form, *sections: list[tuple[int, dict[str, Any]]], published_us: int = 99) -> Stored:
    """``sections``: of each, the rows with their entities."""
    made = []
    for schema, rows in zip(form.sections, sections, strict=True):
        table = pa.Table.from_pylist([row for _, row in rows], schema=schema).combine_chunks()
        entity = np.array([entity for entity, _ in rows], np.int32)
        made.append(Section(entity, table.to_batches()[0]) if rows else Section.empty(schema))
    count = 1 + max((entity for rows in sections for entity, _ in rows), default=-1)
    keys = pa.array([f"k{n}".encode() for n in range(count)], pa.binary())
    return Stored(keys, np.full(count, published_us, np.int64), tuple(made))


def names_of(stored: Stored) -> list[bytes]:
    """Of the keys as they stand in the store."""
    return [PREFIX + key for key in stored.keys.to_pylist()]


def sealed(value: bytes) -> bytes:
    """As it is stored under the key of the first entity."""
    return value + struct.pack("<I", zlib.crc32(PREFIX + b"k0" + value, BUILD))


def test_the_bytes_of_a_value_are_those_of_the_documentation() -> None:
    form = form_of(
        {"name": "delay", "type": "float64", "column": "a"},
        {"name": "carrier", "type": "string", "column": "b"},
        {"name": "stops", "type": "list<string>", "column": "c"},
    )
    row = {**ORDER, "delay": 1.5, "carrier": None, "stops": ["é", None, "xyz"]}
    [value] = Packing(form, BUILD).pack(stored_of(form, [(0, row)], []), [PREFIX + b"k0"]).to_pylist()
    wanted = struct.pack("<q", 99 << 8 | 0x20 | 2)
    wanted += struct.pack("<qdII", 11, 1.5, 0, 3 | 1 << 31)
    wanted += bytes([0b010])
    wanted += bytes([0b00_01_00_01]) + struct.pack("<IBBH", 2, 13, 14, 15)
    wanted += bytes([0, 1, 0]) + struct.pack("<III", 2, 0, 3) + "éxyz".encode()
    assert value == sealed(wanted)


def test_tiles_and_events_stand_behind_the_rows() -> None:
    mean = {"function": "Mean", "column": "v", "windows": ["1h"]}
    distinct = {"function": "ApproxDistinct", "column": "v", "windows": ["1h"]}
    form = form_of(
        {"name": "m", "type": "float64", "aggregate": mean},
        {"name": "d", "type": "int64", "aggregate": distinct},
    )
    event = {**ORDER, "__in_m": None, "__in_d": "ab"}
    stored = stored_of(
        form,
        [(0, ORDER)],
        [(0, event)],
        [(0, {"start_us": 5, "n": 2, "sum": 0.5})],
        [(0, {"start_us": 5, "code": [1, 2]}), (0, {"start_us": 6, "code": [3]})],
    )
    [value] = Packing(form, BUILD).pack(stored, names_of(stored)).to_pylist()
    order = struct.pack("<qqqiq", 11, 12, 13, 14, 15)
    wanted = struct.pack("<q4I", 99 << 8 | 0x10 | 2, 1, 1, 1, 2)
    wanted += struct.pack("<qBIBBH", 11, 0b00_01_00_01, 2, 13, 14, 15)
    wanted += order + struct.pack("<dIB", 0.0, 2, 0b01) + b"ab"
    wanted += struct.pack("<qqd", 5, 2, 0.5)
    wanted += struct.pack("<qIqI", 5, 2, 6, 1) + struct.pack("<III", 1, 2, 3)
    assert value == sealed(wanted)


def test_entities_with_any_number_of_rows_come_back_each_with_its_own() -> None:
    form = form_of(
        {"name": "x", "type": "list<int64>", "column": "x"},
        {"name": "s", "type": "string", "column": "s"},
    )
    rows = [
        (entity, {**ORDER, "__row": n, "x": [entity, None] * n if n != 1 else None, "s": "é" * n})
        for entity in (1, 2, 5)
        for n in range(entity)
    ]
    stored = stored_of(form, rows, [])
    packing = Packing(form, BUILD)
    back = packing.unpack(stored.keys, names_of(stored), packing.pack(stored, names_of(stored)).to_pylist())
    assert back.sections[0].entity.tolist() == [entity for entity, _ in rows]
    assert back.sections[0].rows.to_pylist() == [row for _, row in rows]
    assert back.published_us.tolist() == [99] * 6


@pytest.mark.parametrize("columns", [["s"], ["event_us", "w"], ["x", "__row"]])
def test_columns_that_are_not_wanted_are_passed_over(columns: list[str]) -> None:
    kinds = {"w": "list<string>", "x": "int64", "s": "string", "n": "list<float32>"}
    form = form_of(*({"name": name, "type": kind, "column": name} for name, kind in kinds.items()))
    rows = [(n, {**ORDER, "w": ["a", None, "b" * n], "x": n, "s": "s" * n, "n": [0.5] * n}) for n in range(4)]
    stored = stored_of(form, rows, [])
    packing = Packing(form, BUILD)
    values = packing.pack(stored, names_of(stored)).to_pylist()
    back = packing.unpack_sound(stored.keys, values, [columns, []])
    assert back.sections[0].rows.to_pylist() == [{name: row[name] for name in columns} for _, row in rows]
    assert len(back.sections[1].entity) == 0


def test_a_slice_of_a_column_packs_as_the_column_does() -> None:
    form = form_of(
        {"name": "s", "type": "string", "column": "s"}, {"name": "l", "type": "list<string>", "column": "l"}
    )
    rows = [(0, {**ORDER, "s": "ab" * n, "l": ["x" * n, None]}) for n in range(5)]
    whole = stored_of(form, rows, [])
    part = Section(whole.sections[0].entity[2:], whole.sections[0].rows.slice(2))
    sliced = Stored(whole.keys, whole.published_us, (part, whole.sections[1]))
    packing = Packing(form, BUILD)
    assert (
        packing.pack(sliced, names_of(sliced)).to_pylist()
        == packing.pack(stored_of(form, rows[2:], []), names_of(sliced)).to_pylist()
    )


def test_nothing_packs_to_nothing() -> None:
    packing = Packing(form_of({"name": "x", "type": "int64", "column": "x"}), BUILD)
    empty = Stored.empty(form_of({"name": "x", "type": "int64", "column": "x"}))
    assert packing.pack(empty, names_of(empty)).to_pylist() == []
    assert len(packing.unpack(empty.keys, names_of(empty), [])) == 0


@pytest.mark.parametrize(
    "damage",
    [
        lambda value: b"\x01" + value[1:],
        lambda value: b"",
        lambda value: b"{}",
        lambda value: value[:-1],
        lambda value: value + b"\x00",
        lambda value: value[:20],
        lambda value: b"\x12" + value[1:8] + b"\xff\xff\xff\x0f" + value[8:],
    ],
    ids=["other layout", "empty", "not ours", "short", "long", "half a header", "too many records"],
)
def test_what_is_no_value_of_this_layout_is_never_read_as_one(damage: Any) -> None:
    form = form_of({"name": "s", "type": "string", "column": "s"})
    packing = Packing(form, BUILD)
    stored = stored_of(form, [(n, {**ORDER, "s": "abc"}) for n in range(2)], [])
    good, bad = packing.pack(stored, names_of(stored)).to_pylist()
    with pytest.raises(UnreadableValue):
        packing.unpack(stored.keys, names_of(stored), [good, damage(bad)])


def _packed() -> tuple[Packing, Stored, list[bytes]]:
    mean = {"function": "Mean", "column": "v", "windows": ["1h"]}
    form = form_of(
        {"name": "s", "type": "string", "column": "s"},
        {"name": "w", "type": "list<string>", "column": "w"},
        {"name": "m", "type": "float64", "aggregate": mean},
    )
    rows = [(n, {**ORDER, "s": "abc" * n, "w": ["x", None, "y" * n]}) for n in range(4)]
    tiles = [(n, {"start_us": 5, "n": n, "sum": 0.5}) for n in range(4)]
    stored = stored_of(form, rows, [], tiles)
    packing = Packing(form, BUILD)
    return packing, stored, packing.pack(stored, names_of(stored)).to_pylist()


def _mutated(value: bytes, made: random.Random, others: list[bytes]) -> bytes:
    """The value with bits turned over, bytes put in, left out, moved, repeated or cut off, or parts of another."""
    changed = bytearray(value)
    at, to = sorted(made.sample(range(len(value)), 2))
    match made.randrange(8):
        case 0:
            changed[at] ^= 1 << made.randrange(8)
        case 1:
            changed[at:to] = made.randbytes(to - at)
        case 2:
            del changed[at:to]
        case 3:
            changed[at:at] = made.randbytes(made.randrange(1, 9))
        case 4:
            changed[at:to] = bytes(to - at)
        case 5:
            changed[at], changed[to] = changed[to], changed[at]
        case 6:
            changed = bytearray(made.choice(others)[:at] + value[at:])
        case _:
            changed += value[at:]
    return bytes(changed)


@pytest.mark.parametrize("seed", range(4))
def test_each_of_many_mutations_of_a_value_is_told_as_damaged(seed: int) -> None:
    packing, stored, values = _packed()
    made = random.Random(seed)
    told = 0
    while told < 300:
        place = made.randrange(1, 4)
        damaged = _mutated(values[place], made, values)
        if damaged == values[place]:
            continue
        with pytest.raises(UnreadableValue) as raised:
            packing.unpack(stored.keys, names_of(stored), [*values[:place], damaged, *values[place + 1 :]])
        assert raised.value.where == f"abcdef:k{place}"
        told += 1


def test_a_value_under_the_key_of_another_entity_or_view_is_told_as_damaged() -> None:
    packing, stored, values = _packed()
    with pytest.raises(UnreadableValue, match="damaged"):
        packing.unpack(stored.keys, names_of(stored), [values[1], values[0], *values[2:]])
    other = Packing(form_of({"name": "s", "type": "string", "column": "s"}), zlib.crc32(b"other:digest"))
    form = form_of({"name": "s", "type": "string", "column": "s"})
    one = stored_of(form, [(0, {**ORDER, "s": "abc"})], [])
    with pytest.raises(UnreadableValue, match="damaged"):
        other.unpack(one.keys, names_of(one), Packing(form, BUILD).pack(one, names_of(one)).to_pylist())
