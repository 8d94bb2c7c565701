"""JSON: objects become rows exactly, and what is none is told."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from math import isfinite
from typing import Any

import pytest
from examples import examples, exhaustive
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from featurestore.arrivals.arrival import Arrival
from featurestore.resources.text_format import Layout
from featurestore_transforms.sources.json_block import JsonBlock
from featurestore_transforms.sources.json_kind import JsonKind, as_text, strings
from featurestore_transforms.sources.json_records import json_records
from featurestore_transforms.sources.text_stream import TextStream

Make = Callable[..., Any]
GOOD = b'{"id": 1}\n'


def run(p: Any, *files: bytes) -> None:
    """One batch of files with these bytes."""
    for place, data in enumerate(files):
        (p.raw / str(place)).write_bytes(data)
    p.batch(*map(str, range(len(files))))


@pytest.mark.parametrize(
    "data",
    [
        b'[{"id": 1}, {"id": 2}]',
        b'[\n  {\n    "id": 1\n  },\n  {\n    "id": 2\n  }\n]\n',
        b' [ {"id":1},{"id":2} ] \n',
        b'\xef\xbb\xbf[{"id": 1}, {"id": 2}]',
    ],
)
def test_an_array_is_read_where_it_is_declared(pipeline: Make, data: bytes) -> None:
    p = pipeline(source={"format": "JSON", "json": {"layout": "Array"}})
    run(p, data)
    assert p.rows("id") == [{"id": 1}, {"id": 2}]


def test_an_item_that_is_not_json_hides_none_after_it(pipeline: Make) -> None:
    p = pipeline(source={"format": "JSON", "json": {"layout": "Array"}})
    run(p, b'[{"id": 1}, {"id": }, 7, {"id": "]"}, {"v": [{"a": 1}, {"b": "}"}]}, {"id": 2}, ]')
    assert [row["__row"] for row in p.rows()] == [0, 3, 4, 5]
    assert [row["__row"] for row in p.quarantine()] == [1, 2, 6]


@pytest.mark.parametrize("layout", ["Lines", "Array"])
def test_a_file_without_any_object_has_its_rows_in_quarantine_and_stops_no_other(
    pipeline: Make, layout: str
) -> None:
    p = pipeline(source={"format": "JSON", "json": {"layout": layout}})
    good = GOOD if layout == "Lines" else b"[" + GOOD + b"]"
    run(p, b'1\n"x"\n' if layout == "Lines" else b'[1, "x"]', good)
    assert p.rows("id") == [{"id": 1}]
    assert p.quarantine("__file", "__row", "record") == [
        {"__file": 0, "__row": 0, "record": '{"line": "1"}'},
        {"__file": 0, "__row": 1, "record": '{"line": "\\"x\\""}'},
    ]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_items_of_any_depth_are_found_wherever_the_bytes_are_cut(size: int) -> None:
    deep = '[{"x": [[[[[[["]\\\\\\"", {"y": "}"}]]]]]]], "z": ","}]'
    items = [f'{{"id": 1, "v": {deep}}}', "7", '{"v": [{"z": "é"}]}', '{"id": }', "{}"]
    whole = ("[" + " , ".join(items) + "]").encode()

    class Cut(TextStream):
        def chunks(self, skip_bytes: int, size: int = size) -> Iterator[tuple[bytes, bool]]:
            for at in range(skip_bytes, len(whole), size):
                yield whole[at : at + size], at + size >= len(whole)

    found = json_records(Cut(Arrival("x", "1", len(whole), 0), None), Layout.ARRAY)
    assert [item.decode() for block in found for item in block] == items


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b'[{"id": 1, "v": [' + b"[1.5]," * (2 << 20) + b"2]}]", "an item is longer than 1 MiB"),
        (b'[{"id": 1, "v": "' + b"x" * (10 << 20) + b'"}]', "an item is longer than 1 MiB"),
        (b" " * 100 + b'{"id": 1, "v": "' + b"x" * (10 << 20) + b'"}', "an item is longer than 1 MiB"),
    ],
    ids=["brackets", "text", "no array"],
)
def test_an_item_of_any_length_is_told_and_stops_no_other_file(
    pipeline: Make, monkeypatch: pytest.MonkeyPatch, data: bytes, said: str
) -> None:
    monkeypatch.setattr("featurestore_transforms.sources.json_records._LONGEST_BYTES", 1 << 20)
    p = pipeline(source={"format": "JSON", "json": {"layout": "Array"}})
    run(p, data, b'[{"id": 1}]')
    assert p.rows("id") == [{"id": 1}]
    assert [row["reason"] for row in p.quarantine()] == [said]


@pytest.mark.parametrize(
    ("data", "rule"), [(b'[{"id": 1}, {"id"', "file:truncated"), (b'[{"id": 1}] x', "file:corrupt")]
)
def test_an_array_that_does_not_end_where_it_should_is_told(pipeline: Make, data: bytes, rule: str) -> None:
    p = pipeline(source={"format": "JSON", "json": {"layout": "Array"}})
    run(p, data)
    assert [row["rule"] for row in p.quarantine()] == [rule]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (
            b'[{"id": 1}, {"id": 2}]',
            "a JSON array, wanted one object a line. Set spec.source.json.layout: Array",
        ),
        (b'[\n{"id": 1}\n]', "a JSON array, wanted one object a line"),
        (b'{\n  "id": 1\n}', "an object over several lines, wanted one object a line"),
        (b"<html><body>404", "not JSON: it is an HTML page"),
        (b"\x1f\x8b\x08\x00", "compressed with gzip"),
        ('{"id": 1}'.encode("utf-16"), "UTF-16"),
    ],
)
def test_what_is_laid_out_otherwise_says_so_and_the_next_file_flows(
    pipeline: Make, data: bytes, said: str
) -> None:
    p = pipeline(source={"format": "JSON"})
    run(p, data, GOOD)
    [row] = p.quarantine("rule", "reason")
    assert row["rule"] == "file:format"
    assert said in row["reason"]
    assert p.rows("id") == [{"id": 1}]


def test_lines_are_told_where_an_array_is_declared(pipeline: Make) -> None:
    p = pipeline(source={"format": "JSON", "json": {"layout": "Array"}})
    run(p, b'{"id": 1}\n{"id": 2}\n')
    assert "one object a line" in p.quarantine("reason")[0]["reason"]


NO_ROWS = [
    (rb'{"id": 2, "s": "\ud800"}', r"half of a surrogate pair is not a character: \ud800"),
    (rb'{"id": 2, "l": ["\udead"]}', "half of a surrogate pair"),
    (rb'{"id": 2, "\ud800": 1}', "half of a surrogate pair"),
    (b'{"id": 2, "s": "\xff"}', "not UTF-8"),
    (b'{"id": 2, "u": {"a": 1, "A": 2}}', "differ in upper and lower case only: 'a' and 'A'"),
    (b'{"id": 2, "ID": 3}', "differ in upper and lower case only: 'id' and 'ID'"),
    (rb'{"id": 2, "u": {"a\u0000": 1}}', "has a zero character"),
    (b'{"id": 2, "u": {"": 1}}', "a key is empty"),
    (b'{"id": 2, "u": ' + b"[" * 200 + b"]" * 200 + b"}", "nested deeper than 32 levels"),
    (b'{"id": 2, "u": ' + b'{"a":' * 1000 + b"1" + b"}" * 1001, "nested deeper than 32 levels"),
    (b"[" * 100_000, "nested deeper than 32 levels"),
    (b'{"id": 2} {"id": 3}', "not JSON: Extra data"),
    (b'{"id": 2,}', "not JSON"),
    (b'{"id": ' + b"9" * 5000 + b"}", "more digits than any type holds"),
    (b'"text"', "wanted an object, got a string"),
    (b"null", "wanted an object, got null"),
    (b'{"id": 123456789012345678901}', "id: wanted int64, got '123456789012345678901'"),
    (b'{"id": 2.5}', "id: wanted int64, got '2.5'"),
    (b'{"id": "01067"}', "id: wanted int64, got '01067'"),
]


# Each by itself where everything is tried, else all of them in one file.
@pytest.mark.parametrize("broken", [[each] for each in NO_ROWS] if exhaustive() else [NO_ROWS])
def test_a_line_that_cannot_be_a_row_is_told_and_costs_no_other(
    pipeline: Make, broken: list[tuple[bytes, str]]
) -> None:
    p = pipeline(source={"format": "JSON"})
    run(p, GOOD)
    (p.raw / "next").write_bytes(GOOD + b"".join(line + b'\n{"id": 3}\n' for line, _ in broken))
    p.batch("next")
    assert p.rows("id") == [{"id": 1}, {"id": 1}, *([{"id": 3}] * len(broken))]
    told = p.quarantine("__row", "reason")
    assert [row["__row"] for row in told] == [*range(1, 2 * len(broken), 2)]
    for row, (_, said) in zip(told, broken, strict=True):
        assert said in row["reason"]


def test_thirty_two_levels_reach_the_dataset(pipeline: Make) -> None:
    p = pipeline(source={"format": "JSON"})
    run(p, b'{"id": 1, "u": ' + b"[" * 31 + b"7" + b"]" * 31 + b"}\n")
    [row] = p.rows("u")
    value = row["u"]
    for _ in range(31):
        [value] = value
    assert value == 7


@pytest.mark.parametrize(
    ("line", "value"),
    [
        (rb'{"v": "\ud83d\ude00"}', "😀"),
        (b'{"v": 1, "v": 2}', 2),
        (b'{"v": 1.10}', 1.1),
        (b'{"v": 1E+2}', 100.0),
        (b'{"v": 12345678901234567890}', "12345678901234567890"),
        (b'{"v": 9223372036854775807}', 2**63 - 1),
        (b'{"v": 0.1000000000000000055511151231257827}', "0.1000000000000000055511151231257827"),
        (b'{"v": "True"}', "True"),
        (b'{"v": "1.10"}', "1.10"),
        (b'{"v": true}', True),
        (b'{"v": Infinity}', float("inf")),
        (b'{"v": [1, 2]}', [1, 2]),
        (b'{"v": [1, 2.5]}', [1.0, 2.5]),
        (b'{"v": [0.5, 9007199254740993]}', ["0.5", "9007199254740993"]),
        (b'{"v": [1, 12345678901234567890]}', ["1", "12345678901234567890"]),
        (b'{"v": [1, "a", {"b": 1.0}, null]}', ["1", "a", '{"b": 1.0}', None]),
        (b'{"v": {"a": [], "b": {}, "c": 1}}', {"c": 1}),
    ],
)
def test_a_value_is_the_one_that_stands_there(pipeline: Make, line: bytes, value: Any) -> None:
    p = pipeline(source={"format": "JSON"})
    run(p, line + b"\n")
    assert p.rows("v") == [{"v": value}]


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        (["1", "2"], "Int64"),
        (["1", "2.0"], "Float64"),
        (["-0.0", "1e-05", "1.50", "NaN"], "Float64"),
        (["9007199254740992", "0.5"], "Float64"),
        (["9007199254740993", "0.5"], "String"),
        (["9223372036854775808"], "String"),
        (["1e400"], "String"),
        (["0.30000000000000004", "7"], "Float64"),
        (["0.300000000000000040000001", "7"], "String"),
        (["true", "1"], "String"),
        (["null"], "Null"),
    ],
)
def test_a_type_is_learned_only_from_numbers_that_it_gives_back(values: list[str], dtype: str) -> None:
    kind = JsonKind()
    for value in values:
        [row] = JsonBlock.of([f'{{"v": {value}}}'.encode()]).rows
        kind.add([row["v"]])
    assert str(kind.dtype()) == dtype
    together = JsonKind()
    together.add([JsonBlock.of([f'{{"v": {value}}}'.encode()]).rows[0]["v"] for value in values])
    assert together == kind


@given(
    st.lists(st.floats() | st.integers(-(2**70), 2**70) | st.booleans() | st.text() | st.none(), max_size=5)
)
@settings(max_examples=examples(200))
def test_strings_of_many_values_are_those_of_each(values: list[Any]) -> None:
    read = [str(one).encode() if isinstance(one, float) and isfinite(one) else one for one in values]
    read = [None if isinstance(one, float) else one for one in read]
    for some in (
        read,
        *([one for one in read if type(one) in (kind, type(None))] for kind in (bytes, int, bool)),
    ):
        assert strings("v", some).to_list() == [*map(as_text, some)]


FRAGMENTS = (
    *(
        '{"a": 1}',
        '{"a": 1, "b": "x"}',
        '{"a": "{"}',
        '{"a": "}',
        '{", "b": "}',
        '{"a":',
        "1}",
        '{"a": 1},{"a": 2}',
    ),
    *(
        '{"c": [1',
        "2]}",
        '{"c": [1]}',
        '{"a": {"b": 1}}',
        ' {"a": 1}',
        '{"a": 1} ',
        "{}",
        "7",
        '{"a": 01}',
        '{"a": "\\ud800"}',
    ),
)


@given(st.lists(st.sampled_from(FRAGMENTS), min_size=1, max_size=6))
@settings(max_examples=examples(500))
def test_records_of_a_block_are_what_each_is_alone(records: list[str]) -> None:
    block = JsonBlock.of([record.encode() for record in records])
    for place, record in enumerate(records):
        try:
            alone = json.loads(record)
            json.dumps(alone, ensure_ascii=False).encode()
        except ValueError:
            alone = None
        assert (place in block.whys) is not isinstance(alone, dict)
        assert block.rows[place] == (alone if isinstance(alone, dict) else {})


def test_keys_that_few_rows_have_are_read_in_their_rows(pipeline: Make) -> None:
    p = pipeline(source={"format": "JSON"})
    run(p, b"".join(b'{"id": %d, "k%d": %d}\n' % (n, n, n) for n in range(30)))
    rows = p.rows()
    assert [[row[f"k{n}"] for row in rows] for n in range(30)] == [
        [n if at == n else None for at in range(30)] for n in range(30)
    ]


def test_what_is_no_object_never_becomes_one(pipeline: Make) -> None:
    p = pipeline(source={"format": "JSON"})
    run(p, b'{"id": 1, "u": {"a": "x"}}\n')
    (p.raw / "next").write_bytes(b'{"id": 2, "u": "5"}\n{"id": 3, "u": [1]}\n{"id": 4, "u": null}\n')
    p.batch("next")
    assert p.rows("id", "u") == [{"id": 1, "u": {"a": "x"}}, {"id": 4, "u": None}]
    assert [row["__row"] for row in p.quarantine()] == [0, 1]


def test_a_mark_at_the_start_is_left_out(pipeline: Make) -> None:
    p = pipeline(source={"format": "JSON"})
    run(p, b'\xef\xbb\xbf{"id": 1}\n{"id": 2}\n')
    assert p.rows("id") == [{"id": 1}, {"id": 2}]


def test_a_key_in_upper_case_is_the_same_column(pipeline: Make) -> None:
    p = pipeline(source={"format": "JSON"})
    run(p, b'{"id": 1, "u": {"a": 1}}\n{"ID": 2, "u": {"A": 2}}\n')
    assert p.rows("id", "u") == [{"id": 1, "u": {"a": 1}}, {"id": 2, "u": {"a": 2}}]


def test_objects_used_as_maps_stay_texts(pipeline: Make) -> None:
    p = pipeline(source={"format": "JSON"})
    lines = b"".join(b'{"id": %d, "m": {"k%d": 1}}\n' % (n, n) for n in range(1200))
    run(p, lines)
    assert p.rows("m")[7] == {"m": '{"k7": 1}'}


def test_an_object_of_thousands_of_fields_at_all_levels_stays_text(pipeline: Make) -> None:
    p = pipeline(source={"format": "JSON"})
    maps = {f"k{n}": {f"v{m}": m for m in range(40)} for n in range(40)}
    run(p, json.dumps({"id": 1, "m": maps}).encode())
    assert json.loads(p.rows("m")[0]["m"]) == maps


leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
anything = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)


def alike(value: Any, stored: Any) -> bool:
    """Whether what is stored is the value, as far as its column may show it."""
    if stored is None:
        return value is None or value in ([], {}) or not any(map(_known, _parts(value)))
    if isinstance(stored, str):
        return value == stored or _same_json(value, stored)
    if isinstance(value, list):
        return len(value) == len(stored) and all(map(alike, value, stored))
    if isinstance(value, dict):
        return all(alike(one, stored.get(name)) for name, one in value.items())
    return bool(value == stored) and isinstance(value, bool) == isinstance(stored, bool)


def _parts(value: Any) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else [value]


def _known(value: Any) -> bool:
    return any(map(_known, _parts(value))) if isinstance(value, list | dict) else value is not None


def _same_json(value: Any, stored: str) -> bool:
    try:
        return bool(json.loads(stored) == value)
    except ValueError:
        return False


@settings(
    max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(values=st.lists(anything, min_size=1, max_size=5), array=st.booleans())
def test_each_object_is_taken_as_it_stands_or_told(
    maker: Any, tmp_path_factory: pytest.TempPathFactory, values: list[Any], array: bool
) -> None:
    folder = tmp_path_factory.mktemp("json")
    layout = {"layout": "Array" if array else "Lines"}
    p = maker(str(folder / "store"), folder / "raw", {"source": {"format": "JSON", "json": layout}})
    rows = [{"n": n, "v": value} for n, value in enumerate(values)]
    text = json.dumps(rows, indent=1) if array else "".join(json.dumps(row) + "\n" for row in rows)
    (p.raw / "a").write_text(text)
    result = p.batch("a")
    assert result.rows_read == result.rows_committed + result.rows_quarantined + result.rows_dropped
    assert result.rows_read == len(values)
    for row in p.rows():
        assert alike(values[row["n"]], row.get("v")), (values[row["n"]], row.get("v"))
