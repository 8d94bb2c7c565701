"""The join keys of requested entities as an online store knows them.

Lists of Python's own strings and integers become keys without a detour. Everything else goes through Arrow, which
decides what may be taken for a key (:func:`featurestore.client.frames.key_column`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from featurestore.client.resolution import ViewRead
from featurestore.online.reading import Keys
from featurestore.resources.value import KeyType

_LISTS = list, tuple, np.ndarray
_LIMITS = {KeyType.INT32: 1 << 31, KeyType.INT64: 1 << 63}


def entity_keys(views: Sequence[ViewRead], entities: Any) -> tuple[int, list[Keys]]:
    """How many entities there are, and for each view the keys of all.

    Raises:
        RequestError: a join key is missing or of the wrong type, or this is not a table of any kind.
    """
    rows = _plain_columns(views, entities)
    if rows is not None:
        length, columns = rows
        keys = [_plain_keys(view, columns) for view in views]
        if None not in keys:
            return length, keys  # type: ignore[return-value]
    return _keys_of_table(views, entities)


def _plain_columns(views: Sequence[ViewRead], entities: Any) -> tuple[int, dict[str, list[Any]]] | None:
    """The key columns as lists; None if this is not a dict of lists or a list of dicts that has all."""
    names = {name for view in views for name in view.keys}
    if type(entities) is dict:
        # All columns count, so that one of another length is noticed.
        for values in entities.values():
            if not isinstance(values, _LISTS):
                return None
        lengths = set(map(len, entities.values()))
        if len(lengths) != 1 or not names <= entities.keys():
            return None
        return lengths.pop(), {name: _listed(entities[name]) for name in names}
    if type(entities) is list and entities and set(map(type, entities)) == {dict}:
        try:
            return len(entities), {name: [row[name] for row in entities] for name in names}
        except KeyError:
            return None
    return None


def _listed(values: Any) -> list[Any]:
    if isinstance(values, np.ndarray):
        return values.tolist() if values.ndim == 1 and values.dtype.kind in "iU" else [values]
    return values if isinstance(values, list) else list(values)


def _plain_keys(view: ViewRead, columns: Mapping[str, list[Any]]) -> Keys | None:
    joined = view.view.spec.entity.join_keys
    if len(joined) == 1:
        return _texts(columns[view.keys[0]], joined[0].type)
    parts: list[Any] = []
    for name, key in zip(view.keys, joined, strict=True):
        texts: Any = _texts(columns[name], key.type)
        if texts is None or None in texts:
            return None
        is_text = key.type is KeyType.STRING
        parts.append([b"%d:%b" % (len(text), text) for text in texts] if is_text else texts)
    return list(map(b"|".join, zip(*parts, strict=True)))


def _texts(values: list[Any], kind: KeyType) -> list[bytes | None] | None:
    """None if one of the values is neither of Python's own type for this kind nor None."""
    kinds = set(map(type, values))
    if kind is KeyType.STRING:
        try:
            if kinds <= {str}:
                return [value.encode() for value in values]
            if kinds <= {str, type(None)}:
                return [None if value is None else value.encode() for value in values]
        except UnicodeEncodeError:
            pass
        return None
    if kinds != {int}:
        return None
    limit = _LIMITS[kind]
    if min(values) < -limit or max(values) >= limit:
        return None
    return [b"%d" % value for value in values]


def _keys_of_table(views: Sequence[ViewRead], entities: Any) -> tuple[int, list[Keys]]:
    from featurestore.client.frames import read_frame, typed_if_empty
    from featurestore.online.entity_keys import key_texts

    declared = {name: kind for view in views for name, kind in view.key_types.items()}
    table = typed_if_empty(read_frame(entities), declared, None)
    keys: list[Keys] = [key_texts(key_table(view, table)).to_pylist() for view in views]
    return table.num_rows, keys


def key_table(read: ViewRead, table: Any) -> Any:
    """``table[<join keys>]`` of one view, in their declared types.

    Raises:
        RequestError: a join key is missing or of the wrong type.
    """
    import pyarrow as pa

    from featurestore.client.frames import key_column

    columns = {
        key.name: key_column(table, name, key.type, read.view.name)
        for name, key in zip(read.keys, read.view.spec.entity.join_keys, strict=True)
    }
    return pa.table(columns)
