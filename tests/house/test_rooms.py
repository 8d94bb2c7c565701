"""The house is the plan of it: rooms on disk, in the contracts of the linter, and in docs/architecture.md."""

from __future__ import annotations

import ast
import itertools
import re
import subprocess
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from module_tree import module_tree

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "featurestore": ROOT / "featurestore",
    "featurestore_transforms": ROOT / "transforms" / "featurestore_transforms",
    "featurestore_operator": ROOT / "operator" / "featurestore_operator",
}
GROUND = {
    "printable",
    "arrays",
    "deferred",
    "digest",
    "errors",
    "redaction",
    "failpoint",
    "failure",
    "hashing",
    "humanize",
    "protocol",
    "retry",
    "timestamps",
}
"""The only modules of ``featurestore`` that are in no room."""
SAME_ROLE = ("featurestore/online", "featurestore/arrivals")
"""Rooms with a protocol and rooms of its implementations: the same name is the same role there."""
NAMED_BY_OTHERS = "featurestore/cli"
"""A command is in the file of its name."""
ENGINES = {"polars", "pyarrow", "duckdb", "deltalake", "pandas", "numpy"}


class Line(NamedTuple):
    """A line of the tree: what is there, below which package, and what it is said to be."""

    package: str
    path: str
    purpose: str


def tree() -> Iterator[Line]:
    text = (ROOT / "docs" / "architecture.md").read_text()
    block = re.search(r"## The rooms\n.*?```\n(.*?)```", text, re.DOTALL)
    assert block, "docs/architecture.md has no tree of the rooms"
    package, above = "", ""
    for line in filter(None, block[1].split("\n")):
        name, _, purpose = line.strip().partition(" ")
        depth = (len(line) - len(line.lstrip())) // 2
        if depth == 0:
            package = name.rstrip("/")
            yield Line(package, "", purpose.strip())
            continue
        if depth == 1:
            above = name
        yield Line(package, name if depth == 1 else above + name, purpose.strip())


def modules(package: str) -> list[Path]:
    return [path for path in PACKAGES[package].rglob("*.py") if not path.name.startswith("__")]


ALL = [path for package in PACKAGES for path in modules(package)]


@pytest.mark.parametrize("package", PACKAGES)
def test_the_tree_of_the_architecture_page_is_the_tree_on_disk(package: str) -> None:
    folder = PACKAGES[package]
    on_disk = {
        f"{path.parent.relative_to(folder)}/" for path in folder.rglob("*.py") if path.parent != folder
    }
    on_disk |= {path.name for path in folder.glob("*.py") if not path.name.startswith("__")}
    assert sorted(line.path for line in tree() if line.package == package and line.path) == sorted(on_disk)


def test_each_room_is_said_to_be_something() -> None:
    assert not [line for line in tree() if not line.purpose]


@pytest.mark.parametrize("package", PACKAGES)
def test_the_tree_has_the_order_of_the_layers_contract(package: str) -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = [it["layers"] for it in contracts if it["type"] == "layers" and it["containers"] == [package]]
    rank = {name.strip(): n for n, layer in enumerate(layers) for name in layer.split("|")}
    rooms = [
        line.path.rstrip("/").removesuffix(".py")
        for line in tree()
        if line.package == package and line.path and line.path.count("/") < 2
    ]
    assert [rank[room] for room in rooms] == sorted(rank[room] for room in rooms)


def test_no_module_of_the_contract_stands_outside_of_the_rooms() -> None:
    assert {path.stem for path in PACKAGES["featurestore"].glob("*.py")} - {"__init__"} <= GROUND


def test_no_public_class_name_has_two_meanings() -> None:
    homes = defaultdict(list)
    for path in ALL:
        for node in module_tree(path).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name].append(str(path.relative_to(ROOT)))
    assert len(homes) > 200
    assert {name: found for name, found in homes.items() if len(found) > 1} == {}


def test_no_file_name_stands_twice_but_for_the_same_role() -> None:
    homes = defaultdict(list)
    for path in ALL:
        place = path.relative_to(ROOT).as_posix()
        if not place.startswith(NAMED_BY_OTHERS + "/"):
            homes[path.name].append(place)
    assert len(homes) > 100
    twice = [
        pair for found in homes.values() for pair in itertools.combinations(found, 2) if not _same_role(*pair)
    ]
    assert twice == []


def _same_role(one: str, other: str) -> bool:
    return any(one.startswith(room + "/") and other.startswith(room + "/") for room in SAME_ROLE)


@pytest.mark.new_process
def test_the_process_of_the_controller_loads_no_data_engine() -> None:
    names = [
        str(path.relative_to(PACKAGES["featurestore_operator"].parent))[:-3].replace("/", ".")
        for path in modules("featurestore_operator")
    ]
    script = f"import importlib, sys\nfor name in {names}: importlib.import_module(name)\nprint(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "featurestore_operator.process" in loaded.stdout.split()
    assert not ENGINES & set(loaded.stdout.split())
