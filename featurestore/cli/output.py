"""How results are printed: columns as kubectl's, JSON, YAML, or names."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any


class Format(StrEnum):
    JSON = "json"
    YAML = "yaml"
    WIDE = "wide"
    NAME = "name"


def columns(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Rows in columns as wide as they need, with no lines between: as easy for ``awk`` as for people.

    >>> print(columns(["NAME", "ROWS"], [["flights", 842], ["planes", None]]))
    NAME      ROWS
    flights   842
    planes    -
    """
    cells = [list(header), *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(row[at]) for row in cells) for at in range(len(header))]
    return "\n".join(
        "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    )


def dump(value: Any, form: Format) -> str:
    """The value as JSON or YAML."""
    if form is Format.JSON:
        return json.dumps(value, indent=2, ensure_ascii=False, default=str)
    import yaml

    return str(
        yaml.safe_dump(json.loads(json.dumps(value, default=str)), sort_keys=False, allow_unicode=True)
    ).rstrip()


def listing(items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Several resources as one value, as kubectl prints them."""
    return {"apiVersion": "v1", "kind": "List", "items": list(items)}


def age(seconds: float | None) -> str:
    """A length of time, to two places, as kubectl says it.

    >>> age(42), age(200), age(90_000), age(400 * 86400), age(None)
    ('42s', '3m20s', '25h', '400d', '-')
    """
    if seconds is None:
        return "-"
    whole = max(0, int(seconds))
    if whole < 120:
        return f"{whole}s"
    if whole < 600:
        return f"{whole // 60}m" + (f"{whole % 60}s" if whole % 60 else "")
    if whole < 3 * 3600:
        return f"{whole // 60}m"
    if whole < 48 * 3600:
        return f"{whole // 3600}h"
    days = whole // 86400
    return f"{days}d" if days < 730 else f"{days // 365}y{days % 365}d"


def _cell(value: object) -> str:
    if value is None or value == "":
        return "-"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
