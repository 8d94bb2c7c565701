"""Only its own rooms know a file from another arrival."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = "featurestore.arrivals.files"
READERS = "featurestore_transforms.sources."
GENERIC = {
    READERS + name
    for name in (
        "column_use",
        "reader",
        "reader_kinds",
        "source_schema",
        "stream",
        "text_types",
    )
}
"""What any kind of source is read by."""
KNOW_FILES = ("featurestore/arrivals/files/", "transforms/featurestore_transforms/sources/")
FIELDS = {"on_overwrite", "compression", "csv"}
"""Fields of ``spec.source`` that say how files are taken."""
MODULES = {
    path.relative_to(ROOT).as_posix(): ast.parse(path.read_text())
    for folder in ("featurestore", "transforms/featurestore_transforms", "operator/featurestore_operator")
    for path in (ROOT / folder).rglob("*.py")
}
OUTSIDE = sorted(place for place in MODULES if not place.startswith(KNOW_FILES))


def imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{name.name}" for name in node.names)


def importers(of: str) -> set[str]:
    return {place for place in OUTSIDE if any(name.startswith(of) for name in imported(MODULES[place]))}


def test_one_module_knows_that_files_are_a_source() -> None:
    assert importers(FILES) == {"featurestore/arrivals/source_kinds.py"}


@pytest.mark.parametrize("place", OUTSIDE)
def test_no_room_above_opens_a_file_of_a_source(place: str) -> None:
    named = {name for name in imported(MODULES[place]) if name.startswith(READERS)}
    assert {name.rpartition(".")[0] for name in named} <= GENERIC


@pytest.mark.parametrize("place", [it for it in OUTSIDE if not it.startswith("featurestore/resources/")])
def test_no_room_above_reads_what_a_spec_says_of_files(place: str) -> None:
    read = {
        node.attr
        for node in ast.walk(MODULES[place])
        if isinstance(node, ast.Attribute)
        and node.attr in FIELDS
        and isinstance(node.value, ast.Attribute | ast.Name)
        and (node.value.attr if isinstance(node.value, ast.Attribute) else node.value.id) == "source"
    }
    assert not read
