"""Values in Protobuf become rows exactly, and what is none is told."""

from __future__ import annotations

import base64
import random
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from examples import examples
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given, settings
from hypothesis import strategies as st
from schema_registry import Registry, schema_registry

from featurestore.errors import StorageError
from featurestore.resources.protobuf import Protobuf, protobuf_columns
from featurestore_transforms.sources.protobuf_rows import ProtobufRows
from featurestore_transforms.sources.stream import MALFORMED

EVERY = (Path(__file__).parents[2] / "fixtures" / "protobuf" / "every_type.binpb").read_bytes()
OLD = base64.b64decode(
    "CuABCglvbGQucHJvdG8SA29sZCK3AQoDUm93EgwKAW4YASACKANSAW4SFQoEZml2ZRgCIAEoBToBNVIEZml2ZRIdCgRraW5kGAMgASgOMgkub2xkLktpbmRSBGtp"
    "bmQSHwoFa2luZHMYBCADKA4yCS5vbGQuS2luZFIFa2luZHMSEgoEdGV4dBgFIAEoCVIEdGV4dBIhCgRwYXJ0GAYgASgKMg0ub2xkLlJvdy5QYXJ0UgRwYXJ0GhQK"
    "BFBhcnQSDAoBeBgBIAEoBVIBeCoUCgRLaW5kEgUKAUEQABIFCgFCEAE="
)
"""Of a file in proto2: `required n`, `optional five = 2 [default = 5]`, enums that are closed, and a group."""


def message_class(descriptor_set: bytes, name: str) -> Any:
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(descriptor_set).file:
        pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))


Every, Old = message_class(EVERY, "shop.Every"), message_class(OLD, "old.Row")


def protobuf(descriptor_set: bytes, message: str, registry: str | None = None) -> Protobuf:
    encoded = base64.b64encode(descriptor_set).decode()
    return Protobuf.model_validate({"descriptorSet": encoded, "message": message, "registry": registry})


def read(
    *values: bytes, schema: bytes = EVERY, message: str = "shop.Every", registry: str | None = None
) -> list[dict[str, Any]]:
    rows = ProtobufRows(protobuf(schema, message, registry), [list(values)], {})
    return rows.frame(list(values), rows.schema).to_dicts()


def whys(rows: list[dict[str, Any]]) -> list[str | None]:
    return [row[MALFORMED] for row in rows]


def whole(low: int, high: int) -> st.SearchStrategy[int]:
    return st.integers(low, high) | st.sampled_from([low, high, 0])


I32, I64 = whole(-(2**31), 2**31 - 1), whole(-(2**63), 2**63 - 1)
U32, U64 = whole(0, 2**32 - 1), whole(0, 2**63 - 1)
F32, F64 = st.floats(width=32, allow_nan=False), st.floats(allow_nan=False)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
LEVEL = st.sampled_from(["LEVEL_UNSPECIFIED", "LOW", "HIGH"])
FIRST, LAST = datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999_999)
TIME = st.datetimes(FIRST, LAST, timezones=st.just(UTC)) | st.sampled_from(
    [FIRST.replace(tzinfo=UTC), LAST.replace(tzinfo=UTC)]
)
OTHER = st.fixed_dictionaries({"n": I32})


def mapping(
    key: st.SearchStrategy[Any], value: st.SearchStrategy[Any]
) -> st.SearchStrategy[list[dict[str, Any]]]:
    pairs = st.dictionaries(key, value, max_size=3)
    return pairs.map(lambda made: [{"key": key, "value": made[key]} for key in sorted(made)])


INNER = st.fixed_dictionaries(
    {
        "whole": I64,
        "note": st.none() | TEXT,
        "levels": st.lists(LEVEL, max_size=3),
        "at": st.none() | TIME,
        "others": mapping(TEXT, OTHER),
    }
)
PLAIN: dict[str, st.SearchStrategy[Any]] = {
    "f64": F64,
    "f32": F32,
    **dict.fromkeys(("i32", "s32", "sx32"), I32),
    **dict.fromkeys(("i64", "s64", "sx64"), I64),
    **dict.fromkeys(("u32", "x32"), U32),
    **dict.fromkeys(("u64", "x64"), U64),
    "flag": st.booleans(),
    "text": TEXT,
    "raw": st.binary(max_size=4),
    "level": LEVEL,
    "many": st.lists(I64, max_size=3),
    "inners": st.lists(INNER, max_size=2),
    "texts": mapping(I32, TEXT),
    "named": mapping(TEXT, INNER),
    "times": st.lists(TIME, max_size=2),
    "flags": mapping(st.booleans(), I64),
}
ABSENT: dict[str, st.SearchStrategy[Any]] = {
    "maybe": I64,
    "maybe_level": LEVEL,
    "inner": INNER,
    "at": TIME,
    "took": whole(-315_576_000_000_000_000, 315_576_000_000_000_000),
    "w_f64": F64,
    "w_f32": F32,
    "w_i64": I64,
    "w_u64": U64,
    "w_i32": I32,
    "w_u32": U32,
    "w_flag": st.booleans(),
    "w_text": TEXT,
    "w_raw": st.binary(max_size=4),
}
CHOICE = st.sampled_from([("word", TEXT), ("number", I64), ("other", OTHER), ("", st.none())]).flatmap(
    lambda chosen: st.tuples(st.just(chosen[0]), chosen[1])
)
ROWS = st.tuples(
    st.fixed_dictionaries({**PLAIN, **{name: st.none() | value for name, value in ABSENT.items()}}), CHOICE
).map(
    lambda made: {
        **made[0],
        "word": None,
        "number": None,
        "other": None,
        **({made[1][0]: made[1][1]} if made[1][0] else {}),
    }
)


def fill(message: Any, row: dict[str, Any]) -> Any:
    """The message with what the row has, as a producer fills it."""
    for name, value in row.items():
        field = message.DESCRIPTOR.fields_by_name[name]
        if isinstance(value, list) and field.message_type and field.message_type.GetOptions().map_entry:
            for pair in value:
                if field.message_type.fields_by_name["value"].message_type is None:
                    getattr(message, name)[pair["key"]] = pair["value"]
                else:
                    put(getattr(message, name)[pair["key"]], pair["value"])
        elif isinstance(value, list) and field.message_type:
            for item in value:
                put(getattr(message, name).add(), item)
        elif isinstance(value, list):
            getattr(message, name).extend(number(field, item) for item in value)
        elif value is not None and field.message_type:
            put(getattr(message, name), value)
        elif value is not None:
            setattr(message, name, number(field, value))
    return message


def number(field: Any, value: Any) -> Any:
    return field.enum_type.values_by_name[value].number if field.enum_type else value


def put(message: Any, value: Any) -> None:
    match message.DESCRIPTOR.name:
        case "Timestamp":
            message.FromDatetime(value)
        case "Duration":
            message.FromMicroseconds(value)
        case name if name.endswith("Value"):
            message.SetInParent()
            message.value = value
        case _:
            message.SetInParent()
            fill(message, value)


@settings(max_examples=examples(100), deadline=None)
@given(st.lists(ROWS, min_size=1, max_size=3))
def test_rows_are_what_a_producer_wrote(written: list[dict[str, Any]]) -> None:
    values = [fill(Every(), row).SerializeToString() for row in written]
    for row, expected in zip(read(*values), written, strict=True):
        assert row == {**expected, "__malformed": None, "__line": None}


def test_nothing_but_defaults_is_a_value_of_no_bytes() -> None:
    [row] = read(b"")
    assert (row[MALFORMED], row["i64"], row["text"], row["level"]) == (None, 0, "", "LEVEL_UNSPECIFIED")
    assert (row["maybe"], row["inner"], row["at"], row["w_i64"], row["word"]) == (None,) * 5
    assert (row["many"], row["texts"]) == ([], [])


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"u64": 2**63}, "u64: 9223372036854775808 leaves int64"),
        ({"w_u64": {"value": 2**64 - 1}}, "w_u64: 18446744073709551615 leaves int64"),
        ({"level": 7}, "level: shop.Level has no name for 7"),
        ({"at": {"nanos": 1}}, "at: a time with 1 ns is finer than a microsecond"),
        ({"at": {"seconds": 2**60}}, "at: 1152921504606846976 s and 0 ns are not a timestamp"),
        ({"took": {"seconds": 1, "nanos": -1000}}, "took: 1 s and -1000 ns are not a duration"),
        ({"took": {"nanos": 10}}, "took: a duration with 10 ns is finer than a microsecond"),
        ({"inners": [{"levels": [9]}]}, "inners: shop.Level has no name for 9"),
    ],
)
def test_a_value_that_no_column_keeps_is_malformed_alone(fields: dict[str, Any], why: str) -> None:
    good = Every(i64=1).SerializeToString()
    rows = read(good, Every(**fields).SerializeToString(), good)
    assert whys(rows) == [None, f"not Protobuf by its schema: {why}", None]
    assert [row["i64"] for row in rows] == [1, None, 1]


def test_a_field_that_was_written_as_another_type_is_malformed_and_one_that_the_schema_lacks_is_left_out() -> (
    None
):
    as_text, later = b"\x22\x01x", b"\xf8\x3f\x01"
    rows = read(as_text, later, b"\x9a\x01" + bytes([len(b"\x0a\x01x")]) + b"\x0a\x01x")
    assert [why and why.partition(": ")[2] for why in whys(rows)] == [
        "i64 was written as another type, or is a number that its enum does not name",
        None,
        "inner: whole was written as another type, or is a number that its enum does not name",
    ]


def test_whatever_bytes_come_each_is_a_row_or_malformed() -> None:
    drawn = random.Random(0)
    good = Every(i64=5, text="abc", inner={"whole": 3}, many=[1, 2], at={"seconds": 9}).SerializeToString()
    changed = []
    for _ in range(2000):
        value = bytearray(good)
        value[drawn.randrange(len(value))] = drawn.randrange(256)
        changed.append(bytes(value))
    rows = read(*changed)
    assert len(rows) == 2000
    assert 0 < sum(why is None for why in whys(rows)) < 2000


def test_of_proto2_defaults_are_heeded_and_what_is_required_is_missed() -> None:
    bad_text = Old(n=1).SerializeToString() + b"\x2a\x01\xff"
    rows = read(
        Old(n=1).SerializeToString(),
        Old(n=2, five=6, kind=1, kinds=[0, 1], part={"x": 3}).SerializeToString(),
        b"",
        b"\x08\x01\x18\x07",
        b"\x08\x01\x20\x07",
        bad_text,
        schema=OLD,
        message="old.Row",
    )
    assert [why is None for why in whys(rows)] == [True, True, False, False, False, False]
    assert [(row["five"], row["kind"], row["kinds"], row["part"]) for row in rows[:2]] == [
        (5, None, [], None),
        (6, "B", ["A", "B"], {"x": 3}),
    ]


@pytest.fixture
def registry() -> Iterator[Registry]:
    with schema_registry() as started:
        yield started


def test_of_a_registry_only_values_of_the_message_are_taken(registry: Registry) -> None:
    [*_, file] = descriptor_pb2.FileDescriptorSet.FromString(EVERY).file
    [own] = [at for at, message in enumerate(file.message_type) if message.name == "Every"]
    head = registry.add_protobuf(
        file.SerializeToString(), references=[{"name": "google/protobuf/timestamp.proto"}]
    )
    moved = descriptor_pb2.FileDescriptorProto(package="shop")
    moved.message_type.add(name="Every")
    other = registry.add_protobuf(moved.SerializeToString())
    avro = b"\0" + registry.add({"type": "record"}).to_bytes(4)
    body = Every(i64=5).SerializeToString()
    rows = read(
        head + bytes([2, 2 * own]) + body,
        other + b"\0" + body,
        head + b"\0" + body,
        head + bytes([4, 2 * own, 0]) + body,
        head + bytes([2, 100]) + body,
        avro + b"\0" + body,
        b"\0\0\0\0\x63\0" + body,
        head,
        body,
        registry=registry.url,
    )
    assert [row["i64"] for row in rows] == [5, 5, *[None] * 7]
    assert [why and why.partition(": ")[2] for why in whys(rows)[2:]] == [
        "it is of message 'shop.Other', wanted 'shop.Every'",
        "it is of message 'shop.Every.Inner', wanted 'shop.Every'",
        "its schema has no message [50]",
        "schema 3 of the registry is not of format PROTOBUF",
        "the registry has no schema 99",
        "it has no message indexes after the number of its schema",
        "it does not begin with the number of a registry's schema",
    ]
    registry.is_down = True
    with pytest.raises(StorageError, match="HTTP 503"):
        read(head + b"\0" + body, registry=registry.url)


def changed(change: Any) -> str:
    files = descriptor_pb2.FileDescriptorSet.FromString(EVERY)
    change(files.file[-1].message_type[-1], files)
    return base64.b64encode(files.SerializeToString()).decode()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (
            lambda message, _: message.field.add(
                name="x", number=90, label=1, type=11, type_name=".shop.Every"
            ),
            "inside of itself",
        ),
        (
            lambda message, _: message.field.add(
                name="x", number=90, label=1, type=11, type_name=".google.protobuf.Any"
            ),
            "Any', which is not read",
        ),
        (
            lambda message, _: message.field.add(
                name="x", number=90, label=1, type=11, type_name=".shop.Gone"
            ),
            "the set does not have",
        ),
        (lambda message, _: message.field.add(name="I64", number=90, label=1, type=3), "two fields 'I64'"),
        (lambda message, _: message.field.add(name="x", number=90, label=1), "x has no type"),
        (lambda _, files: files.file.pop(0), "protoc --include_imports"),
        (lambda message, _: message.ClearField("field"), "has no fields"),
        (lambda message, _: setattr(message, "name", "Row"), "no message 'shop.Every', but: .*shop.Row"),
    ],
    ids=["recursive", "any", "gone", "twice", "untyped", "imports", "empty", "renamed"],
)
def test_a_schema_that_is_not_read_is_told(change: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        protobuf_columns(changed(change), "shop.Every")


def test_what_is_not_a_schema_is_told_and_never_crashes() -> None:
    drawn = random.Random(1)
    for _ in range(500):
        data = bytearray(EVERY)
        data[drawn.randrange(len(data))] = drawn.randrange(256)
        try:
            protobuf_columns(base64.b64encode(data[: drawn.randrange(1, len(data))]).decode(), "shop.Every")
        except ValueError:
            continue
    with pytest.raises(ValueError, match="not base64"):
        protobuf_columns("abc", "shop.Every")
    with pytest.raises(
        ValueError, match="descriptorSet, of types that are read: the set has no message 'a', but: none"
    ):
        Protobuf.model_validate({"descriptorSet": "EgA=", "message": "a"})
