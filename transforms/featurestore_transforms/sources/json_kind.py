"""Kinds of JSON values, over all values of a key, and values as a column of a kind has them.

| values of a key | its column |
|---|---|
| numbers | texts, of which the type is learned as in CSV |
| true and false | texts |
| texts, or several kinds | texts; lists and objects as JSON |
| lists, objects | lists and structs; numbers inside them are int64 or float64 if no digit is lost, else texts |
| ``{}``, ``[]``, null | not known yet |
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import polars as pl
import pyarrow as pa

from featurestore_transforms.casting.delta_types import whole

_EXACT = 2**53
_MOST_FIELDS = 1000
NOTHING = "__nothing"
"""The one field of a struct of which no field is known: no table has one without fields."""


class Fraction(str):
    """A number with a point or an exponent, or NaN, as it is written."""

    __slots__ = ()


@dataclass(slots=True)
class JsonKind:
    """What the values that were added are. ``fields`` and ``items``: those of objects and of lists."""

    texts: bool = False
    bools: bool = False
    wholes: bool = False
    fractions: bool = False
    inexact: bool = False
    items: JsonKind | None = None
    fields: dict[str, tuple[str, JsonKind]] | None = None

    def add(self, value: Any, *, inside: bool = False) -> None:
        """``inside``: of a list or an object, where no second look tells whether a number loses digits."""
        kind = type(value)
        if kind is str:
            self.texts = True
        elif kind is bool:
            self.bools = True
        elif kind is int:
            self.wholes = True
            self.inexact |= inside and not -(2**63) <= value < 2**63
        elif kind is Fraction:
            self.fractions = True
            self.inexact |= inside and not _is_float(value)
        elif kind is list:
            self.items = self.items or JsonKind()
            for item in value:
                self.items.add(item, inside=True)
        elif kind is dict:
            if self.fields is None:
                self.fields = {}
            for name, one in value.items():
                known = self.fields.get(name) or self.fields.get(name.lower())
                if known is None:
                    known = self.fields[name.lower()] = (name, JsonKind())
                known[1].add(one, inside=True)

    @property
    def is_number(self) -> bool:
        return (self.wholes or self.fractions) and not (self.texts or self.bools or self._is_nested)

    @property
    def _is_nested(self) -> bool:
        return self.items is not None or self.fields is not None

    def parts(self) -> int:
        """How many fields there are, at all levels: engines take minutes over types of ten thousand."""
        inner = [] if self.items is None else [self.items]
        inner += [kind for _, kind in (self.fields or {}).values()]
        return len(self.fields or ()) + sum(kind.parts() for kind in inner)

    def dtype(self) -> pl.DataType:
        """The type of values inside lists and objects; for a column, one that is nested, else it is read as texts."""
        plain = self.texts or self.bools or self.wholes or self.fractions
        if plain + (self.items is not None) + (self.fields is not None) > 1:
            return pl.String()
        if self.items is not None:
            return pl.List(self.items.dtype())
        if self.fields is not None:
            if self.parts() > _MOST_FIELDS:
                return pl.String()
            fields = {name: kind.dtype() for name, kind in self.fields.values()}
            return pl.Struct(fields or {NOTHING: pl.Null()})
        if not plain:
            return pl.Null()
        if self.bools:
            return (
                pl.String() if self.texts or self.is_number or self.wholes or self.fractions else pl.Boolean()
            )
        if self.texts or self.inexact:
            return pl.String()
        return pl.Float64() if self.fractions else pl.Int64()


def shaper(dtype: pl.DataType) -> Callable[[Any], Any]:
    """Makes values as a column of the type has them.

    >>> shaper(pl.List(pl.Float64()))([1, Fraction("2.50"), None])
    [1.0, 2.5, None]
    """
    if isinstance(dtype, pl.List):
        item = shaper(whole(dtype.inner))
        return lambda value: None if value is None else [item(one) for one in value]
    if isinstance(dtype, pl.Struct):
        fields = {one.name.lower(): (one.name, shaper(whole(one.dtype))) for one in dtype.fields}
        return lambda value: None if value is None else _struct(value, fields)
    if dtype == pl.Null():
        return lambda value: None
    if dtype == pl.String():
        return as_text
    if dtype == pl.Float64():
        return lambda value: None if value is None else float(value)
    return lambda value: value


def _struct(
    value: Mapping[str, Any], fields: Mapping[str, tuple[str, Callable[[Any], Any]]]
) -> dict[str, Any]:
    found = {}
    for key, one in value.items():
        name, made = fields.get(key.lower(), (NOTHING, _nothing))
        found[name] = made(one)
    return found


def _nothing(_: Any) -> None:
    return None


def arrow_type(dtype: pl.DataType) -> pa.DataType:
    """The type in which Arrow makes a column of such values: in one go, where Polars makes a series of each list."""
    if isinstance(dtype, pl.List):
        return pa.large_list(arrow_type(whole(dtype.inner)))
    if isinstance(dtype, pl.Struct):
        return pa.struct([(one.name, arrow_type(whole(one.dtype))) for one in dtype.fields])
    return {pl.Null: pa.null(), pl.Boolean: pa.bool_(), pl.Int64: pa.int64(), pl.Float64: pa.float64()}.get(
        type(dtype), pa.large_string()
    )


def as_text(value: Any) -> str | None:
    """A value as a string; numbers as their type would write them, if no digit is lost by that.

    >>> as_text(Fraction("1.10")), as_text(Fraction("1e2")), as_text(True), as_text([Fraction("1.0"), None])
    ('1.1', '100.0', 'true', '[1.0, null]')
    """
    kind = type(value)
    if kind is str or value is None:
        return value  # type: ignore[no-any-return]
    if kind is int:
        return str(value)
    if kind is Fraction:
        return _plainly(value)
    if kind is bool:
        return "true" if value else "false"
    return _json(value)


def _json(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_json(name)}: {_json(one)}" for name, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_json, value)) + "]"
    return str(value) if isinstance(value, Fraction) else json.dumps(value, ensure_ascii=False)


_SPECIAL = {"NaN": "NaN", "Infinity": "inf", "-Infinity": "-inf"}


def _plainly(number: Fraction) -> str:
    if number in _SPECIAL:
        return _SPECIAL[number]
    written = repr(float(number))
    return written if written == number or _is_float(number) else str(number)


def _is_float(number: Fraction) -> bool:
    """Whether a float64 is exactly this number, as far as its shortest text tells."""
    if number in _SPECIAL:
        return True
    written = repr(float(number))
    return written != "inf" and written != "-inf" and Decimal(written) == Decimal(number)
