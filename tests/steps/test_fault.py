"""A row whose value cannot be had goes to quarantine, with the reason; the rows beside it do not."""

from __future__ import annotations

from typing import Any

LAST = 2**63 - 1
ROWS = {"x": [1, LAST, None]}


def test_of_a_derived_column(steps: Any) -> None:
    out = steps([{"derive": {"columns": {"y": "x * 4", "z": "x + 1"}}}], ROWS)
    assert out.rows("y", "z") == [(4, 2), (None, None)]
    rule, reason = out.broken[0, 1]
    assert (rule, reason) == ("derive:y", f"x * 4: an integer is out of the range of int64, with x = {LAST}")


def test_of_a_filter(steps: Any) -> None:
    out = steps([{"filter": {"where": "x + 1 > 0 OR x IS NULL"}}], ROWS)
    assert out.rows("x") == [(1,), (None,)]
    assert out.broken == {
        (0, 1): (
            "filter",
            f"x + 1 > 0 OR x IS NULL: an integer is out of the range of int64, with x = {LAST}",
        )
    }


def test_of_an_expectation_even_if_rows_that_do_not_meet_it_are_dropped(steps: Any) -> None:
    wanted = [{"name": "small", "that": "x * 4 < 100 OR x IS NULL", "otherwise": "Drop"}]
    out = steps([], ROWS, expectations=wanted)
    assert out.rows("x") == [(1,), (None,)]
    assert out.broken[0, 1][0] == "small"
    assert "an integer is out of the range of int64" in out.broken[0, 1][1]


def test_the_columns_that_programs_add_are_taken_away_again(steps: Any) -> None:
    out = steps([{"derive": {"columns": {"y": "(x + 1) * (x + 2) / (x + 3)"}}}], {"x": [1]})
    assert set(out.good.columns) == {"x", "y", "__file", "__row"}
