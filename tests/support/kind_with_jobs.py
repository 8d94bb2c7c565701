"""A copy of the product with the kind that docs/adding-a-kind-with-jobs.md adds, made of the code on that page."""

from __future__ import annotations

import re
import shutil
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "adding-a-kind-with-jobs.md"
PACKAGES = ("featurestore", "transforms/featurestore_transforms", "operator/featurestore_operator")
_IMPORTS = "from __future__ import annotations\n"
_PLACES = {
    "featurestore/resources/kinds.py": [('    )\n}\n"""By name', "{row},\n")],
    "featurestore/reconcile/reconcile.py": [("        PlannedKind(DataPipeline", "{row},\n")],
    "featurestore/protocol.py": [
        ("def covered(", "{row}\n\n"),
        ('    | EraseKeysRequest\n)\n"""', "    | RowCountRequest\n"),
        ("    | ErasureResult,\n", "    | RowCountResult\n"),
    ],
}
"""File to what a row, or what the page says of it in words, stands before."""


def blocks() -> dict[str, str]:
    """File to the code that the page has for it."""
    found = re.findall(r"^ *```python\n( *# (\S+)\n.*?)^ *```$", PAGE.read_text(), re.M | re.S)
    return {place: textwrap.dedent(code).partition("\n")[2] for code, place in found}


def touched() -> set[str]:
    """The files of the product that the page changes."""
    return {place for place in blocks() if (ROOT / place).exists()}


def copy_with_kind(folder: Path) -> list[Path]:
    """What stands on ``sys.path`` for a product that has the kind: the copy's folders."""
    # With what is compiled, which counts as long as a file is as old: else compiling takes ten seconds of a processor.
    # What is being written has a further ending.
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("*.pyc.*"))
    for place, code in blocks().items():
        path = folder / place
        path.write_text(_changed(path.read_text(), code, _PLACES[place]) if path.exists() else code)
    return [folder, folder / "transforms", folder / "operator"]


def _changed(text: str, code: str, places: list[tuple[str, str]]) -> str:
    imports, _, row = code.partition("\n\n")
    text = text.replace(_IMPORTS, f"{_IMPORTS}\n{imports}\n", 1)
    for place, added in places:
        text = _before(text, place, added.format(row=row.rstrip()))
    return text


def _before(text: str, place: str, added: str) -> str:
    head, found, tail = text.partition(place)
    assert found, place
    assert place not in tail, place
    return f"{head}{added}{found}{tail}"
