"""Casts that lose nothing."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from featurestore.expressions.run.cast import fit, polars_type
from featurestore.resources.value import ColumnType, KeyType
from featurestore_transforms.casting.delta_types import store

UNFIT = object()
BERLIN = pl.Datetime("ms", "Europe/Berlin")


def cast(values: list[Any], source: pl.DataType, declared: str) -> list[Any]:
    """Each value in the declared type; UNFIT where it does not fit."""
    column = ColumnType(declared)
    found = fit(pl.col("x"), source, column)
    assert found is not None
    frame = pl.DataFrame({"x": pl.Series(values, dtype=source, strict=False)})
    result = frame.select(value=found.value, fits=pl.lit(True) if found.fits is None else found.fits)
    assert result.schema["value"] == polars_type(column)
    return [value if fits else UNFIT for value, fits in result.iter_rows()]


def test_integers_fit_their_range() -> None:
    assert cast([127, 128, -128, -129, None], pl.Int64(), "int8") == [127, UNFIT, -128, UNFIT, None]
    assert cast([2**63 - 1, 2**63], pl.UInt64(), "int64") == [2**63 - 1, UNFIT]


def test_integers_that_a_float_cannot_hold_do_not_become_one() -> None:
    values = [2**53, 2**53 + 1, 2**63 - 1, -(2**63), None]
    assert cast(values, pl.Int64(), "float64") == [2.0**53, UNFIT, UNFIT, -(2.0**63), None]
    assert cast([2**24, 2**24 + 1], pl.Int64(), "float32") == [2.0**24, UNFIT]


def test_floats_become_integers_when_they_are_whole_and_in_range() -> None:
    values = [1.0, 1.5, math.nan, math.inf, 2.0**63, -(2.0**63), None]
    assert cast(values, pl.Float64(), "int64") == [1, UNFIT, UNFIT, UNFIT, UNFIT, -(2**63), None]


def test_narrower_floats_are_rounded_and_never_made_infinite() -> None:
    rounded, too_large, nan, infinite, null = cast(
        [0.1, 1e300, math.nan, math.inf, None], pl.Float64(), "float32"
    )
    assert rounded == pytest.approx(0.1)
    assert too_large is UNFIT
    assert math.isnan(nan)
    assert math.isinf(infinite)
    assert null is None


def test_bool_and_zero_and_one_are_the_same() -> None:
    assert cast([0, 1, 2, None], pl.Int64(), "bool") == [False, True, UNFIT, None]
    assert cast([0.0, 1.0, 0.5, math.nan], pl.Float64(), "bool") == [False, True, UNFIT, UNFIT]
    assert cast([True, False, None], pl.Boolean(), "int32") == [1, 0, None]


def test_decimals_become_the_nearest_float() -> None:
    amounts = [Decimal("0.10"), Decimal("99999.99"), Decimal("12345678901234567890.12"), None]
    nearest = [None if amount is None else float(amount) for amount in amounts]
    assert cast(amounts, pl.Decimal(38, 18), "float64") == nearest
    assert cast([Decimal("1.00"), Decimal("1.10")], pl.Decimal(30, 2), "int64") == [1, UNFIT]


def test_texts_of_numbers_become_numbers() -> None:
    assert cast(["12", "-3", "1.0", " 1", "", "9999999999", None], pl.String(), "int32") == [
        12,
        -3,
        1,
        UNFIT,
        UNFIT,
        UNFIT,
        None,
    ]
    assert cast(["1.5e3", "1e400", "-inf", "x"], pl.String(), "float64") == [
        1500.0,
        UNFIT,
        -math.inf,
        UNFIT,
    ]
    assert cast(["true", "False", "yes", None], pl.String(), "bool") == [True, False, UNFIT, None]


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2013-01-31", datetime(2013, 1, 31)),
        ("2013-01-31T05:06", datetime(2013, 1, 31, 5, 6)),
        ("2013-01-31 05:06:07", datetime(2013, 1, 31, 5, 6, 7)),
        ("2013-01-31T05:06:07Z", datetime(2013, 1, 31, 5, 6, 7)),
        ("2013-01-31T05:06:07.123456000+02:00", datetime(2013, 1, 31, 3, 6, 7, 123456)),
        ("2013-01-31T05:06:07.123456789Z", None),
        ("0001-01-01T00:00+01:00", None),
        ("9999-12-31T23:59-01:00", None),
        ("0000-12-31", None),
        ("2013-01-31T05:06-0530", datetime(2013, 1, 31, 10, 36)),
        ("1969-12-31T23:59:59.999999Z", datetime(1969, 12, 31, 23, 59, 59, 999999)),
        ("2013-02-30", None),
        ("2013-01-31T25:00", None),
        ("2013-01-31T05:06+99:00", None),
        ("31.01.2013", None),
        ("1359608767", None),
    ],
)
def test_iso_texts_become_times_and_mean_utc_without_an_offset(text: str, moment: datetime | None) -> None:
    wanted = UNFIT if moment is None else moment.replace(tzinfo=UTC)
    assert cast([text], pl.String(), "timestamp") == [wanted]


def test_times_become_utc_microseconds() -> None:
    naive, berlin = datetime(2013, 7, 1, 12), datetime(2013, 7, 1, 10, tzinfo=UTC)
    assert cast([naive], pl.Datetime("ns"), "timestamp") == [naive.replace(tzinfo=UTC)]
    assert cast([berlin], BERLIN, "timestamp") == [berlin]
    assert cast([date(2013, 7, 1)], pl.Date(), "timestamp") == [datetime(2013, 7, 1, tzinfo=UTC)]


def test_times_too_far_away_for_microseconds_do_not_wrap() -> None:
    far = pl.DataFrame({"ms": pl.Series([2**62, 0]).cast(pl.Datetime("ms"))})
    found = fit(pl.col("ms"), pl.Datetime("ms"), ColumnType.TIMESTAMP)
    assert found is not None
    assert found.fits is not None
    assert far.select(found.fits).to_series().to_list() == [False, True]
    days = pl.DataFrame({"d": pl.Series([2**31 - 1, 0], dtype=pl.Int32).cast(pl.Date)})
    found = fit(pl.col("d"), pl.Date(), ColumnType.TIMESTAMP)
    assert found is not None
    assert found.fits is not None
    assert days.select(found.fits).to_series().to_list() == [False, True]


def test_only_midnights_become_dates() -> None:
    midnight, later = datetime(2013, 7, 1, tzinfo=UTC), datetime(2013, 7, 1, 1, tzinfo=UTC)
    assert cast([midnight, later, None], BERLIN, "date") == [date(2013, 7, 1), UNFIT, None]


def test_a_whole_float_as_text_is_the_text_of_the_whole_number() -> None:
    values = [1.0, -0.5, 2.0**53, 1e300, None]
    assert cast(values, pl.Float64(), "string") == ["1", "-0.5", "9007199254740992", "1e+300", None]


def test_plain_values_have_a_text() -> None:
    assert cast([1, None], pl.Int64(), "string") == ["1", None]
    assert cast([True], pl.Boolean(), "string") == ["true"]
    assert cast([date(2013, 7, 1)], pl.Date(), "string") == ["2013-07-01"]
    assert cast([datetime(2013, 7, 1, 5)], pl.Datetime("us"), "string") == ["2013-07-01T05:00:00.000000Z"]
    assert cast(["a"], pl.Categorical(), "string") == ["a"]
    assert cast(["é"], pl.String(), "bytes") == ["é".encode()]


def test_a_list_fits_if_every_item_does() -> None:
    values = [[1, None], [2**53 + 1], [], None]
    assert cast(values, pl.List(pl.Int64()), "list<float64>") == [[1.0, None], UNFIT, [], None]
    assert cast([[1, 2]], pl.Array(pl.Int64(), 2), "list<int64>") == [[1, 2]]


def test_nulls_of_no_type_fit_every_type() -> None:
    assert all(cast([None], pl.Null(), declared) == [None] for declared in ColumnType)


@pytest.mark.parametrize(
    ("source", "declared"),
    [
        (pl.Int64(), ColumnType.TIMESTAMP),
        (pl.Int64(), ColumnType.LIST_INT64),
        (pl.List(pl.Int64()), ColumnType.STRING),
        (pl.Datetime("us"), ColumnType.INT64),
        (pl.Time(), ColumnType.STRING),
        (pl.Binary(), ColumnType.STRING),
        (pl.Struct({"a": pl.Int64()}), ColumnType.STRING),
        (pl.Float64(), ColumnType.DATE),
        (pl.List(pl.String()), KeyType.STRING),
    ],
)
def test_what_has_no_meaning_in_a_type_does_not_cast(
    source: pl.DataType, declared: ColumnType | KeyType
) -> None:
    assert fit(pl.col("x"), source, declared) is None


def test_strings_are_times_only_as_times_and_never_lists() -> None:
    time_of_day = pl.Series([time(1, 2)])
    assert fit(pl.col("x"), time_of_day.dtype, ColumnType.TIMESTAMP) is None
    assert fit(pl.col("x"), pl.String(), ColumnType.LIST_STRING) is None


def test_a_duration_that_microseconds_cannot_hold_becomes_no_other_number() -> None:
    most = (2**63 - 1) // 1000
    values = pl.Series([most, -most, most + 1, -most - 1, 2**63 - 1, -(2**63), None]).cast(pl.Duration("ms"))
    found = store(pl.lit(values), pl.Duration("ms"), pl.Int64())
    assert found.fits is not None
    rows = pl.select(found.value.alias("value"), found.fits.alias("fits")).rows()
    wanted = [most * 1000, -most * 1000, UNFIT, UNFIT, UNFIT, UNFIT, None]
    assert [value if fits else UNFIT for value, fits in rows] == wanted
