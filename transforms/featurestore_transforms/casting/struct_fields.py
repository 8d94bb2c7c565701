"""Fields of structs, and of structs within lists and values of maps: those that a type adds to another, and values without them.

As with columns, names that differ only in upper and lower case are one field.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from featurestore_transforms.casting.delta_types import whole


@dataclass(frozen=True, slots=True)
class NewFields:
    """``types``: column to its type with the new fields. ``paths``: the new fields, as ``u.city``."""

    types: Mapping[str, pl.DataType]
    paths: list[str]


def known_parts(dtype: pl.DataType) -> pl.DataType | None:
    """The type without the parts of which no value was seen, such as ``{}``; None if nothing is left.

    >>> known_parts(pl.Struct({"a": pl.Int64(), "b": pl.Null()}))
    Struct({'a': Int64})
    """
    if isinstance(dtype, pl.List | pl.Array):
        inner = known_parts(whole(dtype.inner))
        return None if inner is None else pl.List(inner)
    if isinstance(dtype, pl.Map):
        inner = known_parts(whole(dtype.value))
        return None if inner is None else pl.Map(dtype.key, inner)
    if isinstance(dtype, pl.Struct):
        parts = {field.name: known_parts(whole(field.dtype)) for field in dtype.fields}
        known = {name: part for name, part in parts.items() if part is not None}
        return pl.Struct(known) if known else None
    return None if dtype == pl.Null() else dtype


def same_fields(dtype: pl.DataType, path: str) -> str | None:
    """Two fields of a struct whose names differ only in upper and lower case, as a message shows them; None if there are none."""
    if isinstance(dtype, pl.List | pl.Array):
        return same_fields(whole(dtype.inner), path)
    if isinstance(dtype, pl.Map):
        return same_fields(whole(dtype.value), path)
    if not isinstance(dtype, pl.Struct):
        return None
    names: dict[str, str] = {}
    for field in dtype.fields:
        other = names.setdefault(field.name.lower(), field.name)
        if other != field.name:
            return f"{path}.{other} and {path}.{field.name}"
        if problem := same_fields(whole(field.dtype), f"{path}.{field.name}"):
            return problem
    return None


def with_fields(held: pl.DataType, other: pl.DataType, path: str) -> tuple[pl.DataType, list[str]]:
    """The held type with the fields that the other one adds, and their paths.

    >>> with_fields(pl.Struct({"n": pl.String()}), pl.Struct({"N": pl.String(), "city": pl.String()}), "u")
    (Struct({'n': String, 'city': String}), ['u.city'])
    """
    if isinstance(held, pl.List) and isinstance(other, pl.List):
        inner, added = with_fields(whole(held.inner), whole(other.inner), path)
        return pl.List(inner), added
    if isinstance(held, pl.Map) and isinstance(other, pl.Map):
        inner, added = with_fields(whole(held.value), whole(other.value), path)
        return pl.Map(held.key, inner), added
    if not isinstance(held, pl.Struct) or not isinstance(other, pl.Struct):
        return held, []
    fields = {field.name: whole(field.dtype) for field in held.fields}
    names = {name.lower(): name for name in fields}
    paths = []
    for field in other.fields:
        name = names.get(field.name.lower())
        if name is None:
            fields[field.name] = whole(field.dtype)
            paths.append(f"{path}.{field.name}")
        else:
            fields[name], added = with_fields(fields[name], whole(field.dtype), f"{path}.{name}")
            paths += added
    return pl.Struct(fields), paths


def held_fields(value: pl.Expr, source: pl.DataType, held: pl.DataType) -> tuple[pl.Expr, pl.DataType]:
    """The value with only the fields that are held, under the names that they have there, and its type then."""
    if isinstance(source, pl.Array):
        return held_fields(value.arr.to_list(), pl.List(source.inner), held)
    if isinstance(source, pl.List) and isinstance(held, pl.List):
        inner, dtype = held_fields(pl.element(), whole(source.inner), whole(held.inner))
        return (value, source) if dtype == whole(source.inner) else (value.list.eval(inner), pl.List(dtype))
    if isinstance(source, pl.Map) and isinstance(held, pl.Map):
        item = pl.element().struct.field
        inner, dtype = held_fields(item("value"), whole(source.value), whole(held.value))
        if dtype == whole(source.value):
            return value, source
        entries = value.map.entries().list.eval(pl.struct(item("key"), inner.alias("value")))
        made = pl.Map(source.key, dtype)
        return entries.cast(made), made
    if not isinstance(source, pl.Struct) or not isinstance(held, pl.Struct):
        return value, source
    wanted = {field.name.lower(): field for field in held.fields}
    values, types = [], {}
    for field in source.fields:
        if (one := wanted.get(field.name.lower())) is not None:
            part, dtype = held_fields(value.struct.field(field.name), whole(field.dtype), whole(one.dtype))
            values.append(part.alias(one.name))
            types[one.name] = dtype
    if types == {field.name: whole(field.dtype) for field in source.fields}:
        return value, source
    if not values:
        # All fields are new: what is held of the value is only that it is there.
        values, types = [pl.lit(None, whole(held.fields[0].dtype)).alias(held.fields[0].name)], {}
        types[held.fields[0].name] = whole(held.fields[0].dtype)
    return pl.when(value.is_not_null()).then(pl.struct(values)), pl.Struct(types)
