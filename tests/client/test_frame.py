"""Every kind of frame that people bring gives the same rows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from featurestore.client.frames import key_column, read_frame
from featurestore.errors import RequestError
from featurestore.resources.value import KeyType

IDS, NAMES = [3, 1, 3], ["c", None, "é"]
KINDS: dict[str, Callable[[], Any]] = {
    "dict of lists": lambda: {"id": IDS, "name": NAMES},
    "dict of tuples": lambda: {"id": tuple(IDS), "name": tuple(NAMES)},
    "dict of arrays": lambda: {"id": np.array(IDS), "name": np.array(NAMES, object)},
    "dict of Arrow arrays": lambda: {"id": pa.array(IDS), "name": pa.chunked_array([NAMES[:1], NAMES[1:]])},
    "list of dicts": lambda: [{"id": i, "name": n} for i, n in zip(IDS, NAMES, strict=True)],
    "list of dicts with a key left out": lambda: [{"id": 3, "name": "c"}, {"id": 1}, {"id": 3, "name": "é"}],
    "pandas": lambda: pd.DataFrame({"id": IDS, "name": NAMES}, index=[7, 8, 7]),
    "pandas with objects": lambda: pd.DataFrame({"id": IDS, "name": np.array(NAMES, object)}),
    "polars": lambda: pl.DataFrame({"id": IDS, "name": NAMES}),
    "polars categorical": lambda: pl.DataFrame({"id": IDS, "name": pl.Series(NAMES, dtype=pl.Categorical)}),
    "arrow table": lambda: pa.table({"id": IDS, "name": NAMES}),
    "arrow record batch": lambda: pa.record_batch({"id": pa.array(IDS), "name": pa.array(NAMES)}),
    "arrow reader": lambda: pa.table({"id": IDS, "name": NAMES}).to_reader(),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_frame_keeps_its_rows_and_columns_in_order(kind: str) -> None:
    table = read_frame(KINDS[kind]())
    assert table.column_names == ["id", "name"]
    assert table.column("id").to_pylist() == IDS
    assert key_column(table, "name", KeyType.STRING, "v").to_pylist() == NAMES


@pytest.mark.parametrize("empty", [{}, [], {"id": []}, pd.DataFrame(), pl.DataFrame(), pa.table({})])
def test_an_empty_frame_is_a_frame(empty: Any) -> None:
    assert read_frame(empty).num_rows == 0


@pytest.mark.parametrize("orient", ["records", "list"])
def test_missing_text_as_pandas_writes_it_in_dicts_is_null(orient: Any) -> None:
    frame = pd.DataFrame({"id": ["a", float("nan")], "x": [1.5, float("nan")]})
    table = read_frame(frame.to_dict(orient))
    assert table["id"].to_pylist() == ["a", None]
    assert table["x"].null_count == 0, "NaN among numbers is a number"


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        ("N14228", "this is not a data frame: in entities, wanted a pandas or Polars frame"),
        (42, "got int"),
        (pd.Series(["N1"], name="tailnum"), r"not a data frame.*got Series.*\.to_frame\(\)"),
        (pl.Series("tailnum", ["N1"]), r"not a data frame.*got Series.*\.to_frame\(\)"),
        (None, "got NoneType"),
        (pl.LazyFrame({"id": [1]}), r"got LazyFrame\. Call \.collect\(\) first"),
        (["N14228"], r"a row is not a dict: in entities\[0\]"),
        ({"tailnum": "N14228"}, "a column is not a list: in entities, column 'tailnum', wanted a list"),
        ({"a": [1], "b": [1, 2]}, "columns differ in length: in entities, got 'a': 1, 'b': 2"),
        ({"a": [1, "x"]}, "a column has no type: in entities, column 'a'"),
        ({"a": [2**70]}, "a column has no type"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "columns share a name: in entities, got a"),
        ({"t": [datetime(2020, 1, 1), "2020"]}, "a column mixes types: in entities, column 't'"),
    ],
)
def test_what_is_no_frame_is_refused_with_what_would_be_one(frame: Any, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        read_frame(frame)


@pytest.mark.parametrize(
    ("values", "kind", "wanted"),
    [
        (pa.array([1, None], pa.int8()), KeyType.INT64, [1, None]),
        (pa.array([2**53 + 1], pa.uint64()), KeyType.INT64, [2**53 + 1]),
        (pa.array([1.0, None, float("nan")]), KeyType.INT32, [1, None, None]),
        (pa.array([None, None]), KeyType.INT64, [None, None]),
        (pa.array([None]), KeyType.STRING, [None]),
        (pa.array(["a"], pa.large_string()), KeyType.STRING, ["a"]),
        (pa.array(["a", "b", "a"]).dictionary_encode(), KeyType.STRING, ["a", "b", "a"]),
    ],
)
def test_a_key_is_taken_where_nothing_is_lost(values: pa.Array, kind: KeyType, wanted: list[Any]) -> None:
    assert key_column(pa.table({"k": values}), "k", kind, "v").to_pylist() == wanted


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1"], KeyType.INT64),
        ([1], KeyType.STRING),
        ([True], KeyType.INT64),
        ([1.5], KeyType.INT64),
        ([2.0**53], KeyType.INT64),
        ([2**31], KeyType.INT32),
        ([b"a"], KeyType.STRING),
        ([["a"]], KeyType.STRING),
    ],
)
def test_a_key_of_another_type_is_refused_and_not_converted(values: list[Any], kind: KeyType) -> None:
    with pytest.raises(RequestError, match=f"a join key has the wrong type.*wanted {kind.value}"):
        key_column(pa.table({"k": values}), "k", kind, "v")


def test_a_missing_key_is_named_with_the_nearest_column() -> None:
    with pytest.raises(RequestError, match=r"wanted a column 'tailnum' .*Did you mean 'tailnumber'\?"):
        key_column(pa.table({"tailnumber": ["a"]}), "tailnum", KeyType.STRING, "v")
