"""Only its own rooms know a file from another arrival."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from module_tree import module_tree

ROOT = Path(__file__).parents[2]
FILES = "featurestore.arrivals.files"
READERS = "featurestore_transforms.sources."
GENERIC = {
    READERS + name
    for name in (
        "column_use",
        "reader",
        "source_schema",
        "stream",
        "text_types",
    )
}
"""What any kind of source is read by."""
KNOW_FILES = (
    "featurestore/arrivals/files/",
    # A table is files in a folder.
    "featurestore/arrivals/delta/",
    "featurestore/arrivals/iceberg/",
    "featurestore/arrivals/tables/",
    "transforms/featurestore_transforms/sources/",
)
FIELDS = {"on_overwrite", "compression", "csv"}
"""Fields of ``spec.source`` that say how files are taken."""
FOLDERS = ("featurestore", "transforms/featurestore_transforms", "operator/featurestore_operator")


@cache
def outside() -> dict[str, ast.Module]:
    """By its path each module of the product that is not to know files."""
    paths = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
    named = {path.relative_to(ROOT).as_posix(): path for path in paths}
    return {name: module_tree(path) for name, path in named.items() if not name.startswith(KNOW_FILES)}


def imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{name.name}" for name in node.names)


def importers(of: str) -> set[str]:
    return {place for place, tree in outside().items() if any(name.startswith(of) for name in imported(tree))}


def test_one_module_knows_that_files_are_a_source() -> None:
    assert importers(FILES) == {"featurestore/arrivals/source_kinds.py"}


def test_no_room_above_opens_a_file_of_a_source() -> None:
    opened = {
        (place, name)
        for place, tree in outside().items()
        for name in imported(tree)
        if name.startswith(READERS) and name.rpartition(".")[0] not in GENERIC
    }
    assert opened == set()


def test_no_room_above_reads_what_a_spec_says_of_files() -> None:
    above = {it: tree for it, tree in outside().items() if not it.startswith("featurestore/resources/")}
    read = {place: fields for place, tree in above.items() if (fields := fields_of_files(tree))}
    assert read == {}


def fields_of_files(tree: ast.Module) -> set[str]:
    """Fields of a ``source`` that say how files are taken, as they are read here."""
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr in FIELDS
        and isinstance(node.value, ast.Attribute | ast.Name)
        and (node.value.attr if isinstance(node.value, ast.Attribute) else node.value.id) == "source"
    }
