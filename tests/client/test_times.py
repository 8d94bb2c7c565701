"""Times as people write them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import polars as pl
import pytest

from featurestore.client.frames import read_frame
from featurestore.client.times import microseconds, timestamp_us
from featurestore.errors import RequestError

NOON = 1_386_072_000_000_000
NEW_YORK = ZoneInfo("America/New_York")
UTC_NOON = datetime(2013, 12, 3, 12, tzinfo=UTC)


def taken(values: Any) -> list[int | None]:
    table = read_frame(values if hasattr(values, "columns") else {"t": values})
    times, valid = microseconds(table.column("t"), "t")
    return [int(time) if ok else None for time, ok in zip(times, valid, strict=True)]


@pytest.mark.parametrize(
    "values",
    [
        [datetime(2013, 12, 3, 12)],
        [UTC_NOON],
        [datetime(2013, 12, 3, 7, tzinfo=NEW_YORK)],
        [datetime(2013, 12, 3, 17, 30, tzinfo=timezone(timedelta(hours=5, minutes=30)))],
        ["2013-12-03T12:00:00"],
        ["2013-12-03 12:00"],
        ["2013-12-03T12:00:00Z"],
        ["2013-12-03T07:00:00-05:00"],
        ["2013-12-03T12:00:00.000000999"],
        ["2013-12-03T12:00:00.000000999+00:00"],
        np.array(["2013-12-03T12:00"], "datetime64[s]"),
        np.array(["2013-12-03T12:00"], "datetime64[ns]"),
        pd.Series([pd.Timestamp("2013-12-03 12:00")]),
        pd.Series([pd.Timestamp("2013-12-03 07:00", tz="America/New_York")]),
        pd.Series([pd.Timestamp("2013-12-03 07:00", tz="America/New_York")], dtype=object),
        pd.Series(["2013-12-03 12:00"], dtype="category"),
        pl.Series([datetime(2013, 12, 3, 12)]).to_arrow(),
        pl.DataFrame({"t": pl.Series([UTC_NOON], dtype=pl.Datetime("ms", "Asia/Tokyo"))}),
    ],
)
def test_noon_is_noon_however_it_is_written(values: Any) -> None:
    assert taken(values) == [NOON]


def test_dates_are_midnight_utc() -> None:
    assert taken([date(2013, 12, 3)]) == [NOON - 12 * 3600 * 1_000_000]
    assert taken(["2013-12-03"]) == [NOON - 12 * 3600 * 1_000_000]


def test_nulls_of_every_kind_are_null() -> None:
    assert taken([None, UTC_NOON, pd.NaT]) == [None, NOON, None]
    assert taken([None, "2013-12-03T12:00:00"]) == [None, NOON]
    assert taken([None, None]) == [None, None]
    assert taken(pd.Series([pd.NaT, pd.Timestamp(UTC_NOON)])) == [None, NOON]


def test_times_of_several_zones_are_each_taken_in_their_own() -> None:
    mixed = [
        UTC_NOON,
        datetime(2013, 12, 3, 7, tzinfo=NEW_YORK),
        datetime(2013, 12, 3, 21, tzinfo=ZoneInfo("Asia/Tokyo")),
    ]
    assert taken(mixed) == [NOON] * 3
    assert taken(pd.Series(mixed, dtype=object)) == [NOON] * 3
    assert taken(["2013-12-03T12:00:00Z", "2013-12-03T21:00:00+09:00"]) == [NOON] * 2


def test_the_hour_that_comes_twice_in_autumn_and_the_one_that_never_comes_in_spring() -> None:
    first = datetime(2013, 11, 3, 1, 30, tzinfo=NEW_YORK, fold=0)
    second = datetime(2013, 11, 3, 1, 30, tzinfo=NEW_YORK, fold=1)
    before, after = taken([first, second])
    assert before is not None
    assert after == before + 3600 * 1_000_000
    assert taken([datetime(2013, 3, 10, 2, 30, tzinfo=NEW_YORK)]) == taken(["2013-03-10T07:30:00Z"])


@pytest.mark.parametrize(
    "values",
    [
        [datetime(2013, 12, 3), UTC_NOON],
        [UTC_NOON, None, datetime(2013, 12, 3)],
        ["2013-12-03T12:00:00", "2013-12-03T12:00:00Z"],
        ["2013-12-03", "2013-12-03T12:00:00+01:00"],
        pd.Series([pd.Timestamp("2013-12-03"), pd.Timestamp(UTC_NOON)], dtype=object),
    ],
)
def test_times_with_and_without_a_zone_in_one_column_are_refused(values: Any) -> None:
    with pytest.raises(
        RequestError, match="a column mixes times with and without a zone: in entities, column 't'"
    ):
        taken(values)


@pytest.mark.parametrize(
    ("values", "got"),
    [
        ([1_386_072_000], "int64"),
        ([1.5], "double"),
        (["noon"], "noon"),
        ([True], "bool"),
        (["12:00"], "12:00"),
    ],
)
def test_what_is_no_time_is_refused(values: Any, got: str) -> None:
    with pytest.raises(RequestError, match=rf"wanted a timestamp, a date, or text .*{got}"):
        taken(values)


def test_parts_of_a_microsecond_are_cut_off_towards_the_past_before_1970_too() -> None:
    assert taken(np.array([-1, -1000, -1001, 999, 1000], "datetime64[ns]")) == [-1, -1, -2, 0, 1]


@pytest.mark.parametrize(
    "value",
    [
        UTC_NOON,
        datetime(2013, 12, 3, 12),
        "2013-12-03T12:00:00Z",
        "2013-12-03T07:00:00-05:00",
        pd.Timestamp(UTC_NOON),
    ],
)
def test_one_moment_is_taken_as_a_column_of_them(value: Any) -> None:
    assert timestamp_us(value, "as_of") == NOON
    assert timestamp_us(date(2013, 12, 3), "as_of") == NOON - 12 * 3600 * 1_000_000


@pytest.mark.parametrize("value", ["noon", 12, None, pd.NaT])
def test_what_is_no_moment_is_refused(value: Any) -> None:
    with pytest.raises(RequestError, match="this is not a time: in as_of, wanted a timestamp"):
        timestamp_us(value, "as_of")
