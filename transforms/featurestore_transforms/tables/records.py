"""A row as JSON text, for people and for replay: nothing that the row says is lost."""

from __future__ import annotations

import base64
import json
import math
from datetime import UTC, datetime
from typing import Any

import polars as pl


def to_json(rows: pl.DataFrame) -> pl.Series:
    """Each row as a JSON object, keys in the order of the columns.

    Times are ISO 8601 (UTC if they are zoned), bytes are base64, NaN and the infinities are texts.

    >>> to_json(pl.DataFrame({"tailnum": ["N14228"], "delay": [float("nan")]}))[0]
    '{"tailnum": "N14228", "delay": "NaN"}'
    """
    texts = [json.dumps(_plain(row), ensure_ascii=False) for row in rows.iter_rows(named=True)]
    return pl.Series("record", texts, dtype=pl.String)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else f"{'-' if value < 0 else ''}Infinity"
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime):
        return value.isoformat() if value.tzinfo is None else f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
    return str(value)
