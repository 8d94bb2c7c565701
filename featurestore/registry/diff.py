"""How two documents differ, field by field."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """A field that is not the same. ``old`` or ``new`` is None where the field is not there.

    Items of lists are named by their ``name`` if they have one, else by their place.
    """

    path: Path
    old: Any
    new: Any

    def __str__(self) -> str:
        """``spec.ttl: 30d → 7d``."""
        where = ".".join(self.path)
        if self.old is None:
            return f"{where}: added {_text(self.new)}"
        if self.new is None:
            return f"{where}: removed {_text(self.old)}"
        return f"{where}: {_text(self.old)} → {_text(self.new)}"

    def to_dict(self) -> dict[str, Any]:
        return {"path": ".".join(self.path), "old": self.old, "new": self.new}


def differences(old: Any, new: Any) -> tuple[Difference, ...]:
    """Where two JSON values differ, compared as deeply as possible.

    >>> [str(it) for it in differences({"ttl": "30d", "a": [1, 2]}, {"ttl": "7d", "a": [1]})]
    ['a.1: removed 2', 'ttl: 30d → 7d']
    """
    return tuple(_differences(old, new, ()))


def _differences(old: Any, new: Any, path: Path) -> Iterator[Difference]:
    one, other = _parts(old), _parts(new)
    if one is None or other is None or type(old) is not type(new):
        if old != new or type(old) is not type(new):
            yield Difference(path, old, new)
        return
    for key in sorted({*one, *other}):
        yield from _differences(one.get(key), other.get(key), (*path, key))
    if list(one) != list(other) and set(one) == set(other) and isinstance(old, list):
        yield Difference((*path, "order"), ", ".join(one), ", ".join(other))


def _parts(value: Any) -> dict[str, Any] | None:
    """The parts by name; None for what has none."""
    if isinstance(value, dict):
        return value
    if isinstance(value, list):
        names = [str(item["name"]) for item in value if isinstance(item, dict) and "name" in item]
        if len(names) == len(value) and len(set(names)) == len(names):
            return dict(zip(names, value, strict=True))
        return {str(n): item for n, item in enumerate(value)}
    return None


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_text(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_text, value)) + "]"
    return str(value).lower() if isinstance(value, bool) else str(value)
