"""What both online stores promise of the newest values, in every way in which they are read."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import pytest
from examples import exhaustive
from online_client import OnlineClient

from featurestore.errors import RequestError
from featurestore.views.builds import ActiveBuild, promote

pytestmark = pytest.mark.usefixtures("in_every_way")
MakeView = Callable[..., Any]
MakeRow = Callable[..., Any]
SECOND = 1_000_000
HOUR = 3600 * SECOND

ALL_TYPES: dict[str, list[Any]] = {
    "string": ["", "é ☃ \U0001f600", "a" * 70_000, None],
    "bytes": [b"", b"\x00\xff", b"x" * 300, None],
    "bool": [True, False, None],
    "int8": [-128, 127, None],
    "int16": [-32768, 32767, None],
    "int32": [-(2**31), 2**31 - 1, None],
    "int64": [-(2**63), 2**63 - 1, 2**53 + 1, None],
    "float32": [0.5, float("inf"), None],
    "float64": [0.1, -0.0, 5e-324, float("-inf"), None],
    "date": [date(1, 1, 1), date(9999, 12, 31), None],
    "timestamp": [datetime(1931, 5, 6, 7, 8, 9, 123456, UTC), datetime(2030, 1, 1, tzinfo=UTC), None],
    "list<string>": [[], ["", "é", None, "zz"], [None], None],
    "list<int64>": [[], [2**63 - 1, None, -1], None],
    "list<float32>": [[], [0.5, None], [1.0] * 300, None],
    "list<float64>": [[], [0.1, None, float("inf")], None],
}


def test_values_of_every_type_come_back_as_they_were(view: MakeView, row: MakeRow) -> None:
    features = [{"name": f"f{n}", "type": kind, "column": f"f{n}"} for n, kind in enumerate(ALL_TYPES)]
    count = max(map(len, ALL_TYPES.values()))
    kinds = list(ALL_TYPES.values())
    records = [{f"f{n}": kind[i % len(kind)] for n, kind in enumerate(kinds)} for i in range(count)]
    things = view(features)
    things.add(*(row((f"k{i}",), 10, record, at=(1, 0, i)) for i, record in enumerate(records)))
    things.publish(20)
    got = things.read([(f"k{i}",) for i in range(count)], 20)
    for i, record in enumerate(records):
        for name, value in record.items():
            status = "NULL_VALUE" if value is None else "PRESENT"
            assert got[name][i] == (value, status), name


def test_not_a_number_is_a_value(view: MakeView, row: MakeRow) -> None:
    things = view([{"name": "x", "type": "float64", "column": "x"}])
    things.add(row(("a",), 1, {"x": float("nan")}))
    things.publish(2)
    [(value, status)] = things.read([("a",)], 2)["x"]
    assert (str(value), status) == ("nan", "PRESENT")


def test_each_value_has_one_of_four_statuses(view: MakeView, row: MakeRow) -> None:
    things = view(ttl="10s")
    things.add(
        row(("present",), 95 * SECOND, {"x": 1}),
        row(("null",), 95 * SECOND, {"x": None}),
        row(("old",), 80 * SECOND, {"x": 3}),
    )
    things.publish(100 * SECOND)
    keys = [("present",), ("null",), ("old",), ("unknown",), (None,)]
    assert things.read(keys, 100 * SECOND)["x"] == [
        (1, "PRESENT"),
        (None, "NULL_VALUE"),
        (None, "OUTSIDE_MAX_AGE"),
        (None, "NOT_FOUND"),
        (None, "NOT_FOUND"),
    ]


def test_a_value_is_served_to_the_end_of_its_ttl_inclusive_and_not_longer(
    view: MakeView, row: MakeRow
) -> None:
    things = view(ttl="10s")
    things.add(row(("a",), 100 * SECOND, {"x": 7}))
    things.publish(100 * SECOND)
    assert things.read([("a",)], 110 * SECOND)["x"] == [(7, "PRESENT")]
    assert things.read([("a",)], 110 * SECOND + 1)["x"] == [(None, "OUTSIDE_MAX_AGE")]


def test_a_row_of_the_future_is_served_from_its_time_on_with_nothing_published_since(
    view: MakeView, row: MakeRow
) -> None:
    things = view()
    things.add(row(("a",), 10, {"x": 1}), row(("a",), 50, {"x": 2}), row(("a",), 70, {"x": 3}))
    things.add(row(("b",), 60, {"x": 4}))
    things.publish(20)
    keys = [("a",), ("b",)]
    assert things.read(keys, 49)["x"] == [(1, "PRESENT"), (None, "NOT_FOUND")]
    assert things.read(keys, 50)["x"] == [(2, "PRESENT"), (None, "NOT_FOUND")]
    assert things.read(keys, 70)["x"] == [(3, "PRESENT"), (4, "PRESENT")]


def test_a_reader_whose_clock_is_behind_reads_as_of_publish_time(view: MakeView, row: MakeRow) -> None:
    things = view()
    things.add(row(("a",), 100, {"x": 1}))
    things.publish(100)
    assert things.read([("a",)], 99)["x"] == [(1, "PRESENT")]


@pytest.mark.parametrize("late_first", [True, False])
def test_the_newest_event_time_wins_whatever_the_order_of_arrival(
    view: MakeView, row: MakeRow, late_first: bool
) -> None:
    things = view()
    rows = [row(("a",), 10, {"x": 10}, at=(1, 0, 0)), row(("a",), 20, {"x": 20}, at=(2, 0, 0))]
    for each in reversed(rows) if late_first else rows:
        things.add(each)
        things.publish(30)
    assert things.read([("a",)], 30)["x"] == [(20, "PRESENT")]


def test_ties_go_to_created_time_then_batch_file_and_row_whatever_the_order_of_arrival(
    view: MakeView, row: MakeRow
) -> None:
    ranks = [(1, (9, 9, 9)), (2, (1, 5, 5)), (2, (2, 0, 7)), (2, (2, 1, 0)), (2, (2, 1, 3))]
    for turn in range(len(ranks)) if exhaustive() else (0, 3):
        things = view(name=f"things-{turn}")
        for n in (*range(turn, len(ranks)), *range(turn)):
            created, at = ranks[n]
            things.add(row(("a",), 10, {"x": n}, created=created, at=at))
            things.publish(30)
        assert things.read([("a",)], 30)["x"] == [(len(ranks) - 1, "PRESENT")]


def test_a_null_in_the_newest_row_is_null_and_no_older_value_takes_its_place(
    view: MakeView, row: MakeRow
) -> None:
    things = view()
    things.add(row(("a",), 1, {"x": 1}))
    things.publish(5)
    things.add(row(("a",), 2, {"x": None}, at=(2, 0, 0)))
    things.publish(5)
    assert things.read([("a",)], 5)["x"] == [(None, "NULL_VALUE")]


def test_answers_have_the_order_of_the_request_with_duplicates_nulls_and_unknown_keys(
    view: MakeView, row: MakeRow
) -> None:
    things = view()
    things.add(*(row((key,), 10, {"x": n}, at=(1, 0, n)) for n, key in enumerate("abc")))
    things.publish(10)
    keys = ["c", None, "a", "zzz", "c", "b", "c", ""]
    got = [value for value, _ in things.read([(key,) for key in keys], 10)["x"]]
    assert got == [2, None, 0, None, 2, 1, 2, None]


def test_a_request_without_entities_has_an_empty_answer(view: MakeView, row: MakeRow) -> None:
    things = view()
    things.add(row(("a",), 1, {"x": 1}))
    things.publish(1)
    assert things.read([], 1) == {"event time": [], "x": []}


@pytest.mark.parametrize(
    ("keys", "entities"),
    [
        ({"id": "int64"}, [(2**53,), (2**53 + 1,), (-1,), (1,)]),
        ({"id": "int32"}, [(1,), (11,), (-(2**31),)]),
        ({"a": "string", "b": "string"}, [("1:a", "b"), ("1", "a:b"), ("", "ab"), ("ab", ""), ("a|", "b"), ("a", "|b")]),
        ({"a": "string", "n": "int32", "m": "int64"}, [("x", 1, 23), ("x", 12, 3), ("x1", 2, 3), ("é", 1, 23)]),
        ({"n": "int32", "a": "string"}, [(1, "2"), (12, ""), (1, "|2"), (1, "2\n\x00")]),
    ],
)  # fmt: skip
def test_no_two_entities_are_ever_the_same(
    view: MakeView, row: MakeRow, keys: dict[str, str], entities: list[Any]
) -> None:
    things = view(keys=keys)
    for n, entity in enumerate(entities):
        things.add(row(entity, 10, {"x": n}, at=(1, 0, n)))
        if exhaustive() or n in (0, len(entities) - 1):
            things.publish(10)
    assert things.read(entities, 10)["x"] == [(n, "PRESENT") for n in range(len(entities))]


def test_an_entity_with_one_null_key_is_not_found(view: MakeView, row: MakeRow) -> None:
    things = view(keys={"a": "string", "n": "int32"})
    things.add(row(("x", 1), 1, {"x": 1}))
    things.publish(1)
    got = things.read([("x", None), (None, 1), ("x", 1)], 1)["x"]
    assert [status for _, status in got] == ["NOT_FOUND", "NOT_FOUND", "PRESENT"]


def test_only_what_is_asked_is_answered(view: MakeView, row: MakeRow) -> None:
    count = {"function": "Count", "column": "x", "windows": ["1h"]}
    things = view(
        [
            {"name": "x", "type": "int64", "column": "x"},
            {"name": "words", "type": "list<string>", "column": "words"},
            {"name": "y", "type": "string", "column": "y"},
            {"name": "n", "type": "int64", "aggregate": count},
        ]
    )
    values = {"x": 1, "words": ["a", None], "y": "why", "__in_n": True}
    things.add(row(("a",), HOUR, values))
    things.publish(HOUR)
    assert things.read([("a",)], HOUR, ["y"]).keys() == {"event time", "y"}
    assert things.read([("a",)], HOUR, ["y"])["y"] == [("why", "PRESENT")]
    assert things.read([("a",)], HOUR, ["n_1h"]).keys() == {"event time", "n_1h"}
    assert things.read([("a",)], HOUR, ["n_1h"])["n_1h"] == [(1, "PRESENT")]


def test_several_views_are_read_at_once(
    online_url: str | None, view_in: MakeView, row: MakeRow, tmp_path: Any
) -> None:
    one = view_in(online_url, name="one", root=tmp_path)
    two = view_in(online_url, keys={"a": "string", "b": "int64"}, ttl="1s", name="two", root=tmp_path)
    one.add(row(("a",), 1, {"x": 1}))
    two.add(row(("a", 1), 1, {"x": 2}))
    one.publish(1)
    two.publish(1)
    keys = [[b"a", b"b"], [None, b"1:a|1", b"1:a|2"], []]
    reader = one.online.reader([one.query(), two.query(), one.query()])
    values = [values.columns["x"].to_list() for values in reader.read(keys, 1)]
    assert values == [[1, None], [None, 2, None], []]


def test_a_feature_that_is_named_as_the_status_or_the_time_of_another_is_not_taken_for_it(
    view_in: MakeView, row: MakeRow
) -> None:
    things = view_in(
        None, [{"name": name, "type": "int64", "column": name} for name in ("x", "x__status", "x__ts")]
    )
    things.add(row(("a",), 10, {"x": 1, "x__status": 2, "x__ts": 3}))
    things.publish(10)
    promote(things.storage, things.name, ActiveBuild(things.digest, things.spec_digest))
    client, kinds, asked = (
        OnlineClient(things.storage.root),
        dict(things.query().kinds),
        things.keys([("a",)]),
    )
    values, _ = client.read("json", ["things"], kinds, asked)
    assert [column[0][:2] for column in values.values()] == [(n, "PRESENT") for n in (1, 2, 3)]
    for way in ("arrow", "get_features"):
        with pytest.raises(RequestError, match="two columns would have the name 'x__"):
            client.read(way, ["things"], kinds, asked)
