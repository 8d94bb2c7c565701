"""What must hold of the house itself."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = [
    path
    for folder in ("featurestore", "transforms", "operator", "tests", "demo", "bench", "fixtures")
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


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_stays_under_500_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 500


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
