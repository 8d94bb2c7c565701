"""What the key ``held`` of a build says, and what all of them say together."""

from __future__ import annotations

import json
from collections.abc import Iterable

from featurestore.online.versions import PACKED_LAYOUT, OnlineVersion


def read_held(data: bytes | None) -> OnlineVersion | None:
    """None if it is not there or of another layout.

    >>> read_held(b'{"entities": 2, "layout": 2, "version": 7}')
    OnlineVersion(version=7, entities=2)
    """
    if data is None:
        return None
    try:
        value = json.loads(data)
        if value["layout"] != PACKED_LAYOUT:
            return None
        return OnlineVersion(int(value["version"]), int(value["entities"]))
    except (ValueError, KeyError, TypeError):
        return None  # not ours: as if nothing were held


def read_parts(data: Iterable[bytes | None]) -> OnlineVersion | None:
    """What is held whole, by the keys of all parts: None if one of them is not held."""
    held = [read_held(each) for each in data]
    parts = [each for each in held if each is not None]
    if len(parts) < len(held):
        return None
    return OnlineVersion(min(each.version for each in parts), sum(each.entities for each in parts))
