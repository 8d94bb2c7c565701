"""Kinds of JSON values, over all values of a key, and values as a column of a kind has them.

| values of a key | its column |
|---|---|
| numbers | strings, whose type is int64 or float64 if no digit is lost, else string |
| true and false | strings |
| strings, or several kinds | strings; lists and objects as JSON |
| lists, objects | lists and structs; numbers inside them are int64 or float64 if no digit is lost, else strings |
| ``{}``, ``[]``, null | not known yet |
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from itertools import chain
from typing import Any

import polars as pl
import pyarrow as pa

from featurestore_transforms.casting.delta_types import whole

_INT64 = range(-(2**63), 2**63)
_EXACT = range(-(2**53), 2**53 + 1)
"""Whole numbers that float64 gives back, every one."""
_SHORT = 16
"""Characters of a number with a point that has 15 digits at most: float64 gives back every one."""
_MOST_FIELDS = 1000
NOTHING = "__nothing"
"""The one field of a struct of which no field is known: no table has one without fields."""


Fraction = bytes
"""A number with a point or an exponent, or NaN, as it is written. No other value of JSON is of this type."""


@dataclass(slots=True)
class JsonKind:
    """What the values that were added are. ``fields`` and ``items``: those of objects and of lists.

    ``inexact``: a number that its own type does not give back. ``rounded``: a whole one that float64 does not.
    """

    strings: bool = False
    bools: bool = False
    wholes: bool = False
    fractions: bool = False
    inexact: bool = False
    rounded: bool = False
    items: JsonKind | None = None
    fields: dict[str, tuple[str, JsonKind]] | None = None

    def add(self, values: Sequence[Any]) -> None:
        """Values of a key, None where there is none."""
        kinds = set(map(type, values))
        self.strings |= str in kinds
        self.bools |= bool in kinds
        if int in kinds:
            self._add_wholes(_only(values, int, kinds))
        if Fraction in kinds:
            self.fractions = True
            self.inexact |= not _are_floats(_only(values, Fraction, kinds))
        if list in kinds:
            self.items = self.items or JsonKind()
            self.items.add([*chain.from_iterable(_only(values, list, kinds))])
        if dict in kinds:
            self._add_fields(_only(values, dict, kinds))

    def _add_wholes(self, values: Sequence[int]) -> None:
        self.wholes = True
        least, most = min(values), max(values)
        self.inexact |= least not in _INT64 or most not in _INT64
        if least not in _EXACT or most not in _EXACT:
            self.rounded |= any(len(str(abs(one))) > _SHORT or int(float(one)) != one for one in values)

    def _add_fields(self, values: Sequence[Mapping[str, Any]]) -> None:
        if self.fields is None:
            self.fields = {}
        inside: dict[str, list[Any]] = {}
        for value in values:
            for name, one in value.items():
                inside.setdefault(name, []).append(one)
        for name, some in inside.items():
            _, kind = self.fields.setdefault(name.lower(), (name, JsonKind()))
            kind.add(some)

    @property
    def _is_nested(self) -> bool:
        return self.items is not None or self.fields is not None

    def parts(self) -> int:
        """How many fields there are, at all levels: engines take minutes over types of ten thousand."""
        inner = [] if self.items is None else [self.items]
        inner += [kind for _, kind in (self.fields or {}).values()]
        return len(self.fields or ()) + sum(kind.parts() for kind in inner)

    def dtype(self) -> pl.DataType:
        """The type of the values; a column that is not nested is read as strings of it."""
        plain = self.strings or self.bools or self.wholes or self.fractions
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
            return pl.String() if self.strings or self.wholes or self.fractions else pl.Boolean()
        if self.strings or self.inexact or (self.fractions and self.rounded):
            return pl.String()
        return pl.Float64() if self.fractions else pl.Int64()


def _only(values: Sequence[Any], kind: type, kinds: Collection[type]) -> Sequence[Any]:
    return values if len(kinds) == 1 else [value for value in values if type(value) is kind]


def _are_floats(numbers: Sequence[bytes]) -> bool:
    """Whether float64 gives back all of them."""
    text = b",".join(numbers)
    if max(map(len, numbers)) <= _SHORT and b"e" not in text and b"E" not in text:
        return True
    return all(map(_is_float, numbers))


def shaper(dtype: pl.DataType) -> Callable[[Any], Any]:
    """Makes values as a column of the type has them.

    >>> shaper(pl.List(pl.Float64()))([1, b"2.50", None])
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
    columns = {}
    for key, one in value.items():
        name, made = fields.get(key.lower(), (NOTHING, _nothing))
        columns[name] = made(one)
    return columns


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

    >>> as_text(b"1.10"), as_text(b"1e2"), as_text(True), as_text([b"1.0", None])
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
    return value.decode() if isinstance(value, Fraction) else json.dumps(value, ensure_ascii=False)


def strings(name: str, values: Sequence[Any]) -> pl.Series:
    """The values as :func:`as_text` makes them, those of one kind without a look at each."""
    kinds = set(map(type, values)) - {type(None)}
    if kinds <= {str}:
        return pl.Series(name, values, pl.String())
    if kinds == {bool}:
        return pl.Series(name, values, pl.Boolean()).cast(pl.String())
    if kinds == {int}:
        with suppress(OverflowError, TypeError):  # beyond 64 bits
            return pl.Series(name, values, pl.Int64()).cast(pl.String())
    if kinds == {Fraction}:
        written = pl.Series(name, values, pl.Binary()).cast(pl.String())
        alike = written.str.contains(_AS_WRITTEN) & (written.str.len_bytes() <= _SHORT)
        others = (~alike).arg_true()
        return (
            written.scatter(others, [as_text(values[place]) for place in others]) if len(others) else written
        )
    return pl.Series(name, list(map(as_text, values)), pl.String())


_AS_WRITTEN = r"^-?(?:0|0\.0{0,3}[1-9]|0\.0{0,3}[1-9][0-9]*[1-9]|0\.0|[1-9][0-9]*\.(?:0|[0-9]*[1-9]))$"
"""Numbers that Python writes as they stand, if they are short: with a point, without an exponent or zeros at the end."""
_SPECIAL = {b"NaN": "NaN", b"Infinity": "inf", b"-Infinity": "-inf"}


def _plainly(number: Fraction) -> str:
    if number in _SPECIAL:
        return _SPECIAL[number]
    written, own = repr(float(number)), number.decode()
    return written if written == own or _is_float(number) else own


def _is_float(number: Fraction) -> bool:
    """Whether a float64 is exactly this number, as far as its shortest text tells."""
    if number in _SPECIAL:
        return True
    written, own = repr(float(number)), number.decode()
    return written == own or (written not in ("inf", "-inf") and Decimal(written) == Decimal(own))
