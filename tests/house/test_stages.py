"""One flake costs nobody a run of all tests, and is told; what fails twice fails the stage."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest
from cluster.fixtures import ROOMS

STAGES = Path(__file__).parents[1] / "stages.py"
FIRST_TIME = """
from pathlib import Path

def first_time():
    mark = Path(__file__).with_suffix(".mark")
    there = mark.exists()
    mark.touch()
    return not there

"""


@pytest.fixture
def stages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    spec = importlib.util.spec_from_file_location("stages", STAGES)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "stages", module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "CACHE", tmp_path / "cache")
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    return module


def test_the_stages_of_a_mark_collect_all_rooms_that_have_it(stages: Any) -> None:
    assert stages.ROOMS == ROOMS


def test_files_that_a_stage_names_are_there(stages: Any) -> None:
    named = (*stages.STREAMS, *stages.LIBRARIES, *stages.OURS, *stages.SCALING, *stages.KUBERNETES)
    files = {it.partition("::")[0] for it in named}
    assert {it for it in files if not (STAGES.parent / it).exists()} == set()


def outcome(stages: Any, folder: Path, source: str) -> Any:
    """What becomes of a stage with these tests."""
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "test_it.py").write_text(FIRST_TIME + source)
    arguments = (f"--config-file={folder / 'pytest.ini'}", f"--rootdir={folder}", str(folder / "test_it.py"))
    return stages.run(stages.Stage("it", sys.prefix, arguments), stages.Printer(at_once=False))


def test_a_test_that_fails_once_is_told_and_fails_nothing(stages: Any, tmp_path: Path) -> None:
    it = outcome(stages, tmp_path, "def test_a(): assert not first_time()\ndef test_b(): pass\n")
    assert (it.passed, it.failed, it.unsteady) == (2, 0, ("test_it.py::test_a",))


def test_a_server_that_does_not_start_at_first_fails_nothing(stages: Any, tmp_path: Path) -> None:
    source = """
import pytest
@pytest.fixture(scope="session")
def server():
    assert not first_time()
def test_a(server): pass
def test_b(server): pass
"""
    it = outcome(stages, tmp_path, source)
    assert (it.passed, it.failed, len(it.unsteady)) == (2, 0, 2)


def test_a_test_that_fails_twice_fails_its_stage(stages: Any, tmp_path: Path) -> None:
    it = outcome(stages, tmp_path, "def test_a(): assert False\ndef test_b(): assert not first_time()\n")
    assert (it.passed, it.failed, it.unsteady) == (1, 1, ("test_it.py::test_b",))


def test_a_stage_of_which_a_machine_can_run_nothing_did_not_fail(stages: Any, tmp_path: Path) -> None:
    it = outcome(stages, tmp_path, "import pytest\ndef test_a(): pytest.skip('no root')\n")
    assert (it.passed, it.failed) == (0, 0)


@pytest.mark.parametrize(
    "source",
    ["import nothing_of_that_name\n", "", "import os\nos._exit(0)\n"],
    ids=["that cannot be collected", "that is empty", "that ends too early"],
)
def test_a_stage_that_runs_no_test_failed(stages: Any, tmp_path: Path, source: str) -> None:
    it = outcome(stages, tmp_path, source)
    assert (it.passed, it.failed) == (0, 1)
