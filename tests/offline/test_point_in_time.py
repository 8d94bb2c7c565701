"""What the point-in-time join promises, in cases small enough to work out by hand."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

MakeCase = Callable[..., Any]
MakeRow = Callable[..., Any]
SECOND = 1_000_000


def test_a_value_is_used_from_its_event_time_on_and_to_the_end_of_its_ttl_both_inclusive(
    case: MakeCase, row: MakeRow
) -> None:
    view = case(ttl="10s")
    view.add(row(("a",), 100 * SECOND, {"x": 7}))
    times = [100 * SECOND - 1, 100 * SECOND, 110 * SECOND, 110 * SECOND + 1]
    assert view.ask([(("a",), t) for t in times])["x"] == [
        (None, "NOT_FOUND"),
        (7, "PRESENT"),
        (7, "PRESENT"),
        (None, "OUTSIDE_MAX_AGE"),
    ]


def test_without_a_ttl_values_never_age(case: MakeCase, row: MakeRow) -> None:
    view = case()
    view.add(row(("a",), -(10**15), {"x": 7}))
    assert view.ask([(("a",), 4 * 10**15)])["x"] == [(7, "PRESENT")]


def test_the_shortest_ttl_takes_values_of_the_very_moment_and_the_one_before(
    case: MakeCase, row: MakeRow
) -> None:
    view = case(ttl="1us")
    view.add(row(("a",), 5, {"x": 7}))
    assert [status for _, status in view.ask([(("a",), 5), (("a",), 6), (("a",), 7)])["x"]] == [
        "PRESENT",
        "PRESENT",
        "OUTSIDE_MAX_AGE",
    ]


def test_the_greatest_event_time_wins_whatever_the_order_of_arrival(case: MakeCase, row: MakeRow) -> None:
    view = case()
    view.add(row(("a",), 20, {"x": 20}, created=1, at=(1, 0, 0)))
    view.add(row(("a",), 10, {"x": 10}, created=2, at=(2, 0, 0)))
    assert view.ask([(("a",), 15), (("a",), 25)])["x"] == [(10, "PRESENT"), (20, "PRESENT")]


def test_ties_in_event_time_go_to_the_greatest_created_time(case: MakeCase, row: MakeRow) -> None:
    view = case()
    view.add(row(("a",), 10, {"x": 1}, created=9, at=(1, 0, 0)))
    view.add(row(("a",), 10, {"x": 2}, created=3, at=(2, 0, 0)))
    assert view.ask([(("a",), 10)])["x"] == [(1, "PRESENT")]


def test_ties_in_created_time_go_to_the_greatest_batch_then_file_then_row(
    case: MakeCase, row: MakeRow
) -> None:
    view = case()
    places = [(2, 1, 0), (2, 0, 9), (1, 7, 7), (2, 1, 3), (2, 1, 2)]
    for place in places:
        view.add(row(("a",), 10, {"x": place[0] * 100 + place[1] * 10 + place[2]}, at=place))
    view.add(row(("b",), 10, {"x": 5}, at=(9, 9, 9)))
    assert view.ask([(("a",), 10)])["x"] == [(213, "PRESENT")]


def test_a_null_in_the_winning_row_is_null_and_no_older_value_takes_its_place(
    case: MakeCase, row: MakeRow
) -> None:
    view = case()
    view.add(row(("a",), 1, {"x": 1}), row(("a",), 2, {"x": None}))
    assert view.ask([(("a",), 2)])["x"] == [(None, "NULL_VALUE")]


def test_rows_and_their_order_are_kept_with_duplicates_nulls_and_unknown_keys(
    case: MakeCase, row: MakeRow
) -> None:
    view = case()
    view.add(*(row((key,), 10, {"x": n}, at=(1, 0, n)) for n, key in enumerate("abc")))
    labels = [
        (("c",), 10),
        ((None,), 10),
        (("a",), 10),
        (("zzz",), 10),
        (("c",), 10),
        (("b",), None),
        (("c",), 10),
        (("",), 10),
    ]
    got = view.ask(labels)["x"]
    assert [value for value, _ in got] == [2, None, 0, None, 2, None, 2, None]
    assert [status for _, status in got].count("NOT_FOUND") == 4


def test_integers_above_2_53_stay_what_they_are(case: MakeCase, row: MakeRow) -> None:
    view = case(keys={"id": "int64"})
    big = 2**53 + 1
    view.add(row((big,), 1, {"x": 2**63 - 1}), row((big - 1,), 1, {"x": -(2**63)}))
    assert view.ask([((big,), 1), ((big - 1,), 1), ((big + 1,), 1)])["x"] == [
        (2**63 - 1, "PRESENT"),
        (-(2**63), "PRESENT"),
        (None, "NOT_FOUND"),
    ]


def test_all_keys_of_a_composite_entity_must_agree(case: MakeCase, row: MakeRow) -> None:
    view = case(keys={"carrier": "string", "number": "int32", "leg": "int64"})
    view.add(
        row(("AA", 1, 0), 5, {"x": 1}),
        row(("AA", 2, 0), 5, {"x": 2}),
        row(("BB", 1, 0), 5, {"x": 3}),
        row(("BB", 1, 1), 5, {"x": 4}),
    )
    labels = [("BB", 1, 0), ("AA", 1, 0), ("BB", 2, 0), ("AA", 2, 1), ("BB", 1, 1), ("AA", None, 0)]
    assert [value for value, _ in view.ask([(label, 5) for label in labels])["x"]] == [
        3,
        1,
        None,
        None,
        4,
        None,
    ]


def test_the_two_hours_of_one_wall_clock_time_in_autumn_are_told_apart(case: MakeCase, row: MakeRow) -> None:
    new_york = ZoneInfo("America/New_York")
    first = datetime(2013, 11, 3, 1, 30, tzinfo=new_york, fold=0).astimezone(UTC)
    second = datetime(2013, 11, 3, 1, 30, tzinfo=new_york, fold=1).astimezone(UTC)
    at = [int(moment.timestamp()) * SECOND for moment in (first, second)]
    assert at[1] - at[0] == 3600 * SECOND
    view = case(ttl="30m")
    view.add(row(("a",), at[0], {"x": 1}), row(("a",), at[1], {"x": 2}))
    assert view.ask([(("a",), at[0]), (("a",), at[1]), (("a",), at[1] - 1)])["x"] == [
        (1, "PRESENT"),
        (2, "PRESENT"),
        (None, "OUTSIDE_MAX_AGE"),
    ]


def test_as_of_answers_with_what_was_known_then(case: MakeCase, row: MakeRow) -> None:
    count = {"function": "Count", "column": "y", "windows": ["1m"]}
    view = case(
        [
            {"name": "x", "type": "int64", "column": "x"},
            {"name": "n", "type": "int64", "aggregate": count},
        ]
    )
    view.add(
        row(("a",), 10, {"x": 1, "__in_n": True}, created=100),
        row(("a",), 10, {"x": 2, "__in_n": True}, created=200, at=(1, 0, 1)),
        row(("a",), 20, {"x": 3, "__in_n": True}, created=300, at=(1, 0, 2)),
    )
    answers = {t: view.ask([(("a",), 50)], as_of=t) for t in (99, 100, 200, 300)}
    assert {t: answer["x"][0][0] for t, answer in answers.items()} == {99: None, 100: 1, 200: 2, 300: 3}
    assert {t: answer["n_1m"][0][0] for t, answer in answers.items()} == {99: None, 100: 1, 200: 2, 300: 3}


def test_a_pinned_version_does_not_see_later_commits(case: MakeCase, row: MakeRow) -> None:
    view = case()
    view.add(row(("a",), 1, {"x": 1}))
    view.add(row(("a",), 2, {"x": 2}, at=(2, 0, 0)))
    assert view.ask([(("a",), 9)], version=1)["x"] == [(1, "PRESENT")]
    assert view.ask([(("a",), 9)])["x"] == [(2, "PRESENT")]


def test_an_empty_request_and_an_empty_table_give_empty_and_null_columns(
    case: MakeCase, row: MakeRow
) -> None:
    count = {"function": "Count", "column": "y", "windows": ["1m"]}
    features = [
        {"name": "x", "type": "string", "column": "x"},
        {"name": "n", "type": "int64", "aggregate": count},
    ]
    empty = case(features)
    assert empty.ask([(("a",), 1)]) == {"x": [(None, "NOT_FOUND")], "n_1m": [(None, "NOT_FOUND")]}
    assert empty.ask([]) == {"x": [], "n_1m": []}
    empty.add(row(("a",), 1, {"x": "one", "__in_n": True}))
    assert empty.ask([]) == {"x": [], "n_1m": []}
    assert empty.ask([((None,), 1), (("a",), None)])["x"] == [(None, "NOT_FOUND")] * 2


def test_windows_count_from_floored_tail_to_inclusive_head_and_know_unknown_from_empty(
    case: MakeCase, row: MakeRow
) -> None:
    features = [
        {"name": "n", "type": "int64", "aggregate": {"function": "Count", "column": "y", "windows": ["1h"]}},
        {"name": "s", "type": "int64", "aggregate": {"function": "Sum", "column": "y", "windows": ["1h"]}},
    ]
    view = case(features, ttl="1s")
    minute = 60 * SECOND
    view.add(row(("a",), 100 * minute, {"__in_n": True, "__in_s": 5}))
    got = view.ask([(("a",), t * minute) for t in (99, 100, 160, 164, 165)] + [(("b",), 0)])
    assert got["n_1h"] == [
        (None, "NOT_FOUND"),
        (1, "PRESENT"),  # the ttl is of columns, not of windows
        (1, "PRESENT"),
        (1, "PRESENT"),  # floor(104 min, 5 min) = 100 min
        (0, "PRESENT"),
        (None, "NOT_FOUND"),
    ]
    assert got["s_1h"][3:] == [(5, "PRESENT"), (None, "NULL_VALUE"), (None, "NOT_FOUND")]


def test_values_of_every_type_come_back_in_their_declared_type(case: MakeCase, row: MakeRow) -> None:
    day = datetime(1969, 7, 20, tzinfo=UTC)
    values: dict[str, Any] = {
        "string": "né",
        "bytes": b"\x00\xff",
        "bool": False,
        "int8": -128,
        "int16": 2**15 - 1,
        "int32": -(2**31),
        "int64": 2**62 + 1,
        "float32": 0.5,
        "float64": 0.1,
        "date": day.date(),
        "timestamp": day.replace(microsecond=1),
        "list<string>": ["a", "", "b"],
        "list<int64>": [2**53 + 1],
        "list<float32>": [],
        "list<float64>": [0.1, -0.0],
    }
    names = {f"f{n}": kind for n, kind in enumerate(values)}
    view = case([{"name": name, "type": kind, "column": name} for name, kind in names.items()])
    view.add(row(("a",), 1, {name: values[kind] for name, kind in names.items()}))
    got = view.ask([(("a",), 1), (("b",), 1)])
    for name, kind in names.items():
        assert got[name] == [(values[kind], "PRESENT"), (None, "NOT_FOUND")]
