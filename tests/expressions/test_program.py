"""Expressions that run: each gives one value per row, or says of a row that its value cannot be had."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from featurestore.errors import SpecError
from featurestore.expressions.run.program import compile_condition, compile_expression

LAST, FIRST = 2**63 - 1, -(2**63)
TYPES = {
    "n": pl.Int64(),
    "small": pl.Int8(),
    "x": pl.Float64(),
    "s": pl.String(),
    "yes": pl.Boolean(),
    "t": pl.Datetime("us", "UTC"),
    "l": pl.List(pl.Int64()),
    "price": pl.Decimal(10, 2),
    "who": pl.Struct({"name": pl.String(), "age": pl.Int64()}),
}


def run(text: str, rows: pl.DataFrame) -> tuple[list[Any], list[bool]]:
    """Values, and where they could not be had."""
    program = compile_expression(text, dict(rows.schema), "spec")
    fault = pl.lit(False) if program.fault is None else program.fault
    made = program.prepare(rows.lazy()).with_columns(answer=program.value, fault=fault).collect()
    return made["answer"].to_list(), made["fault"].to_list()


def values(text: str, **columns: Any) -> list[Any]:
    """Values of rows that all have one."""
    answers, faults = run(text, pl.DataFrame(columns or {"": [None]}))
    assert not any(faults)
    return answers


def faults(text: str, **columns: Any) -> list[bool]:
    return run(text, pl.DataFrame(columns))[1]


@pytest.mark.parametrize(
    "text",
    [
        "n / (x / 60.0)",
        "n // small",
        "n % small",
        "x // 2",
        "POW(n, 2)",
        "POW(n, small)",
        "SQRT(x)",
        "LOG(x, n)",
        "ABS(small)",
        "TRY_CAST(s AS BIGINT)",
        "TRY_CAST(s AS DATE)",
        "s LIKE 'N%' AND NOT yes",
        "COALESCE(s, 'none')",
        "t + INTERVAL '90 minutes'",
        "t - INTERVAL '3 months'",
        "EXTRACT(HOUR FROM t)",
        "ARRAY_GET(l, n)",
        "price * 2",
        "who.age + 1",
        "CASE WHEN n > 0 THEN x ELSE 0.5 END",
        "1",
    ],
)
def test_what_passes_gives_one_value_per_row_whatever_the_rows_hold(text: str) -> None:
    rows = pl.DataFrame(
        {
            "n": [0, -1, 2**63 - 1, None],
            "small": [0, -1, -128, None],
            "x": [0.0, float("nan"), float("-inf"), None],
            "s": ["", "x", "\N{GRINNING FACE}", None],
            "yes": [True, False, True, None],
            "t": [
                datetime(2013, 1, 1, tzinfo=UTC),
                datetime(1, 1, 1, tzinfo=UTC),
                datetime(9999, 12, 31, tzinfo=UTC),
                None,
            ],
            "l": [[], [1], [None], None],
            "price": [0, -1, 1, None],
            "who": [{"name": None, "age": 1}, {"name": "a", "age": None}, None, None],
        },
        schema=TYPES,
    )
    assert len(run(text, rows)[0]) == 4


@pytest.mark.parametrize(
    ("text", "got"),
    [
        ("s * 2", "s: text"),
        ("s > 1", "s: text, int"),
        ("UPPER(n)", "n: int"),
        ("n + s", "n: int, s: text"),
        ("n IN ('a')", "n: int"),
        ("ROUND(x, 'a')", "ROUND"),
        ("s ~ '['", "unterminated character set"),
        (r"s ~ '\p{Nothing}'", "Unicode property not found"),
        ("TRY_CAST(l AS DATE)", "list of int"),
        ("t < '2100-01-01'", "t: timestamp, text"),
        ("who = who", "who: struct"),
        ("who.nmae", "Did you mean 'name'?"),
    ],
)
def test_types_that_do_not_fit_are_found_before_any_row_is_read(text: str, got: str) -> None:
    with pytest.raises(SpecError) as failed:
        compile_expression(text, TYPES, "transforms[1]")
    assert "transforms[1]" in str(failed.value)
    assert got in str(failed.value)


def test_the_same_expression_over_other_types_is_compiled_anew() -> None:
    compile_expression("a + 1", {"a": pl.Int64()}, "spec")
    with pytest.raises(SpecError, match="types do not fit"):
        compile_expression("a + 1", {"a": pl.String()}, "spec")


def test_a_condition_is_false_where_it_is_null() -> None:
    rows = pl.DataFrame({"n": [1, -1, None]})
    met = compile_condition("n > 0", {"n": pl.Int64()}, "spec")
    assert rows.select(met.value).to_series().to_list() == [True, False, False]


@pytest.mark.parametrize("text", ["n", "n + n", "NULL", "1"])
def test_a_condition_that_is_not_true_or_false_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match="a condition must be true or false"):
        compile_condition(text, TYPES, "spec")


# --- numbers say what they read


def test_a_literal_with_a_point_is_a_float64() -> None:
    assert values("x / 86400.0", x=[86400, 1, 3]) == [1.0, 1 / 86400, 3 / 86400]
    assert values("x / 1000000000.0", x=[1, 10**9]) == [1e-9, 1.0]
    assert compile_expression("1.5", {}, "spec").type == pl.Float64()


def test_division_is_of_real_numbers_also_between_whole_ones() -> None:
    assert values("distance / (air_time / 60.0)", distance=[1400, 0], air_time=[227, 60]) == [
        1400 / (227 / 60.0),
        0.0,
    ]
    assert values("a / b", a=[7, 1, -7], b=[2, 3, 2]) == [3.5, 1 / 3, -3.5]


@pytest.mark.parametrize(
    "text", ["a / b", "a // b", "a % b", "DIV(a, b)", "MOD(a, b)", "1.5 / b", "a / -0.0", "1 % 0"]
)
def test_a_division_by_zero_is_null(text: str) -> None:
    assert values(text, a=[1, 0, -1], b=[0, 0, 0]) == [None] * 3


def test_whole_numbers_of_the_spec_are_computed_exactly() -> None:
    assert values("24 * 3600 * 1000 * 1000") == [86_400_000_000]
    assert values("2147483647 + 1") == [2147483648]
    assert values("-9223372036854775808") == [FIRST]
    assert values("x + 24 * 3600 * 1000 * 1000", x=[1]) == [86_400_000_001]


@pytest.mark.parametrize(
    "text",
    [
        "9223372036854775808",
        "-9223372036854775809",
        "9223372036854775807 + 1",
        "3037000500 * 3037000500",
        "n > 24 * 3600 * 1000 * 1000 * 1000 * 1000 * 1000",
        "-(-9223372036854775808)",
        "ABS(-9223372036854775808)",
        "-9223372036854775808 // -1",
        "POW(2, 63)",
        "POW(10, 1000000)",
        "CASE WHEN yes THEN 9223372036854775807 + 1 END",
    ],
)
def test_a_whole_number_of_the_spec_that_leaves_int64_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match="an integer is out of the range of int64"):
        compile_expression(text, TYPES, "spec")


@pytest.mark.parametrize(
    ("text", "row"),
    [
        ("x * 4", 2**62),
        ("x + 1", LAST),
        ("x - 1", FIRST),
        ("ABS(x)", FIRST),
        ("-x", FIRST),
        ("POW(x, 2)", 3037000500),
        ("POW(x, 3)", -2097153),
        ("x * x", 3037000500),
        ("x // -1", FIRST),
        ("x * 3 - x * 2", 2**62),
        ("COALESCE(x + 1, 0)", LAST),
        ("CASE WHEN x > 0 THEN x + 1 ELSE 0 END", LAST),
        ("x + 1 > 0", LAST),
        ("x > 0 AND x + 1 > 0", LAST),
        ("x + 1.5 > 0 AND x * 2 IS NULL", LAST),
    ],
)
def test_a_row_whose_whole_number_leaves_int64_has_no_value(text: str, row: int) -> None:
    assert faults(text, x=[row, 5, None]) == [True, False, False]


def test_unsigned_numbers_beyond_int64_have_no_value() -> None:
    rows = pl.DataFrame({"u": pl.Series([2**64 - 1, 3, None], dtype=pl.UInt64)})
    assert run("u + 0", rows) == ([None, 3, None], [True, False, False])
    assert run("u IS NULL", rows) == ([False, False, True], [False] * 3)


def test_a_sum_of_a_list_that_leaves_int64_has_no_value() -> None:
    assert faults("ARRAY_SUM(l)", l=[[LAST, 1], [LAST, 1, -1], [], None]) == [True, False, False, False]


def test_whole_numbers_at_their_limits_are_exact() -> None:
    assert values("x - 1 + 1", x=[LAST, FIRST + 1]) == [LAST, FIRST + 1]
    assert values("a + b - b", a=[LAST], b=[LAST]) == [LAST]
    assert values("POW(x, 2)", x=[3037000499, -3037000499]) == [9223372030926249001] * 2
    assert values("POW(x, 63)", x=[-2, 1, -1]) == [FIRST, 1, -1]
    assert values("POW(x, 0)", x=[0, None]) == [1, None]
    assert values("x // 2", x=[LAST, FIRST]) == [LAST // 2, FIRST // 2]


def test_what_is_not_asked_for_sends_no_row_away() -> None:
    rows = {"x": [LAST, 1, None]}
    assert values("CASE WHEN x < 10 THEN x + 1 ELSE 0 END", **rows) == [0, 2, 0]
    assert values("IF(x < 10, x + 1, 0)", **rows) == [0, 2, 0]
    assert values("x < 10 AND x + 1 = 2", **rows) == [False, True, None]
    assert values("x > 10 OR x + 1 = 2", **rows) == [True, True, None]
    assert values("COALESCE(x, x + 1)", **rows) == [LAST, 1, None]


def test_numbers_compare_exactly_whatever_their_types() -> None:
    x = [2**53 + 1, 2**53, LAST]
    assert values("x = 9007199254740992.0", x=x) == [False, True, False]
    assert values("x > 9007199254740992.0", x=x) == [True, False, True]
    assert values("x < y", x=[LAST, 1, 1, 1], y=[2.0**63, math.nan, math.inf, -math.inf]) == [
        True,
        True,
        True,
        False,
    ]
    assert values("x IN (1.5, 2.0)", x=[1, 2]) == [False, True]
    assert values("x < 2.5", x=[2, 3]) == [True, False]
    real = [2.0**53, 2.0**53 + 2, -math.inf, math.nan, None]
    assert values("x < 9007199254740993", x=real) == [True, False, True, False, None]
    assert values("x = 9007199254740993", x=real) == [False, False, False, False, None]
    assert values("x >= 9007199254740992", x=real) == [True, True, False, True, None]
    assert values("7 <> x", x=[7.0, 7.5, math.nan, None]) == [False, True, True, None]


def test_nan_is_the_greatest_number_and_equals_itself() -> None:
    nan = [math.nan, 1.0, math.inf]
    assert values("x = x", x=nan) == [True] * 3
    assert values("x > 1e308", x=nan) == [True, False, True]
    assert values("x < y", x=[math.inf], y=[math.nan]) == [True]
    assert values("GREATEST(x, 2.0) > 1e308", x=nan) == [True, False, True]
    assert values("LEAST(x, 2.0)", x=nan) == [2.0, 1.0, 2.0]


def test_minus_zero_equals_zero() -> None:
    assert values("x = 0 AND x = 0.0 AND NOT x < 0 AND x IN (0)", x=[-0.0, 0.0]) == [True, True]


def test_logarithms_of_powers_are_whole() -> None:
    assert values("LOG10(x)", x=[1000, 10**15, 8]) == [3.0, 15.0, math.log(8) / math.log(10)]
    assert values("LOG2(x)", x=[8, 2**29]) == [3.0, 29.0]


def test_halves_are_rounded_away_from_zero() -> None:
    assert values("ROUND(x)", x=[0.5, 1.5, -2.5]) == [1.0, 2.0, -3.0]


def test_a_decimal_column_is_read_as_float64() -> None:
    assert values("price * 2", price=[Decimal("10.25"), None]) == [20.5, None]


# --- times


@pytest.mark.parametrize(
    "dtype",
    [pl.Datetime("us", "UTC"), pl.Datetime("us"), pl.Datetime("ms"), pl.Datetime("ns", "Asia/Tokyo")],
    ids=str,
)
def test_a_time_of_the_spec_is_compared_with_columns_of_any_unit_and_zone(dtype: pl.Datetime) -> None:
    moments = pl.Series([datetime(2099, 12, 31, tzinfo=UTC), None], dtype=pl.Datetime("us", "UTC"))
    ts = (
        moments.dt.replace_time_zone(None)
        if dtype.time_zone is None
        else moments.dt.convert_time_zone(dtype.time_zone)
    )
    ts = ts.cast(dtype)
    assert values("ts < TIMESTAMP '2100-01-01 00:00:00'", ts=ts) == [True, None]
    assert values("ts < TIMESTAMPTZ '2100-01-01 02:00:00+02'", ts=ts) == [True, None]
    assert values("ts = TIMESTAMP '2099-12-31 00:00:00'", ts=ts) == [True, None]
    assert values("ts >= DATE '2099-12-31'", ts=ts) == [True, None]


def test_try_cast_makes_times_of_texts() -> None:
    s = ["2012-01-01", "2012-01-01 10:00:00", "2012/01/01", "", None]
    assert values("TRY_CAST(s AS DATE)", s=s) == [date(2012, 1, 1), None, None, None, None]
    assert values("TRY_CAST(s AS TIMESTAMP)", s=s) == [
        datetime(2012, 1, 1, tzinfo=UTC), datetime(2012, 1, 1, 10, tzinfo=UTC), None, None, None,
    ]  # fmt: skip


def test_try_strptime_reads_the_form_that_it_is_told() -> None:
    assert values("TRY_STRPTIME(s, '%Y/%m/%d')", s=["2012/01/31", "2012-01-31", None]) == [
        datetime(2012, 1, 31, tzinfo=UTC), None, None,
    ]  # fmt: skip


def test_try_cast_gives_null_for_what_the_type_cannot_give_back() -> None:
    assert values("TRY_CAST(x AS BIGINT)", x=[1.0, 1.5, 1e30, math.nan, -0.0]) == [1, None, None, None, 0]
    assert values("TRY_CAST(n AS TINYINT)", n=[127, 128]) == [127, None]
    assert values("TRY_CAST(n AS DOUBLE)", n=[2**53, 2**53 + 1]) == [2.0**53, None]
    assert compile_expression("TRY_CAST(n AS TINYINT)", TYPES, "spec").type == pl.Int8()


def test_a_time_that_leaves_the_years_that_can_be_written_has_no_value() -> None:
    t = [datetime(9999, 12, 31, tzinfo=UTC), datetime(2013, 1, 31, tzinfo=UTC), None]
    assert faults("t + INTERVAL '1 month'", t=t) == [True, False, False]
    assert faults("t + INTERVAL '9000 years'", t=t) == [True, True, False]
    far = pl.Series([2**62, 0]).cast(pl.Datetime("us", "UTC"))
    assert faults("EXTRACT(YEAR FROM t)", t=far) == [True, False]
    assert faults("t > TIMESTAMP '2013-01-01 00:00:00'", t=far) == [False, False]


def test_an_interval_is_multiplied() -> None:
    t = [datetime(2013, 1, 1, tzinfo=UTC)]
    late = [datetime(2013, 1, 1, 1, 30, tzinfo=UTC)]
    assert values("t + INTERVAL '1 minute' * n", t=t, n=[90]) == late
    assert values("t + x * INTERVAL '1 hour'", t=t, x=[1.5]) == late
    assert faults("INTERVAL '1 day' * n", n=[2**60, 1, None]) == [True, False, False]
    assert faults("INTERVAL '1 day' * x", x=[math.nan, math.inf, 1.0]) == [True, True, False]


def test_the_end_of_a_month_is_kept_within_the_next() -> None:
    t = [datetime(2013, 1, 31, tzinfo=UTC)]
    assert values("t + INTERVAL '1 month'", t=t) == [datetime(2013, 2, 28, tzinfo=UTC)]
    assert values("t - (t - INTERVAL '36 hours') = INTERVAL '1 day 12 hours'", t=t) == [True]


# --- null


def test_null_is_unknown_and_not_false() -> None:
    b = pl.Series([True, False, None], dtype=pl.Boolean)
    assert values("b AND NULL", b=b) == [None, False, None]
    assert values("b OR NULL", b=b) == [True, None, None]
    assert values("NOT b", b=b) == [False, True, None]
    assert values("b = NULL", b=b) == [None] * 3
    assert values("b IS DISTINCT FROM NULL", b=b) == [True, True, False]
    assert values("n IN (1, NULL)", n=[1, 2, None]) == [True, None, None]
    assert values("n NOT IN (1, NULL)", n=[1, 2, None]) == [False, None, None]
    assert values("CASE WHEN b THEN 1 ELSE 0 END", b=b) == [1, 0, 0]
    assert values("b IS NOT TRUE", b=b) == [False, True, True]


# --- bounds


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (" + ".join(["n"] * 2000), "more than 2000 words"),
        (" + ".join(["n"] * 8000), "more than 2000 words"),
        ("LPAD(s, 2000000000)", "length of 0 to 1024"),
        ("RPAD(s, 2000000000, 'x')", "length of 0 to 1024"),
        ("s ~ '(a{100}){100}'", "at most 1000 times"),
        (f"REPLACE(s, 'a', '{'b' * 2000}')", "at most 1024 characters"),
        ("INTERVAL '1 month'", "no fixed length"),
        ("CASE WHEN yes THEN INTERVAL '1 month' END", "no fixed length"),
        ("POW(" * 40 + "n" + ", 2)" * 40, "nested too deeply"),
    ],
)
def test_what_could_end_or_hang_a_worker_is_refused_with_its_bound(text: str, says: str) -> None:
    with pytest.raises(SpecError, match=says):
        compile_expression(text, TYPES, "spec")


@pytest.mark.parametrize(
    "text",
    [
        " + ".join(["x"] * 1000),
        " * ".join(["n"] * 1000),
        " || ".join(["s"] * 1000),
        " AND ".join(["yes"] * 1000),
        " = ".join(["yes"] * 1000),
        "(" * 31 + "1 / x" + ") / x" * 31,
        "n IN (" + ", ".join(map(str, range(900))) + ")",
        "CASE " + "WHEN n * 2 > 1 THEN n + 1 " * 180 + "END",
        "x // (" * 31 + "x" + ")" * 31,
        "n % (" * 31 + "n" + ")" * 31,
    ],
    ids=lambda text: text[:20],
)
def test_the_longest_and_deepest_that_passes_runs_soon(text: str) -> None:
    import time

    rows = pl.DataFrame({"n": [1], "x": [0.5], "s": ["a"], "yes": [True]})
    began = time.process_time()
    run(text, rows)
    assert time.process_time() - began < 20


def test_a_text_that_would_grow_beyond_its_bound_is_never_made() -> None:
    grow = "REPLACE(REPLACE(REPLACE(s, 'a', '{0}'), 'a', '{0}'), 'a', '{0}')".format("a" * 1000)
    assert faults(grow, s=["a", "b", None]) == [True, False, False]
    assert faults(" || ".join(["s"] * 9), s=["x" * 4000, "x", None]) == [True, False, False]
    assert faults(f"ARRAY_TO_STRING(l, '{'-' * 1000}')", l=[["a"] * 50, ["a"], None]) == [True, False, False]


def test_texts_are_replaced_as_they_are_written() -> None:
    assert values("REPLACE(s, 'a', '$1b')", s=["aaa", "aXa", ""]) == ["$1b$1b$1b", "$1bX$1b", ""]
    assert values(r"REGEXP_REPLACE(s, '(a)', '$0\1')", s=["ab"]) == ["$0ab"]


ID = 2**53 + 1


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("id", Decimal(ID)),
        ("id + 1", ID + 1),
        ("id = 9007199254740993", True),
        ("id = 9007199254740992", False),
        ("TRY_CAST(id AS VARCHAR)", str(ID)),
        ("TRY_CAST(beyond AS VARCHAR)", "99999999999999999999"),
        ("TRY_CAST(price AS BIGINT)", ID),
        ("TRY_CAST(price AS VARCHAR)", str(ID)),
        ("'N' || price", f"N{ID}"),
    ],
)
def test_a_decimal_keeps_the_digits_that_a_float_would_round(text: str, answer: Any) -> None:
    columns = {
        "id": pl.Series([Decimal(ID)], dtype=pl.Decimal(38, 0)),
        "beyond": pl.Series([Decimal("99999999999999999999")], dtype=pl.Decimal(38, 0)),
        "price": pl.Series([Decimal(ID)], dtype=pl.Decimal(38, 18)),
    }
    assert values(text, **columns) == [answer]


@pytest.mark.parametrize(
    "text",
    [
        "CASE WHEN yes THEN n ELSE 0.5 END",
        "IF(yes, n, 0.5)",
        "COALESCE(n, 0.5)",
        "NULLIF(n, 0.5)",
        "GREATEST(n, 0.5)",
        "LEAST(n, 1e300)",
    ],
)
def test_a_whole_number_chosen_beside_floats_is_never_rounded(text: str) -> None:
    assert faults(text, n=[ID, LAST, 2**53, FIRST], yes=[True] * 4) == [True, True, False, False]


@pytest.mark.parametrize(
    "text", ["TIMESTAMP '2013-01-31 10:00:00.0000001'", "1e-400", "1e400", "[9007199254740993, 0.5]"]
)
def test_a_literal_that_no_value_gives_back_is_refused(text: str) -> None:
    with pytest.raises(SpecError):
        values(text)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("ARRAY_CONTAINS(l, 9007199254740992.0)", [False, True, None]),
        ("ARRAY_CONTAINS(l, 0.5)", [False, False, None]),
        ("ARRAY_CONTAINS(r, 9007199254740993)", [False, False, None]),
        ("ARRAY_CONTAINS(r, 9007199254740992)", [True, False, None]),
        ("ARRAY_CONTAINS(l, n / 1)", [False, None, None]),
        ("ARRAY_CONTAINS([1.5, 2.0], n - 9007199254740991)", [True, None, True]),
    ],
)
def test_a_number_is_in_a_list_of_the_other_kind_only_if_it_is_equal(text: str, wanted: list[Any]) -> None:
    whole, real = [[ID], [2**53], None], [[2.0**53], [], None]
    assert values(text, l=whole, r=real, n=[ID, None, ID]) == wanted


def test_a_read_time_that_ends_below_the_microsecond_is_null() -> None:
    text = "TRY_STRPTIME(s, '%Y-%m-%d %H:%M:%S.%f')"
    got = values(text, s=[f"2013-01-31 10:00:00.{fraction}" for fraction in ("123456", "1234560", "1234567")])
    assert [moment is None for moment in got] == [False, False, True]
