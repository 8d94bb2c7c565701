"""The command line starts fast: what it loads before it knows what to do is little."""

from __future__ import annotations

import subprocess
import sys

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


def loaded_by(*arguments: str) -> set[str]:
    code = (
        "import sys; sys.argv = ['featurestore', *sys.argv[1:]]\n"
        "from featurestore.cli.__main__ import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print('LOADED', *sys.modules)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=600,
    )
    return set(ran.stdout.rpartition("LOADED")[2].split())


@pytest.mark.parametrize(
    "arguments", [("--help",), ("get", "--help"), ("run", "--help"), ("quarantine", "--help")]
)
def test_help_loads_no_model_and_no_engine(arguments: tuple[str, ...]) -> None:
    assert not loaded_by(*arguments) & set(HEAVY)


def test_planning_applying_and_listing_resources_load_no_data_engine(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = str(tmp_path_factory.mktemp("empty"))
    loaded_by("init", folder)
    engines = {"polars", "pyarrow", "duckdb", "deltalake", "numpy", "pandas"}
    for arguments in (["plan", "-f", folder], ["apply", "-f", folder], ["get", "all"]):
        assert not loaded_by("-C", folder, *arguments) & engines, arguments
