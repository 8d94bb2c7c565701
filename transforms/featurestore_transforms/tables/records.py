"""A row as JSON text, human-readable and fit for replay: nothing that the row says is lost."""

from __future__ import annotations

import base64
import json
import math
from datetime import UTC, datetime
from typing import Any

import polars as pl

from featurestore_transforms.casting.delta_types import whole
from featurestore_transforms.steps.shown import in_years


def to_json(rows: pl.DataFrame) -> pl.Series:
    """Each row as a JSON object, keys in the order of the columns.

    Times are ISO 8601 (UTC if they are zoned), bytes are base64, NaN and the infinities are texts.

    >>> to_json(pl.DataFrame({"tailnum": ["N14228"], "delay": [float("nan")]}))[0]
    '{"tailnum": "N14228", "delay": "NaN"}'
    """
    try:
        texts = [json.dumps(_plain(row), ensure_ascii=False) for row in rows.iter_rows(named=True)]
    except (ValueError, OverflowError, pl.exceptions.PanicException):
        # Python has no times outside the years 1 to 9999; the file may.
        spelled = rows.select(
            _spelled(pl.col(name), dtype).alias(name) for name, dtype in rows.schema.items()
        )
        texts = [json.dumps(_plain(row), ensure_ascii=False) for row in spelled.iter_rows(named=True)]
    return pl.Series("record", texts, dtype=pl.String)


def _spelled(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """The values with times as ISO 8601 strings, or as their number beyond the years 1 to 9999."""
    if isinstance(dtype, pl.List):
        return value.list.eval(_spelled(pl.element(), whole(dtype.inner)))
    if isinstance(dtype, pl.Array):
        return _spelled(value.arr.to_list(), pl.List(dtype.inner))
    if isinstance(dtype, pl.Map):
        return _spelled(value.map.entries(), pl.List(pl.Struct({"key": dtype.key, "value": dtype.value})))
    if isinstance(dtype, pl.Struct):
        fields = [
            _spelled(value.struct.field(field.name), whole(field.dtype)).alias(field.name)
            for field in dtype.fields
        ]
        return pl.when(value.is_not_null()).then(pl.struct(fields))
    if isinstance(dtype, pl.Duration):
        return value.dt.to_string("iso")
    if dtype != pl.Date() and not isinstance(dtype, pl.Datetime):
        return value
    unit = dtype.time_unit if isinstance(dtype, pl.Datetime) else "days"
    utc = isinstance(dtype, pl.Datetime) and dtype.time_zone is not None
    form = "%Y-%m-%d" if unit == "days" else "%Y-%m-%dT%H:%M:%S%.f" + "Z" * utc
    written: pl.Expr = pl.when(in_years(value, dtype)).then(value)
    written = (written.dt.convert_time_zone("UTC") if utc else written).dt.strftime(form)
    number = pl.concat_str(value.to_physical().cast(pl.String), pl.lit(f" {unit} since 1970"))
    return pl.coalesce(written, number)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        # The keys of a map are of any type.
        return {
            name if isinstance(name, str) else str(_plain(name)): _plain(item) for name, item in value.items()
        }
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
