"""One version is named everywhere."""

from __future__ import annotations

import shutil
from pathlib import Path

from release import images, version

READ = ("operator", "changes", "docs/install.md", "README.md", "CHANGELOG.md", "docker")


def test_the_checkout_names_one_version_and_its_fragments_are_lists() -> None:
    assert version.disagreements() == []


def test_another_version_and_a_fragment_that_is_no_list_are_told_with_their_place(tmp_path: Path) -> None:
    for name in READ:
        source, copy = images.ROOT / name, tmp_path / name
        copy.parent.mkdir(exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, copy, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
        else:
            shutil.copy(source, copy)
    chart = tmp_path / "operator/chart/Chart.yaml"
    chart.write_text(chart.read_text().replace("appVersion: ", "appVersion: 9"))
    page = tmp_path / "docs/install.md"
    page.write_text(page.read_text().replace("newTag: ", "newTag: 8"))
    (tmp_path / "changes/mine.md").write_text("Mine.")
    here = images.version()
    assert version.disagreements(tmp_path) == [
        f"operator/chart/Chart.yaml: appVersion: wanted {here}, got 9{here}",
        f"docs/install.md: 8{here}: wanted {here}, got 8{here}",
        "changes/mine.md: wanted list items that begin with '- '",
    ]
