"""The command line starts fast: what it loads before it knows what to do is little."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.new_process

HEAVY = (
    "featurestore.resources",
    "polars",
    "pyarrow",
    "duckdb",
    "deltalake",
    "numpy",
    "pandas",
    "fsspec",
    "sqlglot",
    "redis",
    "yaml",
)


def loaded_by(*lines: str, cwd: Path | None = None) -> list[set[str]]:
    """The modules that a new process has after each of these commands, which it runs one after the other."""
    code = (
        "import sys\n"
        "from featurestore.cli.__main__ import main\n"
        "for line in sys.argv[1:]:\n"
        "    sys.argv = ['featurestore', *line.split()]\n"
        "    try: main()\n"
        "    except SystemExit as ended: assert not ended.code, line\n"
        "    print('LOADED', *sys.modules)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, *lines],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=True,
        timeout=600,
    )
    return [set(line.split()[1:]) for line in ran.stdout.splitlines() if line.startswith("LOADED ")]


def test_help_loads_no_model_and_no_engine() -> None:
    lines = ("--help", "get --help", "run --help", "quarantine --help")
    for line, loaded in zip(lines, loaded_by(*lines), strict=True):
        assert not loaded & set(HEAVY), line


def test_planning_applying_and_listing_resources_load_no_data_engine(tmp_path: Path) -> None:
    lines = ("init .", "plan -f .", "apply -f .", "get all")
    engines = {"polars", "pyarrow", "duckdb", "deltalake", "numpy", "pandas"}
    for line, loaded in zip(lines, loaded_by(*lines, cwd=tmp_path), strict=True):
        assert not loaded & engines, line
