"""Two people who note changes at the same time touch two files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CHANGELOG = "# Changes\n\nNewest first.\n\n## 0.2.0 (not released)\n\n- Old.\n\n## 0.1.0\n\n- Older.\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "changes").mkdir()
    for name in ("README.md", "assemble.py"):
        (tmp_path / "changes" / name).write_text((ROOT / "changes" / name).read_text())
    (tmp_path / "CHANGELOG.md").write_text(CHANGELOG)
    return tmp_path


def assemble(project: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, project / "changes" / "assemble.py"], capture_output=True, text=True, check=False
    )


def test_fragments_are_moved_to_the_top_of_the_newest_section(project: Path) -> None:
    (project / "changes" / "b.md").write_text("- Second,\n  over two lines.\n")
    (project / "changes" / "a.md").write_text("- First.")
    assert assemble(project).returncode == 0
    moved = "\n\n- First.\n- Second,\n  over two lines.\n- Old.\n"
    assert (project / "CHANGELOG.md").read_text() == CHANGELOG.replace("\n\n- Old.\n", moved)
    assert sorted(path.name for path in (project / "changes").iterdir()) == ["README.md", "assemble.py"]


def test_a_fragment_that_is_no_list_is_named_and_nothing_is_moved(project: Path) -> None:
    (project / "changes" / "a.md").write_text("- First.")
    (project / "changes" / "b.md").write_text("Second.")
    done = assemble(project)
    assert done.returncode == 1
    assert "b.md: wanted list items that begin with '- ', got 'Second.'" in done.stderr
    assert (project / "CHANGELOG.md").read_text() == CHANGELOG
    assert (project / "changes" / "a.md").exists()


def test_the_fragments_that_wait_are_lists() -> None:
    for path in (ROOT / "changes").glob("*.md"):
        assert path.name == "README.md" or path.read_text().startswith("- "), path
