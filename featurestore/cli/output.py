"""How results are printed: columns as kubectl's, JSON, YAML, or names."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any

from featurestore.printable import printable

_GAP = "   "
_NARROWEST = 12
"""A last column that would be narrower than this is not folded."""


class OutputFormat(StrEnum):
    JSON = "json"
    YAML = "yaml"
    WIDE = "wide"
    NAME = "name"


def columns(header: Sequence[str], rows: Iterable[Sequence[object]], width: int | None = None) -> str:
    """Rows in columns as wide as they need, with no lines between: as easy for ``awk`` to read as for you.

    ``width``: of the screen. What does not fit into it of the last column goes on below itself, where there is room.

    >>> print(columns(["NAME", "ROWS"], [["flights", 842], ["planes", None]]))
    NAME      ROWS
    flights   842
    planes    -
    """
    cells = [list(header), *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(row[at]) for row in cells) for at in range(len(header))]
    start = sum(widths[:-1]) + len(_GAP) * (len(widths) - 1)
    room = width - start if width is not None and width - start >= _NARROWEST else None
    lines = []
    for row in cells:
        *before, last = row
        first, *rest = (room and textwrap.wrap(last, room)) or [last]
        filled = [cell.ljust(each) for cell, each in zip(before, widths[:-1], strict=True)]
        lines.append(_GAP.join([*filled, first]).rstrip())
        lines += [" " * start + more for more in rest]
    return "\n".join(lines)


def screen_width() -> int | None:
    """The width of the terminal; None in a pipe, where lines stay whole."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def dump(value: Any, form: OutputFormat) -> str:
    """The value as JSON or YAML."""
    if form is OutputFormat.JSON:
        return json.dumps(value, indent=2, ensure_ascii=False, default=str)
    import yaml

    return str(
        yaml.safe_dump(json.loads(json.dumps(value, default=str)), sort_keys=False, allow_unicode=True)
    ).rstrip()


def listing(items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Several resources as one value, as kubectl prints them."""
    return {"apiVersion": "v1", "kind": "List", "items": list(items)}


def _cell(value: object) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return printable(str(value)).replace("\n", "\\n").replace("\t", "\\t")
