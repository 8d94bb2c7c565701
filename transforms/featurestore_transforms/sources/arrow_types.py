"""Types of Arrow, and the plain ones that their values are read as.

| Arrow | read as |
|---|---|
| null, bool, integers, floats, strings, bytes, dates, decimals to 38 digits | the same |
| string and binary views, fixed-size binary, run-end encoded, dictionaries | their values |
| date64 | date |
| time of day | time in nanoseconds |
| timestamp, duration | microseconds or finer as they are, seconds as milliseconds; zoned ones in UTC |
| UUID | its text |
| 8-bit bool, JSON and other extensions | their storage |
| lists of every form | list |
| struct, map | the same, of such types; a struct without fields: null |

What is not named has no place in a table: unions, intervals, decimals of more digits, variants.
"""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

DIGITS = 38
"""Digits of the widest decimal that a table holds."""
_KEPT = (
    pa.types.is_null,
    pa.types.is_boolean,
    pa.types.is_integer,
    pa.types.is_floating,
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_binary,
    pa.types.is_large_binary,
    pa.types.is_date32,
)
_VARIANT = ("arrow.parquet.variant", "parquet.variant")


class UntakenType(Exception):
    """A type that no table holds; the message says which and why."""


def plain_type(dtype: pa.DataType) -> pa.DataType:
    """The type that values of this type are read as.

    >>> plain_type(pa.list_view(pa.dictionary(pa.int8(), pa.string())))
    LargeListType(large_list<item: string>)

    Raises:
        UntakenType: no table holds such values.
    """
    kinds = pa.types
    if isinstance(dtype, pa.BaseExtensionType):
        if dtype.extension_name in _VARIANT:
            raise UntakenType("variant, and no table holds values of varying types")
        if dtype.extension_name == "arrow.uuid":
            return pa.string()
        return pa.bool_() if dtype.extension_name == "arrow.bool8" else plain_type(dtype.storage_type)
    if kinds.is_dictionary(dtype) or kinds.is_run_end_encoded(dtype):
        return plain_type(dtype.value_type)
    if kinds.is_string_view(dtype):
        return pa.large_string()
    if kinds.is_binary_view(dtype):
        return pa.large_binary()
    if kinds.is_fixed_size_binary(dtype):
        return pa.binary()
    if kinds.is_decimal(dtype):
        return _decimal(dtype)
    if kinds.is_date64(dtype):
        return pa.date32()
    if kinds.is_time(dtype):
        return pa.time64("ns")
    if kinds.is_timestamp(dtype):
        return pa.timestamp(_unit(dtype.unit), None if dtype.tz is None else "UTC")
    if kinds.is_duration(dtype):
        return pa.duration(_unit(dtype.unit))
    if is_list(dtype):
        return pa.large_list(plain_type(dtype.value_type))
    if kinds.is_struct(dtype):
        if not dtype.num_fields:
            return pa.null()
        _require_names(field.name for field in dtype)
        return pa.struct([pa.field(field.name, plain_type(field.type)) for field in dtype])
    if kinds.is_map(dtype):
        key = plain_type(dtype.key_type)
        if kinds.is_nested(key) or kinds.is_null(key):
            raise UntakenType(f"map with keys of type {key}, and only plain values can be keys")
        return pa.map_(key, plain_type(dtype.item_type))
    if not any(is_kept(dtype) for is_kept in _KEPT):
        raise UntakenType(f"{dtype}, and no table holds such values")
    return dtype


def is_list(dtype: pa.DataType) -> bool:
    """Whether values are lists, in any of Arrow's forms."""
    kinds = pa.types
    return bool(
        kinds.is_list(dtype)
        or kinds.is_large_list(dtype)
        or kinds.is_fixed_size_list(dtype)
        or kinds.is_list_view(dtype)
        or kinds.is_large_list_view(dtype)
    )


def _unit(unit: str) -> str:
    return "ms" if unit == "s" else unit


def _decimal(dtype: pa.DataType) -> pa.DataType:
    """The same digits with a scale that is neither negative nor more than all digits."""
    digits = max(dtype.precision - min(dtype.scale, 0), dtype.scale)
    if digits > DIGITS:
        raise UntakenType(f"{dtype}, and a table holds at most {DIGITS} digits")
    return pa.decimal128(digits, max(dtype.scale, 0))


def _require_names(names: Iterable[str]) -> None:
    """Raises UntakenType unless each field has a name of its own that can be written."""
    known: set[str] = set()
    for name in names:
        if not name.isprintable():
            raise UntakenType(f"struct with a field named {name!r}, which cannot be written")
        if name in known:
            raise UntakenType(f"struct with two fields named {name!r}")
        known.add(name)
