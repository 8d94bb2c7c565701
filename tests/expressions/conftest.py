from __future__ import annotations

from datetime import UTC, date, datetime

import polars as pl
import pytest


@pytest.fixture(scope="session")
def rows() -> pl.DataFrame:
    """Rows with a column of each kind; the last row is all null."""
    moment = datetime(2013, 1, 1, 5, 15, 30)
    return pl.DataFrame(
        {
            "i": pl.Series([1, 2, None], dtype=pl.Int64),
            "j": pl.Series([3, -2, None], dtype=pl.Int64),
            "x": [1.5, -0.5, None],
            "s": ["N14228", "a 'b' \"c\" \\d", None],
            "b": [True, False, None],
            "t": pl.Series([moment, moment, None], dtype=pl.Datetime("us")),
            "tz": pl.Series([moment.replace(tzinfo=UTC)] * 2 + [None], dtype=pl.Datetime("us", "UTC")),
            "d": [date(2013, 1, 1), date(2013, 2, 1), None],
            "l": [[1, 2], [3], None],
            "ls": [["a", "b"], [], None],
            "st": [{"y": 1}, {"y": 2}, None],
        }
    )
