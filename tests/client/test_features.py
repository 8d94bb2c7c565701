"""The forms a result offers."""

from __future__ import annotations

import sys
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from featurestore.client.answers import Answer
from featurestore.client.features import Features
from featurestore.errors import RequestError
from featurestore.resources.value import ColumnType
from featurestore.views.value_column import ArrowColumn, ListColumn, NumberColumn
from featurestore.views.value_status import Status

BIG = 2**53 + 1


def result(rows: int = 3) -> Features:
    entities = pa.table({"tailnum": ["N1", "N2", None] * rows}).slice(0, rows)
    features = pa.table(
        {
            "n": pa.array([BIG, None, None] * rows, pa.int64()),
            "late": pa.array([True, None, None] * rows),
            "at": pa.array([datetime(2013, 1, 1, tzinfo=UTC), None, None] * rows, pa.timestamp("us", "UTC")),
        }
    ).slice(0, rows)
    codes = [Status.PRESENT, Status.NULL_VALUE, Status.NOT_FOUND] * rows
    statuses = np.array(codes[:rows], np.uint8)
    times = pa.array([datetime(2013, 1, 1, tzinfo=UTC), None, None] * rows, pa.timestamp("us", "UTC"))
    times = times.slice(0, rows)
    kinds = {"n": ColumnType.INT64, "late": ColumnType.BOOL, "at": ColumnType.TIMESTAMP}
    columns = {
        name: ArrowColumn(kind, features.column(name).combine_chunks(), statuses)
        for name, kind in kinds.items()
    }
    event_times = ArrowColumn(ColumnType.TIMESTAMP, times, statuses)
    return Features(entities, Answer(columns, dict.fromkeys(columns, event_times), {}, rows))


def test_every_form_holds_the_same_values_and_integers_stay_integers() -> None:
    wanted = [BIG, None, None]
    assert result().to_arrow().column("n").to_pylist() == wanted
    assert result().to_dict()["n"] == wanted
    assert result().to_polars()["n"].to_list() == wanted
    assert result().to_polars().schema["n"] == pl.Int64
    frame = result().to_pandas()
    assert str(frame["n"].dtype) == "Int64"
    assert str(frame["late"].dtype) == "boolean"
    assert frame["n"][0] == BIG
    assert list(frame.columns) == ["tailnum", "n", "late", "at"]


def test_columns_without_nulls_are_of_the_plain_pandas_types() -> None:
    frame = result(1).to_pandas()
    assert [str(frame[name].dtype) for name in ("n", "late")] == ["int64", "bool"]
    assert frame["at"].dt.tz is not None


def test_no_rows_make_a_frame_of_every_kind() -> None:
    empty = result(0)
    assert len(empty) == len(empty.to_pandas()) == len(empty.to_polars()) == 0
    assert list(empty.to_pandas().columns) == ["tailnum", "n", "late", "at"]
    assert "[0 rows]" in repr(empty)


def test_statuses_are_words_and_numbers() -> None:
    statuses = result().statuses()["n"]
    assert statuses == [Status.PRESENT, Status.NULL_VALUE, Status.NOT_FOUND]
    assert [str(status) for status in statuses] == ["PRESENT", "NULL_VALUE", "NOT_FOUND"]
    assert [int(status) for status in statuses] == [1, 2, 3]


def test_other_libraries_take_a_result_as_it_is() -> None:
    assert pl.DataFrame(result())["n"].to_list() == [BIG, None, None]
    assert pa.table(result()).equals(result().to_arrow())


def test_a_result_shows_itself_as_a_table_with_the_reason_of_each_null() -> None:
    table = Features(
        pa.table({"tailnum": ["N14228", "N0"]}),
        Answer({"last_arr_delay": ListColumn(ColumnType.FLOAT64, [12.0, None], [1, 3])}, {}, {}, 2),
    )
    assert repr(table).splitlines() == [
        "tailnum    last_arr_delay",
        "───────  ────────────────",
        "N14228               12.0",
        "N0       null (NOT_FOUND)",
        "[2 rows]",
    ]


def test_a_large_result_shows_its_beginning_and_says_what_is_left_out() -> None:
    zeros = NumberColumn(ColumnType.INT64, np.zeros(1234, np.int64), np.ones(1234, np.uint8), None)
    wide = Answer({f"f{n}": zeros for n in range(14)}, {}, {}, 1234)
    shown = repr(Features(pa.table({"text": ["x" * 100] * 1234}), wide))
    assert shown.endswith("[1,234 rows, 1,224 of them not shown; columns not shown: f11, f12, f13]")
    assert len(shown.splitlines()) == 13
    assert "x" * 35 + "…" in shown


@pytest.mark.parametrize("library", ["polars", "pandas"])
def test_a_library_that_is_not_installed_is_named_with_the_way_out(
    library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(RequestError, match=f"{library} is not installed. `pip install {library}`"):
        getattr(result(), f"to_{library}")()
