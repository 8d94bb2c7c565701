"""Parquet and Arrow files are taken whole or refused with what is wrong; none ends a run, and none loses a row unsaid."""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Collection, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from examples import exhaustive, sample

from featurestore_transforms.sources import stream
from featurestore_transforms.sources.stream import FrameStream

Make = Callable[..., Any]
GOOD = pa.table({"id": pa.array([1, 2, 3]), "name": ["a", "b", None], "x": [0.5, None, 2.5]})
FLIPS = [40, 400] if exhaustive() else [20]


def table(rows: int = 500) -> pa.Table:
    """Columns of many types, with nulls."""
    made = random.Random(7)
    names = [made.choice(["N14228", "N24211", None]) for _ in range(rows)]
    return pa.table(
        {
            "id": pa.array(range(rows), pa.int64()),
            "name": names,
            "x": pa.array([made.random() if made.random() < 0.9 else None for _ in range(rows)]),
            "small": pa.array([made.randrange(-99, 99) for _ in range(rows)], pa.int8()),
            "at": pa.array([made.randrange(2**50) for _ in range(rows)], pa.timestamp("us", tz="UTC")),
            "tags": [[made.choice("abc") for _ in range(made.randrange(3))] for _ in range(rows)],
            "place": [{"lat": made.random(), "n": n} for n in range(rows)],
        }
    )


def arrow_bytes(rows: pa.Table, stream: bool = False) -> bytes:
    sink = io.BytesIO()
    with (pa.ipc.new_stream if stream else pa.ipc.new_file)(sink, rows.schema) as writer:
        writer.write_table(rows, max_chunksize=200)
    return sink.getvalue()


def parquet_bytes(rows: pa.Table, **how: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(rows, sink, write_page_checksum=True, data_page_size=1024, **how)
    return sink.getvalue()


def flipped(data: bytes, made: random.Random, first: int = 0, last: int | None = None) -> bytes:
    """The bytes with one bit of them turned over."""
    damaged = bytearray(data)
    damaged[made.randrange(first, len(data) if last is None else last)] ^= 1 << made.randrange(8)
    return bytes(damaged)


def footer_start(data: bytes) -> int:
    return len(data) - 8 - int.from_bytes(data[-8:-4], "little")


def with_rows(data: bytes, was: int, now: int) -> bytes:
    """The Parquet file with another number of rows in its footer: the first field of 64 bits after the schema."""
    start = footer_start(data)
    old, new = bytes([0x16, was * 2]), bytes([0x16, now * 2])
    assert data.count(old, start)
    place = data.index(old, start)
    return data[:place] + new + data[place + 2 :]


@pytest.fixture
def take(
    pipeline: Make,
) -> Callable[..., tuple[list[dict[str, Any]], list[tuple[int, int | None, str, str]]]]:
    """What becomes of files with these bytes in one batch: rows of the dataset, and entries of the quarantine."""

    def run(*files: bytes, form: str = "Parquet", columns: tuple[str, ...] = (), **spec: Any) -> Any:
        p = pipeline(source={"format": form}, **spec)
        names = []
        for index, data in enumerate(files):
            names.append(f"{index:04}")
            (p.raw / names[-1]).write_bytes(data)
        p.batch(*names)
        why = p.quarantine("__file", "__row", "rule", "reason")
        rows = p.rows(*columns) if p.dataset.files() else []
        return rows, [tuple(entry.values()) for entry in why]

    return run


def test_a_footer_that_says_no_rows_while_its_row_groups_hold_some_loses_none(take: Make) -> None:
    rows, quarantined = take(with_rows(parquet_bytes(GOOD), 3, 0))
    assert ([row["id"] for row in rows], quarantined) == ([1, 2, 3], [])


def test_a_footer_that_counts_other_rows_than_its_row_groups_is_refused(take: Make) -> None:
    rows, quarantined = take(parquet_bytes(GOOD), with_rows(parquet_bytes(GOOD), 3, 2))
    assert len(rows) == 3
    assert quarantined == [(1, None, "file:corrupt", "the footer counts 2 rows, and its row groups 3")]


@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_pages_that_hold_more_rows_than_the_footer_counts_are_refused(take: Make, version: str) -> None:
    data = parquet_bytes(GOOD.select(["id"]), data_page_version=version, use_dictionary=False)
    start = footer_start(data)
    fewer = data[:start] + data[start:].replace(bytes([0x16, 6]), bytes([0x16, 4]))
    rows, [(file, row, rule, reason)] = take(parquet_bytes(GOOD.select(["id"])), fewer)
    assert (len(rows), file, row, rule) == (3, 1, None, "file:corrupt")
    assert reason == "row group 0, column 'id': the footer counts 2 values and its pages hold 3"


def test_a_page_that_breaks_its_checksum_is_refused(take: Make) -> None:
    whole = parquet_bytes(table(), compression="none", use_dictionary=False)
    place = whole.index((17).to_bytes(8, "little"))
    broken = whole[:place] + b"\x63" + whole[place + 1 :]
    rows, [(file, row, rule, reason)] = take(whole, broken)
    assert (len(rows), file, row, rule) == (500, 1, None, "file:corrupt")
    assert "CRC checksum verification failed" in reason


def test_a_file_is_read_once_however_many_of_its_rows_break_a_rule(
    take: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[str] = []

    def counted(file: FrameStream, columns: Collection[str]) -> Iterator[pl.DataFrame]:
        reads.append("read")
        yield from noted(file, columns)

    noted = stream._noted
    monkeypatch.setattr(stream, "_noted", counted)
    rule = {"name": "small", "that": "x < 2", "otherwise": "Drop"}
    rows, _ = take(parquet_bytes(GOOD), expectations=[rule], transforms=[{"filter": {"where": "id <> 2"}}])
    assert ([row["id"] for row in rows], reads) == ([1], ["read"])


def test_encrypted_columns_are_refused_as_what_they_are(take: Make) -> None:
    pe = pytest.importorskip("pyarrow.parquet.encryption")

    class Client(pe.KmsClient):  # type: ignore[name-defined, misc]
        def __init__(self, config: Any) -> None:
            super().__init__()

        def wrap_key(self, key: bytes, master: str) -> bytes:
            return key

        def unwrap_key(self, key: bytes, master: str) -> bytes:
            return key

    factory = pe.CryptoFactory(Client)
    config = pe.EncryptionConfiguration(footer_key="f", column_keys={"c": ["id"]}, plaintext_footer=True)
    sink = io.BytesIO()
    properties = factory.file_encryption_properties(pe.KmsConnectionConfig(), config)
    with pq.ParquetWriter(sink, GOOD.schema, encryption_properties=properties) as writer:
        writer.write_table(GOOD)
    rows, quarantined = take(parquet_bytes(GOOD), sink.getvalue())
    assert len(rows) == 3
    assert quarantined == [(1, None, "file:unsupported", "columns of the Parquet file are encrypted")]


@pytest.mark.parametrize("count", FLIPS)
@pytest.mark.parametrize("how", [{"compression": "none", "use_dictionary": False}, {"compression": "zstd"}])
def test_no_flipped_bit_in_the_pages_of_a_parquet_file_changes_a_value_unsaid(
    take: Make, count: int, how: dict[str, Any]
) -> None:
    whole = parquet_bytes(table(), **how)
    made = random.Random(count)
    damaged = [flipped(whole, made, 4, footer_start(whole)) for _ in range(count)]
    rows, quarantined = take(whole, *damaged)
    refused = {file for file, row, _, _ in quarantined if row is None}
    good = [{**row, "__file": 0} for row in rows if row["__file"] == 0]
    assert len(good) == 500
    for file in range(1, count + 1):
        taken = [{**row, "__file": 0} for row in rows if row["__file"] == file]
        assert taken == ([] if file in refused else good)
    assert all(reason for _, _, _, reason in quarantined)


@pytest.mark.parametrize("count", FLIPS)
@pytest.mark.parametrize("form", ["footer", "Arrow", "Arrow stream"])
def test_a_flipped_bit_anywhere_holds_up_no_other_file(take: Make, count: int, form: str) -> None:
    if form == "footer":
        whole, first, format_ = parquet_bytes(table()), None, "Parquet"
        first = footer_start(whole)
    else:
        whole, first, format_ = arrow_bytes(table(), form == "Arrow stream"), 0, "Arrow"
    made = random.Random(count)
    damaged = [flipped(whole, made, first) for _ in range(count)]
    # A flipped time may be valid, and beyond what Python has.
    rows, quarantined = take(whole, *damaged, form=format_, columns=("__file", "__row"))
    assert sum(row["__file"] == 0 for row in rows) == 500
    assert all(rule and reason for _, _, rule, reason in quarantined)


def test_times_of_96_bits_are_those_that_were_written(take: Make) -> None:
    times = [
        datetime(9999, 12, 31, 23, 59, 59, 999999),
        datetime(1, 1, 1),
        datetime(1969, 12, 31, 23, 59, 59, 1),
    ]
    at = pa.array(times, pa.timestamp("us"))
    rows = pa.table({"at": at, "all": pa.array([[time, None] for time in times], pa.list_(at.type))})
    taken, quarantined = take(parquet_bytes(rows, use_deprecated_int96_timestamps=True))
    wanted = [time.replace(tzinfo=UTC) for time in times]
    assert quarantined == []
    assert [row["at"] for row in taken] == wanted
    assert [row["all"] for row in taken] == [[time, None] for time in wanted]


def test_a_time_of_96_bits_with_nanoseconds_goes_to_quarantine_and_its_neighbors_do_not(take: Make) -> None:
    rows = pa.table({"id": [1, 2], "at": pa.array([1_000_000_000_000_001, 1_000], pa.timestamp("ns"))})
    taken, quarantined = take(parquet_bytes(rows, use_deprecated_int96_timestamps=True))
    assert [row["id"] for row in taken] == [2]
    assert [(row, rule) for _, row, rule, _ in quarantined] == [(0, "row:malformed")]
    assert quarantined[0][3] == "at: a time finer than microseconds, or beyond their range"


def test_a_page_that_has_no_room_in_memory_is_refused_before_it_is_unpacked(take: Make) -> None:
    bomb = io.BytesIO()
    rows = pa.table({"id": [1], "name": ["a" * (400 << 20)]})
    pq.write_table(rows, bomb, compression="zstd", use_dictionary=False, write_statistics=False)
    assert len(bomb.getvalue()) < 1 << 20
    good = parquet_bytes(GOOD.select(["id", "name"]))
    taken, [(file, _, rule, reason)] = take(good, bomb.getvalue(), resources={"memory": "512Mi"})
    assert (len(taken), file, rule) == (3, 1, "file:tooLarge")
    assert "a page unpacks to 419,430,4" in reason


def test_a_small_file_that_unfolds_to_fifty_gigabytes_is_refused(take: Make) -> None:
    bomb = io.BytesIO()
    names = pa.DictionaryArray.from_arrays(pa.array([0] * 50_000, pa.int32()), ["a" * (1 << 20)])
    pq.write_table(
        pa.table({"id": range(50_000), "name": names}), bomb, compression="zstd", write_statistics=False
    )
    good = parquet_bytes(GOOD.select(["id", "name"]))
    taken, [(file, _, rule, reason)] = take(good, bomb.getvalue(), resources={"memory": "512Mi"})
    assert (len(taken), file, rule) == (3, 1, "file:tooLarge")
    assert "unfold to more than 52," in reason
    assert "Raise spec.resources.memory" in reason


@pytest.mark.parametrize("unit", ["runs", "dictionary"])
def test_arrow_values_that_unfold_beyond_the_memory_are_refused(take: Make, unit: str) -> None:
    text = pa.array(["a" * (1 << 20)])
    values = (
        pa.RunEndEncodedArray.from_arrays(pa.array([50_000], pa.int32()), text)
        if unit == "runs"
        else pa.DictionaryArray.from_arrays(pa.array([0] * 50_000, pa.int32()), text)
    )
    bomb = pa.table({"id": range(50_000), "name": values})
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, bomb.schema) as writer:
        writer.write_table(bomb)
    good = arrow_bytes(GOOD.select(["id", "name"]))
    taken, [(file, _, rule, _)] = take(good, sink.getvalue(), form="Arrow", resources={"memory": "512Mi"})
    assert (len(taken), file, rule) == (3, 1, "file:tooLarge")


@pytest.mark.parametrize("form", ["Parquet", "Arrow"])
def test_a_text_that_is_not_utf8_goes_to_quarantine_as_its_row(take: Make, form: str) -> None:
    rows = pa.table({"name": pa.array([b"a", b"\xff", b"c"]).view(pa.string()), "id": [1, 2, 3]})
    data = parquet_bytes(rows) if form == "Parquet" else arrow_bytes(rows)
    taken, [(_, row, rule, reason)] = take(data, form=form)
    assert [each["id"] for each in taken] == [1, 3]
    assert (row, rule, reason) == (1, "row:malformed", "name: Invalid UTF8 sequence at string index 0")


def test_only_the_columns_that_are_asked_for_are_read(tmp_path: Path) -> None:
    from featurestore.arrivals.files.listing import find_arrival
    from featurestore_transforms.sources.arrow_file import ArrowFile
    from featurestore_transforms.sources.parquet_file import ParquetFile

    whole = parquet_bytes(table(), compression="none", use_dictionary=False)
    place = whole.index(b"N14228")
    (tmp_path / "a").write_bytes(whole[:place] + b"X" + whole[place + 1 :])
    (tmp_path / "b").write_bytes(arrow_bytes(table()))
    for name, kind in {"a": ParquetFile, "b": ArrowFile}.items():
        arrival = find_arrival(str(tmp_path / name))
        assert arrival is not None
        frame = kind(arrival, 1 << 30).scan().select("id", "tags").collect()
        assert frame.equals(pl.DataFrame(table().select(["id", "tags"])))


DEEP = pa.table(
    {
        "stops": pa.array(
            [
                [{"n": 1, "x": 0.5, "at": datetime(2024, 1, 1), "time": None}, None],
                [],
                None,
                [{"n": None, "x": None, "at": None, "time": None}],
            ],
            pa.list_(
                pa.struct(
                    [
                        ("n", pa.int32()),
                        ("x", pa.float32()),
                        ("at", pa.timestamp("ms")),
                        ("time", pa.time32("ms")),
                    ]
                )
            ),
        ),
        "names": pa.array([[("a", 1), ("b", None)], [], None, [("c", 3)]], pa.map_(pa.string(), pa.int32())),
        "deep": pa.array(
            [[("a", [{"n": 7}])], None, [("b", None)], [("c", [None])]],
            pa.map_(pa.string(), pa.list_(pa.struct([("n", pa.int16())]))),
        ),
    }
)


@pytest.mark.parametrize("form", ["Parquet", "Arrow"])
def test_lists_of_structs_and_maps_are_taken_as_they_are(take: Make, form: str) -> None:
    data = parquet_bytes(DEEP) if form == "Parquet" else arrow_bytes(DEEP)
    rows, quarantined = take(data, data, form=form)
    assert quarantined == []
    at = datetime(2024, 1, 1, tzinfo=UTC)
    assert [row["stops"] for row in rows][:4] == [
        [{"n": 1, "x": 0.5, "at": at, "time": None}, None],
        [],
        None,
        [{"n": None, "x": None, "at": None, "time": None}],
    ]
    assert [row["names"] for row in rows][4:] == [{"a": 1, "b": None}, {}, None, {"c": 3}]
    assert [row["deep"] for row in rows][:4] == [{"a": [{"n": 7}]}, None, {"b": None}, {"c": [None]}]


MADE = {
    "bool": pa.bool_(), "i8": pa.int8(), "i16": pa.int16(), "i32": pa.int32(), "i64": pa.int64(),
    "u8": pa.uint8(), "u16": pa.uint16(), "u32": pa.uint32(), "f32": pa.float32(), "f64": pa.float64(),
    "text": pa.string(), "large": pa.large_string(), "bytes": pa.binary(), "fixed": pa.binary(3),
    "dec": pa.decimal128(12, 3), "day": pa.date32(), "ms": pa.timestamp("ms"), "us": pa.timestamp("us", tz="Europe/Berlin"),
    "list": pa.list_(pa.int32()), "texts": pa.list_(pa.string()),
    "struct": pa.struct([("a", pa.int16()), ("b", pa.list_(pa.float32()))]),
    "structs": pa.list_(pa.struct([("d", pa.decimal128(7, 2)), ("m", pa.map_(pa.string(), pa.date32()))])),
    "map": pa.map_(pa.int64(), pa.struct([("t", pa.timestamp("us")), ("s", pa.string())])),
}  # fmt: skip


def random_value(dtype: pa.DataType, made: random.Random) -> Any:
    """A value that the type can have, as Python has it; sometimes null."""
    kinds = pa.types
    if made.random() < 0.15:
        return None
    if kinds.is_boolean(dtype):
        return made.random() < 0.5
    if kinds.is_integer(dtype):
        bits, signed = dtype.bit_width, kinds.is_signed_integer(dtype)
        low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
        return made.choice([low, high, 0, made.randint(low, high)])
    if kinds.is_floating(dtype):
        return made.choice([0.0, -0.0, 0.5, -1.25, 2.0**60, float("inf")])
    if kinds.is_string(dtype) or kinds.is_large_string(dtype):
        return made.choice(["", "é", "007", "null", "a\nb"])
    if kinds.is_fixed_size_binary(dtype):
        return made.randbytes(3)
    if kinds.is_binary(dtype):
        return made.randbytes(made.randrange(4))
    if kinds.is_decimal(dtype):
        return Decimal(made.randrange(-(10**dtype.precision) + 1, 10**dtype.precision)).scaleb(-dtype.scale)
    if kinds.is_date(dtype):
        return date.fromordinal(made.randint(1, date.max.toordinal()))
    if kinds.is_timestamp(dtype):
        time = datetime(1, 1, 2) + timedelta(milliseconds=made.randrange(315_000_000_000_000))
        return time if dtype.tz is None else time.replace(tzinfo=UTC)
    if kinds.is_list(dtype):
        return [random_value(dtype.value_type, made) for _ in range(made.randrange(3))]
    if kinds.is_map(dtype):
        keys = {random_value(dtype.key_type, made) for _ in range(made.randrange(3))} - {None}
        return [(key, random_value(dtype.item_type, made)) for key in keys]
    return {field.name: random_value(field.type, made) for field in dtype}


def as_read(value: Any, dtype: pa.DataType) -> Any:
    """The value as rows of a dataset have it: times in UTC, maps as dicts."""
    if value is None:
        return None
    if pa.types.is_timestamp(dtype):
        return value.replace(tzinfo=UTC)
    if pa.types.is_list(dtype):
        return [as_read(item, dtype.value_type) for item in value]
    if pa.types.is_map(dtype):
        return {key: as_read(item, dtype.item_type) for key, item in value}
    if pa.types.is_struct(dtype):
        return {field.name: as_read(value[field.name], field.type) for field in dtype}
    return value


@pytest.mark.parametrize("form", ["Parquet", "Arrow"])
@pytest.mark.parametrize(
    "seed", [1, 2, *(pytest.param(n, marks=pytest.mark.slow) for n in sample(range(3, 40), 6))]
)
def test_random_tables_of_all_types_come_back_equal(take: Make, form: str, seed: int) -> None:
    made = random.Random(seed)
    rows = [{name: random_value(dtype, made) for name, dtype in MADE.items()} for _ in range(60)]
    schema = pa.schema(list(MADE.items()))
    data = (parquet_bytes if form == "Parquet" else arrow_bytes)(pa.Table.from_pylist(rows, schema))
    taken, quarantined = take(data, form=form)
    assert quarantined == []
    wanted = [{name: as_read(row[name], dtype) for name, dtype in MADE.items()} for row in rows]
    assert [{name: row[name] for name in MADE} for row in taken] == wanted


def test_a_map_is_a_map_in_the_dataset(pipeline: Make) -> None:
    p = pipeline(source={"format": "Parquet"})
    (p.raw / "a").write_bytes(parquet_bytes(DEEP))
    p.batch("a")
    assert pa.types.is_map(p.dataset.schema.field("names").type)


def test_a_map_with_a_key_twice_goes_to_quarantine_as_its_row(take: Make) -> None:
    names = pa.array([[("a", 1), ("a", 2)], [("b", 3)]], pa.map_(pa.string(), pa.int64()))
    rows, [(_, row, rule, reason)] = take(arrow_bytes(pa.table({"names": names})), form="Arrow")
    assert ([each["names"] for each in rows], row, rule) == ([{"b": 3}], 0, "row:malformed")
    assert reason == "names: the key 'a' occurs twice in a map"


def test_a_quarantined_row_with_a_time_beyond_9999_is_kept_with_its_number(pipeline: Make) -> None:
    p = pipeline(
        source={"format": "Arrow"},
        expectations=[{"name": "early", "that": "id < 2", "otherwise": "Quarantine"}],
    )
    at = pa.array([0, 2**62, 2**62], pa.timestamp("us", tz="UTC"))
    rows = pa.table(
        {
            "id": [1, 2, 3],
            "at": at,
            "all": [[time] for time in at],
            "day": pa.array([0, 0, 2**31 - 1], pa.int32()).view(pa.date32()),
        }
    )
    (p.raw / "a").write_bytes(arrow_bytes(rows))
    assert p.batch("a").rows_committed == 1
    first, second = p.quarantine("record")
    assert "4611686018427387904 us since 1970" in first["record"]
    assert "2147483647 days since 1970" in second["record"]


@pytest.mark.parametrize(
    ("dtype", "said"),
    [
        (pa.month_day_nano_interval(), "month_day_nano_interval"),
        (pa.decimal256(76, 2), "decimal256(76, 2), and a table holds at most 38 digits"),
        (pa.dense_union([pa.field("a", pa.int64())]), "dense_union"),
        (pa.struct([pa.field("a", pa.int64()), pa.field("a", pa.int64())]), "two fields named 'a'"),
        (pa.struct([pa.field("a\0b", pa.int64())]), "which cannot be written"),
    ],
    ids=str,
)
def test_a_type_that_no_table_holds_refuses_its_file_by_name_unless_the_column_is_dropped(
    pipeline: Make, dtype: pa.DataType, said: str
) -> None:
    if pa.types.is_union(dtype):
        values = pa.UnionArray.from_dense(
            pa.array([0], pa.int8()), pa.array([0], pa.int32()), [pa.array([1])], ["a"]
        )
        rows = pa.table({"id": [1], "odd": values})
    else:
        rows = pa.table({"id": pa.array([1]), "odd": pa.nulls(1, dtype)})
    p = pipeline(source={"format": "Arrow"})
    (p.raw / "a").write_bytes(arrow_bytes(rows))
    p.batch("a")
    [entry] = p.quarantine("rule", "reason")
    assert entry["rule"] == "file:type"
    assert entry["reason"].startswith("column 'odd' is of type")
    assert said in entry["reason"]
    p.apply({"source": {"format": "Arrow"}, "transforms": [{"drop": {"columns": ["odd"]}}]})
    (p.raw / "b").write_bytes(arrow_bytes(rows))
    p.batch("b")
    assert p.rows("id") == [{"id": 1}]


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        (pa.array(["a", None]).dictionary_encode(), ["a", None]),
        (pa.RunEndEncodedArray.from_arrays(pa.array([2], pa.int32()), pa.array([7])), [7, 7]),
        (pa.array(["a", None], pa.string_view()), ["a", None]),
        (pa.array([b"a", None], pa.binary_view()), [b"a", None]),
        (pa.array([[1], None], pa.list_view(pa.int32())), [[1], None]),
        (pa.array([[1, 2], None], pa.list_(pa.int8(), 2)), [[1, 2], None]),
        (pa.array([1.5, None], pa.float16()), [1.5, None]),
        (pa.array([b"0123456789abcdef", None], pa.uuid()), ["30313233-3435-3637-3839-616263646566", None]),
        (pa.array([1, None], pa.decimal256(20, 0)), [1, None]),
        (pa.array([86_399, None], pa.time32("s")), ["23:59:59", None]),
        (pa.array([1, None], pa.duration("s")), [1_000_000, None]),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
def test_newer_types_are_taken(take: Make, values: pa.Array, wanted: list[Any]) -> None:
    rows, quarantined = take(arrow_bytes(pa.table({"v": values})), form="Arrow")
    assert ([row["v"] for row in rows], quarantined) == (wanted, [])
