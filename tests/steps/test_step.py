"""What each built-in step does with the rows of files."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from featurestore.errors import CodeError, SpecError
from featurestore.resources.transform import Transform
from featurestore_transforms.steps.python import CallableRaised
from featurestore_transforms.steps.transforms import needs_one_file

FLIGHTS = {"tailnum": ["N1", "N2", None], "distance": [100, 2000, 30], "air_time": [20.0, 240.0, None]}


def test_rename_keeps_every_other_column_and_its_place(steps: Any) -> None:
    out = steps([{"rename": {"columns": {"distance": "miles"}}}], FLIGHTS)
    assert [c for c in out.good.columns if not c.startswith("__")] == ["tailnum", "miles", "air_time"]


def test_rename_may_swap_two_names(steps: Any) -> None:
    out = steps([{"rename": {"columns": {"distance": "air_time", "air_time": "distance"}}}], FLIGHTS)
    assert out.rows("air_time") == [(100,), (2000,), (30,)]


def test_rename_to_a_name_that_is_taken_is_refused(steps: Any) -> None:
    with pytest.raises(SpecError, match="same name"):
        steps([{"rename": {"columns": {"distance": "tailnum"}}}], FLIGHTS)


@pytest.mark.parametrize(
    "step",
    [
        {"rename": {"columns": {"distence": "x"}}},
        {"select": {"columns": ["distence"]}},
        {"drop": {"columns": ["distence"]}},
        {"cast": {"columns": {"distence": "string"}}},
        {"derive": {"columns": {"x": "distence * 2"}}},
        {"filter": {"where": "distence > 1"}},
        {"fillNull": {"columns": {"distence": 1}}},
        {"deduplicate": {"keys": ["distence"]}},
        {"sort": {"by": [{"column": "distence"}]}},
        {"lookup": {"pipeline": "planes", "keys": {"distence": "k"}, "columns": {"v": "v"}}},
    ],
    ids=lambda step: next(iter(step)),
)
def test_a_column_that_is_not_there_is_an_error_that_names_the_nearest(
    steps: Any, step: dict[str, Any]
) -> None:
    planes = pl.LazyFrame({"k": [1], "v": [1]})
    with pytest.raises(SpecError, match="distance"):
        steps([step], FLIGHTS, lookups={"planes": planes})


def test_select_and_drop_leave_exactly_what_is_wanted(steps: Any) -> None:
    selected = steps([{"select": {"columns": ["air_time", "tailnum"]}}], FLIGHTS).good
    assert selected.columns[:2] == [
        "air_time",
        "tailnum",
    ]
    assert "air_time" not in steps([{"drop": {"columns": ["air_time"]}}], FLIGHTS).good.columns


@pytest.mark.parametrize(
    ("values", "wanted", "good", "broken_rows"),
    [
        (["12", "x", None, "007"], "int64", [12, None, 7], [1]),
        ([1.0, 1.5, None], "int64", [1, None], [1]),
        ([1, 300, -200], "int8", [1], [1, 2]),
        ([2**53, 2**53 + 1], "float64", [2.0**53], [1]),
        (["2013-01-31", "2013-02-31"], "date", [date(2013, 1, 31)], [1]),
        (["true", "no idea"], "bool", [True], [1]),
        (["2013-01-01T05:00:00+05:00"], "timestamp", [datetime(2013, 1, 1, tzinfo=UTC)], []),
        (
            ["2013-01-01T05:00:00.1234560+05", "2013-01-01T00:00:00.1234567", "2013-01-01T00:00:00+1\u0663"],
            "timestamp",
            [datetime(2013, 1, 1, 0, 0, 0, 123456, tzinfo=UTC)],
            [1, 2],
        ),
    ],
)
def test_a_cast_keeps_what_fits_and_marks_the_rest(
    steps: Any, values: list[Any], wanted: str, good: list[Any], broken_rows: list[int]
) -> None:
    out = steps([{"cast": {"columns": {"a": wanted}}}], {"a": values})
    assert out.good["a"].to_list() == good
    assert [row for _, row in sorted(out.broken)] == broken_rows


def test_a_cast_that_fails_says_value_and_type(steps: Any) -> None:
    out = steps([{"cast": {"columns": {"a": "int64"}}}], {"a": ["twelve"]})
    assert out.broken == {(0, 0): ("cast:a", "'twelve' is not an int64")}


def test_a_cast_between_types_that_have_nothing_in_common_is_refused(steps: Any) -> None:
    with pytest.raises(SpecError, match="cannot be cast"):
        steps([{"cast": {"columns": {"a": "int64"}}}], {"a": [date(2013, 1, 1)]})


def test_derived_columns_are_all_computed_from_the_steps_input(steps: Any) -> None:
    out = steps([{"derive": {"columns": {"a": "b", "b": "a"}}}], {"a": [1], "b": [2]})
    assert out.rows("a", "b") == [(2, 1)]


def test_filter_keeps_a_row_only_if_the_condition_is_true(steps: Any) -> None:
    out = steps([{"filter": {"where": "air_time > 30"}}], FLIGHTS)
    assert out.rows("tailnum") == [("N2",)]


def test_a_marked_row_is_not_lost_in_a_filter(steps: Any) -> None:
    out = steps(
        [{"cast": {"columns": {"a": "int64"}}}, {"filter": {"where": "a > 5"}}], {"a": ["x", "7", "3"]}
    )
    assert (out.rows("a"), list(out.broken)) == ([(7,)], [(0, 0)])


def test_fill_null_replaces_nulls_only(steps: Any) -> None:
    out = steps([{"fillNull": {"columns": {"tailnum": "?", "air_time": 1}}}], FLIGHTS)
    assert out.rows("tailnum", "air_time") == [("N1", 20.0), ("N2", 240.0), ("?", 1.0)]


def test_fill_null_takes_times_as_texts(steps: Any) -> None:
    at = datetime(2013, 1, 1, tzinfo=UTC)
    frame = pl.DataFrame({"t": [None, at]}, schema={"t": pl.Datetime("us", "UTC")})
    out = steps([{"fillNull": {"columns": {"t": "2014-01-01T00:00:00+00:00"}}}], frame)
    assert out.rows("t") == [(datetime(2014, 1, 1, tzinfo=UTC),), (at,)]


def test_fill_null_with_a_value_of_another_type_is_refused(steps: Any) -> None:
    with pytest.raises(SpecError, match="does not fit"):
        steps([{"fillNull": {"columns": {"distance": "far"}}}], FLIGHTS)


def test_deduplicate_keeps_the_last_in_order_of_each_key_within_each_file(steps: Any) -> None:
    step = {"deduplicate": {"keys": ["k"], "orderBy": {"column": "v"}}}
    out = steps([step], {"k": ["a", "a", "b"], "v": [2, 1, 1]}, {"k": ["a"], "v": [9]})
    assert out.rows("__file", "k", "v") == [(0, "a", 2), (0, "b", 1), (1, "a", 9)]


def test_deduplicate_without_an_order_keeps_the_last_in_the_file(steps: Any) -> None:
    out = steps([{"deduplicate": {"keys": ["k"]}}], {"k": ["a", "a"], "v": [1, 2]})
    assert out.rows("v") == [(2,)]


def test_deduplicate_after_a_sort_keeps_the_last_as_sorted(steps: Any) -> None:
    transforms = [{"sort": {"by": [{"column": "v"}]}}, {"deduplicate": {"keys": ["k"]}}]
    assert steps(transforms, {"k": ["a", "a"], "v": [2, 1]}).rows("v") == [(2,)]


def test_deduplicate_in_descending_order_keeps_the_least(steps: Any) -> None:
    step = {"deduplicate": {"keys": ["k"], "orderBy": {"column": "v", "order": "Descending"}}}
    assert steps([step], {"k": ["a"] * 3, "v": [1, 2, None]}).rows("v") == [(1,)]


def test_deduplicate_keeps_all_rows_with_a_null_key_and_all_marked_rows(steps: Any) -> None:
    out = steps(
        [{"cast": {"columns": {"v": "int64"}}}, {"deduplicate": {"keys": ["k"]}}],
        {"k": [None, None, "a", "a"], "v": ["1", "2", "3", "x"]},
    )
    assert (out.rows("v"), list(out.broken)) == ([(1,), (2,), (3,)], [(0, 3)])


def test_sort_orders_the_rows_of_each_file_and_is_stable(steps: Any) -> None:
    out = steps([{"sort": {"by": [{"column": "v", "order": "Descending"}]}}], {"v": [1, 3, 3]}, {"v": [0, 9]})
    assert out.rows("__file", "v", "__row") == [(0, 3, 1), (0, 3, 2), (0, 1, 0), (1, 9, 1), (1, 0, 0)]


def planes() -> pl.LazyFrame:
    return pl.LazyFrame(
        {
            "plane": ["N1", "N1", "N3", None],
            "built": [1999, 2001, 2005, 1900],
            "__batch": [1, 2, 1, 1],
            "__file": [0, 0, 0, 0],
            "__row": [0, 0, 1, 2],
        },
        schema_overrides={"__file": pl.Int32},
    )


def test_lookup_joins_the_newest_row_of_each_key_and_keeps_every_row(steps: Any) -> None:
    step = {"lookup": {"pipeline": "planes", "keys": {"tailnum": "plane"}, "columns": {"built": "year"}}}
    out = steps([step], FLIGHTS, lookups={"planes": planes()})
    assert out.rows("tailnum", "year") == [("N1", 2001), ("N2", None), (None, None)]


def test_lookup_of_a_column_that_the_other_pipeline_lacks_lists_what_there_is(steps: Any) -> None:
    step = {"lookup": {"pipeline": "planes", "keys": {"tailnum": "plane"}, "columns": {"builtt": "year"}}}
    with pytest.raises(SpecError, match="Did you mean 'built'"):
        steps([step], FLIGHTS, lookups={"planes": planes()})


def test_lookup_over_keys_of_different_types_is_refused(steps: Any) -> None:
    step = {"lookup": {"pipeline": "planes", "keys": {"distance": "day"}, "columns": {"v": "v"}}}
    table = pl.LazyFrame({"day": [date(2013, 1, 1)], "v": [1], "__batch": 1, "__file": 1, "__row": 1})
    with pytest.raises(SpecError, match="different types"):
        steps([step], FLIGHTS, lookups={"planes": table})


def test_sql_sees_the_rows_of_the_file_and_rows_keep_their_numbers(steps: Any) -> None:
    out = steps([{"sql": {"query": "SELECT * FROM self WHERE distance < 1000"}}], FLIGHTS)
    assert out.rows("tailnum", "__row") == [("N1", 0), (None, 2)]


def test_sql_that_makes_new_rows_numbers_them_anew(steps: Any) -> None:
    query = "SELECT tailnum, SUM(distance) AS miles FROM self GROUP BY tailnum ORDER BY miles"
    out = steps([{"sql": {"query": query}}], FLIGHTS)
    assert out.rows("miles", "__row") == [(30, 0), (100, 1), (2000, 2)]


def test_sql_does_not_see_marked_rows_and_does_not_lose_them(steps: Any) -> None:
    out = steps(
        [{"cast": {"columns": {"a": "int64"}}}, {"sql": {"query": "SELECT COUNT(*) AS n FROM self"}}],
        {"a": ["1", "x"]},
    )
    assert (out.rows("n"), list(out.broken)) == ([(1,)], [(0, 1)])


def test_only_queries_and_callables_need_one_file_at_a_time() -> None:
    alone = Transform.model_validate({"python": {"callable": "m:f"}})
    together = Transform.model_validate({"deduplicate": {"keys": ["k"]}})
    assert needs_one_file([together, alone])
    assert not needs_one_file([together])


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path / "users_own.py"
    sys.modules.pop("users_own", None)


def test_a_callable_gets_and_returns_a_lazy_frame(steps: Any, module: Path) -> None:
    module.write_text(
        "import polars as pl\ndef f(rows): return rows.with_columns(x=pl.col('distance') * 2)\n"
    )
    out = steps([{"python": {"callable": "users_own:f"}}], FLIGHTS)
    assert out.rows("x", "__row") == [(200, 0), (4000, 1), (60, 2)]


def test_a_callable_that_is_annotated_so_gets_an_arrow_table(steps: Any, module: Path) -> None:
    module.write_text(
        "import pyarrow as pa\ndef f(rows: pa.Table) -> pa.Table: return rows.select(['distance'])\n"
    )
    assert steps([{"python": {"callable": "users_own:f"}}], FLIGHTS).rows("distance", "__row")[1] == (2000, 1)


def test_a_callable_is_read_again_when_its_file_changed(steps: Any, module: Path) -> None:
    module.write_text("def f(rows): return rows.head(1)\n")
    assert steps([{"python": {"callable": "users_own:f"}}], FLIGHTS).good.height == 1
    module.write_text("def f(rows): return rows.head(2)  # mended\n")
    assert steps([{"python": {"callable": "users_own:f"}}], FLIGHTS).good.height == 2


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("def f(rows): raise KeyError('tail')", "KeyError: 'tail'"),
        ("def f(rows): return 7", "got int"),
        ("import polars as pl\ndef f(rows): return rows.select(pl.col('nope'))", "nope"),
    ],
)
def test_a_callable_that_fails_is_named_with_what_it_said(
    steps: Any, module: Path, body: str, said: str
) -> None:
    module.write_text(body + "\n")
    with pytest.raises(CallableRaised) as failed:
        steps([{"python": {"callable": "users_own:f"}}], FLIGHTS)
    assert "users_own:f" in str(failed.value)
    assert said in str(failed.value)


def test_a_callable_that_is_not_there_lists_what_its_module_offers(steps: Any, module: Path) -> None:
    module.write_text("def clean(rows): return rows\n")
    with pytest.raises(CodeError, match="Did you mean 'clean'"):
        steps([{"python": {"callable": "users_own:claen"}}], FLIGHTS)
    with pytest.raises(CodeError, match="cannot be imported"):
        steps([{"python": {"callable": "nobodys_module:f"}}], FLIGHTS)
