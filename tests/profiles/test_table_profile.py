"""The same rows give the same profile, bit by bit, and it says what numpy says."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from featurestore.profiles.column_summary import ColumnSummary, summary
from featurestore.profiles.exact_sum import exact, exact_squares, exact_sum, parsed, text
from featurestore.profiles.table_profile import TableProfile, profile_of
from featurestore.resources.value import ColumnType
from featurestore.storage.delta import SYSTEM_COLUMNS
from featurestore.views.schema import arrow_type

FINITE = st.floats(allow_nan=False, allow_infinity=False)


def rows(number: int, **columns: Any) -> pa.Table:
    identity = {
        "__batch": pa.array(np.arange(number) // 7),
        "__file": pa.array(np.zeros(number, np.int32)),
        "__row": pa.array(np.arange(number)),
    }
    return pa.table({**identity, **columns})


def mixed(number: int) -> pa.Table:
    chance = np.random.default_rng(5)
    return rows(
        number,
        x=pa.array(np.where(chance.random(number) < 0.1, None, chance.normal(5, 3, number)), pa.float64()),
        n=pa.array(chance.integers(0, 50_000, number)),
        word=pa.array(chance.choice(["a", "b", "c"], number)),
        at=pa.array(chance.integers(0, 10**15, number)).cast(pa.timestamp("us", "UTC")),
        many=pa.array([[1.0]] * number),
    )


COLUMNS = ("x", "n", "word", "at", "many")


@given(st.lists(FINITE, max_size=40))
@settings(max_examples=examples(100), deadline=None)
def test_a_sum_is_exact_whatever_the_size_of_its_terms(terms: list[float]) -> None:
    assert exact(exact_sum(np.array(terms, np.float64))) == sum(map(Fraction, terms), Fraction())


@given(st.lists(st.floats(-1e120, 1e120), max_size=40))
@settings(max_examples=examples(100), deadline=None)
def test_squares_are_as_good_as_exact_and_do_not_depend_on_the_parts(terms: list[float]) -> None:
    values = np.array(terms, np.float64)
    found = exact_squares(values)
    assert found == sum(exact_squares(values[at : at + 1]) for at in range(len(values)))
    wanted = sum((Fraction(it) ** 2 for it in terms), Fraction())
    assert abs(exact(found) - wanted) <= wanted / 2**100 + len(terms) * Fraction(2) ** -1070
    assert parsed(text(found)) == found


def test_a_profile_depends_neither_on_the_order_of_rows_nor_on_the_pieces() -> None:
    table = mixed(5_000)
    whole = profile_of(table, SYSTEM_COLUMNS, COLUMNS).to_bytes()
    other = table.take(pa.array(np.random.default_rng(1).permutation(5_000)))
    pieces = TableProfile(SYSTEM_COLUMNS, COLUMNS)
    for at in range(0, 5_000, 777):
        pieces.add(other.slice(at, 777))
    assert pieces.to_bytes() == whole


def test_profiles_put_together_are_the_profile_of_all_rows_also_after_they_were_stored() -> None:
    table = mixed(5_000)
    left = TableProfile.from_bytes(profile_of(table.slice(3_000), SYSTEM_COLUMNS, COLUMNS).to_bytes())
    left.merge(profile_of(table.slice(0, 3_000), SYSTEM_COLUMNS, COLUMNS))
    left.merge(TableProfile(SYSTEM_COLUMNS, COLUMNS))
    assert left.to_bytes() == profile_of(table, SYSTEM_COLUMNS, COLUMNS).to_bytes()


def test_statistics_are_those_of_numpy_and_sampled_ones_within_their_error() -> None:
    table = mixed(20_000)
    found = profile_of(table, SYSTEM_COLUMNS, COLUMNS).statistics()
    values = table["x"].drop_null().to_numpy()
    x = found["x"]
    assert (x.count, x.nulls, x.minimum, x.maximum) == (
        20_000,
        20_000 - len(values),
        values.min(),
        values.max(),
    )
    assert x.mean == math.fsum(values) / len(values)
    assert x.deviation == pytest.approx(values.std(), rel=1e-12)
    assert x.quantiles is not None
    for name, value in x.quantiles.items():
        assert abs((values <= value).mean() - float(name)) < 5 * 0.5 / math.sqrt(x.sampled)
    words = found["word"]
    assert words.values == {
        it["values"]: it["counts"] for it in sorted(table["word"].value_counts().to_pylist(), key=str)
    }
    distinct = len(np.unique(table["n"].to_numpy()))
    assert found["n"].distinct is not None
    assert abs(found["n"].distinct - distinct) < 5 * 0.031 * distinct
    assert (words.distinct, found["many"].distinct, found["many"].quantiles) == (3, None, None)


def test_of_few_rows_everything_is_exact() -> None:
    found = profile_of(rows(5, x=pa.array([1, 2, 2, None, 7])), SYSTEM_COLUMNS, ["x"]).statistics()["x"]
    assert found.quantiles is not None
    assert (found.quantiles["0.5"], found.distinct, found.sampled) == (2, 3, 5)
    assert [(it.value, it.rows) for it in found.common] == [(2, 2), (1, 1), (7, 1)]


def test_what_is_not_finite_counts_in_nothing_else() -> None:
    found = profile_of(
        rows(4, x=pa.array([math.nan, math.inf, 1.0, -0.0])), SYSTEM_COLUMNS, ["x"]
    ).statistics()
    assert (found["x"].not_finite, found["x"].mean, found["x"].minimum, found["x"].maximum) == (
        2,
        0.5,
        0.0,
        1.0,
    )


def test_the_greatest_numbers_have_a_mean_and_no_deviation() -> None:
    found = summary(pa.array([1.7e308, 1.7e308]), counts_values=False).statistics()
    assert (found.mean, found.deviation) == (1.7e308, None)
    small = summary(pa.array([1.0]), counts_values=False)
    assert small.plus(summary(pa.array([1e300]), counts_values=False)).squares is None


@pytest.mark.parametrize("kind", list(ColumnType))
def test_columns_of_every_type_may_be_empty_or_hold_nulls_alone(kind: ColumnType) -> None:
    for values in ([], [None, None]):
        profile = profile_of(rows(len(values), v=pa.array(values, arrow_type(kind))), SYSTEM_COLUMNS, ["v"])
        found = TableProfile.from_bytes(profile.to_bytes()).statistics()["v"]
        assert (found.count, found.nulls, found.mean, found.common) == (len(values), len(values), None, ())


def test_long_texts_are_kept_in_part_and_counted_in_full() -> None:
    texts = ["x" * 5000 + str(n) for n in range(50)]
    profile = profile_of(rows(50, v=pa.array(texts)), SYSTEM_COLUMNS, ["v"])
    found = profile.statistics()["v"]
    assert (found.distinct, found.values, len(found.common[0].value)) == (50, None, 80)


def test_summaries_of_nothing_change_nothing() -> None:
    known = summary(pa.array([1.0, 2.0]), counts_values=True)
    assert ColumnSummary().plus(known).statistics().mean == 1.5


def test_times_of_any_year_are_told_and_the_least_is_found_across_pieces() -> None:
    days = np.array([-800_000, -790_000, 2**31 - 1], np.int32)
    profile = TableProfile(SYSTEM_COLUMNS, ["day"])
    for at in (1, 2, 0):
        one = rows(3, day=pa.array(days).cast(pa.date32()))
        profile.add(one.slice(at, 1))
    found = profile.statistics()["day"]
    assert found.minimum == "-221-09-04T00:00:00.000000"
    assert found.maximum == "5881580-07-11T00:00:00.000000"
    least = pa.array([-(2**63)], pa.timestamp("us"))
    assert summary(least, counts_values=False).plus(summary(least, counts_values=False)).minimum == "NaT"
