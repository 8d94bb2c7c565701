"""What frameworks are given of a batch: every value as it was, or an error that says what to do."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from featurestore.client.batch_arrays import arrays_of
from featurestore.errors import RequestError


def test_every_value_arrives_in_an_array_of_its_own_memory() -> None:
    large = 2**62 + 1
    batch = pa.record_batch(
        {
            "n": pa.array([large, None], pa.int64()),
            "late": [True, False],
            "at": pa.array([datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)] * 2, pa.timestamp("ms", "UTC")),
            "vector": [[1.0, 2.0], [3.0, 4.0]],
            "text": ["a", "b"],
        }
    ).slice(0, 2)
    found = arrays_of(batch, {"n": 0}, texts=True)
    assert {name: values.tolist() for name, values in found.items()} == {
        "n": [large, 0],
        "late": [True, False],
        "at": [1_000_000, 1_000_000],
        "vector": [[1.0, 2.0], [3.0, 4.0]],
        "text": ["a", "b"],
    }
    assert found["n"].dtype == np.int64
    found["vector"][0, 0] = 7.0
    assert batch.column("vector")[0].as_py() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("values", "texts", "told"),
    [
        (pa.array([1, None]), False, r"column 'c', got 1 of 2 values, of type int64.*fill=\{'c'"),
        (pa.array([True, None]), False, "1 of 2 values"),
        (pa.array(["a", None]), True, "1 of 2 values"),
        (pa.array(["a", "b"]), False, "no tensor has.*string"),
        (pa.array([[1.0], [1.0, 2.0]]), False, r"lengths \[1, 2\]"),
        (pa.array([[1.0], None]), False, "lengths"),
        (pa.array([[1.0], [None]]), False, "without nulls"),
        (pa.array([{"a": 1}, {"a": 2}]), True, "no tensor has"),
    ],
)
def test_what_no_tensor_holds_is_refused_in_words(values: Any, texts: bool, told: str) -> None:
    with pytest.raises(RequestError, match=told):
        arrays_of(pa.record_batch({"c": values}), {}, texts)
