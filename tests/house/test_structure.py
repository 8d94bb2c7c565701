"""What must hold of the house itself."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = [
    path
    for folder in ("featurestore", "transforms", "operator", "tests", "demo", "bench", "fixtures", "release")
    for path in (ROOT / folder).rglob("*.py")
]


def test_no_package_shadows_the_standard_librarys_operator() -> None:
    assert not (ROOT / "operator" / "__init__.py").exists()
    assert not [path for path in ROOT.glob("*/operator/__init__.py") if ".venv" not in path.parts]


def test_python_itself_works_in_this_folder() -> None:
    found = subprocess.run(
        [sys.executable, "-c", "import operator, venv; print(operator.__file__)"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert str(ROOT) not in found.stdout


def test_a_file_stays_under_500_lines() -> None:
    assert not [path for path in SOURCES if len(path.read_text().splitlines()) > 500]


def test_each_process_collects_the_same_tests() -> None:
    # Processes that share the tests of a stage refuse to begin if a name of a case differs between them.
    found = [
        f"{path.relative_to(ROOT)}:{call.lineno} {named(call)}"
        for path in SOURCES
        if path.is_relative_to(ROOT / "tests")
        for call in at_import(ast.parse(path.read_text()))
        if named(call) in DIFFERS or (named(call) == "gzip.compress" and not has(call, "mtime"))
    ]
    assert found == []


DIFFERS = {"uuid.uuid1", "uuid.uuid4", "os.urandom", "os.getpid", "random.random", "random.randbytes"}


def at_import(node: ast.AST) -> Iterator[ast.Call]:
    """What is called when a module is imported: not in functions, but in their decorators."""
    if isinstance(node, ast.Call):
        yield node
    inside = node.decorator_list if isinstance(node, ast.FunctionDef) else ast.iter_child_nodes(node)
    for child in () if isinstance(node, ast.Lambda) else inside:
        yield from at_import(child)


def named(call: ast.Call) -> str:
    """What is called, without what holds it: ``datetime.now``."""
    return ".".join(ast.unparse(call.func).split(".")[-2:])


def has(call: ast.Call, argument: str) -> bool:
    return any(it.arg == argument for it in call.keywords)


def test_no_file_is_named_after_a_module_of_the_standard_library_or_after_nothing() -> None:
    forbidden = {"utils", "helpers", "manager", "base", "common", "queue", "types"}
    assert not [path for path in SOURCES if path.stem in forbidden]


def test_pinned_requirements_name_no_host() -> None:
    for path in (ROOT / "requirements").iterdir():
        assert not re.search(r"https?://|--index|--find-links", path.read_text()), path


@pytest.mark.parametrize("package", ["featurestore", "transforms", "operator"])
def test_every_module_says_what_it_is(package: str) -> None:
    silent = [
        path
        for path in (ROOT / package).rglob("*.py")
        if not path.read_text().lstrip().startswith(('"""', 'r"""'))
    ]
    assert not silent
