"""Values in Avro become rows exactly, and what is none is told."""

from __future__ import annotations

import json
import math
import random
import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import pytest
from schema_registry import Registry, encoded, schema_registry

from featurestore.errors import StorageError
from featurestore.resources.avro import Avro, avro_columns
from featurestore_transforms.sources.avro_rows import AvroRows
from featurestore_transforms.sources.stream import MALFORMED

KINDS: dict[str, tuple[Any, Any]] = {
    "flag": ("boolean", True),
    "small": ("int", -(2**31)),
    "large": (["null", "long"], 2**63 - 1),
    "single": ("float", 0.5),
    "double": ("double", math.inf),
    "text": (["string", "null"], "ü\0"),
    "raw": ("bytes", b"\x00\xff"),
    "two": ({"type": "fixed", "name": "Two", "size": 2}, b"ab"),
    "either": ({"type": "enum", "name": "Either", "symbols": ["A", "B"]}, "B"),
    "again": (["null", "space.Either"], "A"),
    "day": ({"type": "int", "logicalType": "date"}, date(1969, 12, 31)),
    "ms": ({"type": "long", "logicalType": "timestamp-millis"}, datetime(2024, 1, 1, 0, 0, 0, 1000, UTC)),
    "us": ({"type": "long", "logicalType": "timestamp-micros"}, datetime(1960, 1, 1, 0, 0, 0, 1, UTC)),
    "id": ({"type": "string", "logicalType": "uuid"}, str(uuid.UUID(int=1))),
    "list": ({"type": "array", "items": ["null", "long"]}, [1, None]),
    "struct": (
        {
            "type": "record",
            "name": "In",
            "fields": [
                {"name": "x", "type": "int"},
                {"name": "y", "type": {"type": "array", "items": "Two"}},
            ],
        },
        {"x": 1, "y": [b"cd"]},
    ),
}


def record(**fields: Any) -> dict[str, Any]:
    given = [{"name": name, "type": kind} for name, kind in fields.items()]
    return {"type": "record", "name": "Row", "namespace": "space", "fields": given}


WHOLE = record(**{name: kind for name, (kind, _) in KINDS.items()})
ROW = {name: value for name, (_, value) in KINDS.items()}


def read(schema: dict[str, Any], *values: bytes, registry: str | None = None) -> list[dict[str, Any]]:
    rows = AvroRows(Avro(schema=json.dumps(schema), registry=registry), [list(values)], {})
    return rows.frame(list(values), rows.schema).to_dicts()


def whys(*told: dict[str, Any]) -> list[str | None]:
    return [row[MALFORMED] for row in told]


@pytest.fixture
def registry() -> Iterator[Registry]:
    with schema_registry() as started:
        yield started


def test_a_value_of_each_type_is_what_was_written() -> None:
    empty = {**ROW, "large": None, "text": None, "again": None, "list": []}
    for written in (ROW, empty):
        [row] = read(WHOLE, encoded(WHOLE, written))
        assert row == {**written, "__malformed": None, "__line": None}


def test_bytes_that_are_something_else_are_malformed_alone() -> None:
    good = encoded(WHOLE, ROW)
    told = read(WHOLE, good, good + b"x", good[:-1], b"", b"{}", good)
    assert [why is None for why in whys(*told)] == [True, False, False, False, False, True]
    schema = record(n="int")
    [whole] = read(schema, encoded(record(n="long"), {"n": 2**31}))
    assert "2147483648 leaves its type" in whole[MALFORMED]


def test_whatever_bytes_come_each_is_a_row_or_malformed() -> None:
    drawn, good = random.Random(0), encoded(WHOLE, ROW)
    changed = []
    for _ in range(2000):
        value = bytearray(good)
        value[drawn.randrange(len(value))] = drawn.randrange(256)
        changed.append(bytes(value))
    told = read(WHOLE, *changed)
    assert len(told) == 2000
    assert 0 < sum(why is None for why in whys(*told)) < 2000


def test_values_of_other_schemas_of_the_registry_are_resolved_to_the_one_of_the_spec(
    registry: Registry,
) -> None:
    old = registry.add(record(n="int", gone="string"))
    new = registry.add(record(more="long", n="long"))
    wanted = record(n="long")
    wanted["fields"].append({"name": "note", "type": "string", "default": "none"})
    told = read(
        wanted,
        registry.value(old, {"n": 1, "gone": "x"}),
        registry.value(new, {"n": 2**40, "more": 1}),
        registry=registry.url,
    )
    assert [(row["n"], row["note"]) for row in told] == [(1, "none"), (2**40, "none")]
    assert len(registry.logins) == 2


def test_a_value_whose_schema_cannot_be_used_is_malformed_alone(registry: Registry) -> None:
    good = registry.add(record(n="long"))
    others = [
        registry.add(record(n="string")),
        registry.add(record(n="long"), references=[{"name": "other"}]),
        registry.add(record(n="long"), schemaType="PROTOBUF"),
        registry.add({"type": "what"}),
    ]
    whole = registry.value(good, {"n": 1})
    bad = [b"\0" + number.to_bytes(4) + whole[5:] for number in (*others, 99)]
    told = read(record(n="long"), whole, *bad, whole[5:], b"", registry=registry.url)
    assert [why is None for why in whys(*told)] == [True] + [False] * 7
    assert told[5][MALFORMED] == "the registry has no schema 99"


def test_a_registry_that_does_not_answer_refuses_nothing(registry: Registry) -> None:
    value = registry.value(registry.add(record(n="long")), {"n": 1})
    registry.is_down = True
    with pytest.raises(StorageError, match="HTTP 503"):
        read(record(n="long"), value, registry=registry.url)


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ({"type": "bytes", "logicalType": "decimal"}, "logical type 'decimal'"),
        (["string", "long"], "union of several types"),
        ("null", "'null'"),
        ({"type": "map", "values": "long"}, "'map'"),
        ({"type": "array", "items": "null"}, r"a\[\] has the type 'null'"),
        ("Row", "inside of itself"),
        ("Unknown", "'Unknown'"),
        ({"type": "record", "name": "Empty", "fields": []}, "no fields"),
        (None, "no type"),
    ],
)
def test_a_type_that_is_not_read_is_told_with_its_field(kind: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        avro_columns(json.dumps(record(a=kind)))
    for other in ("", "[", '"string"', "[" * 100_000):
        with pytest.raises(ValueError, match="it is not"):
            avro_columns(other)
