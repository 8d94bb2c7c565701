"""What must agree, and be ready, before a version is published."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from release import images


def disagreements(root: Path = images.ROOT) -> list[str]:
    """Where another version is named than the packages have; and fragments of the changelog that are not lists."""
    version = images.version()
    found = yaml.safe_load((root / "operator/chart/Chart.yaml").read_text())
    named = {
        "operator/chart/Chart.yaml: version": found["version"],
        "operator/chart/Chart.yaml: appVersion": found["appVersion"],
    }
    values = yaml.safe_load((root / "operator/chart/values.yaml").read_text())["images"]
    named |= {
        f"operator/chart/values.yaml: images.{it}": values[it].rpartition(":")[2] for it in images.IN_CHART
    }
    pages = ("README.md", "docs/install.md", "operator/deploy/operator.yaml", "docker/Dockerfile")
    for page in pages:
        text = (root / page).read_text()
        for tag in set(
            re.findall(
                r"(?:featurestore-(?:job|operator|kserve):|newTag: |VERSION=)([0-9]\S*?)[\s,\"`}]", text
            )
        ):
            named[f"{page}: {tag}"] = tag
    heading = re.search(r"^## (\S+)", (root / "CHANGELOG.md").read_text(), re.MULTILINE)
    named["CHANGELOG.md: its newest section"] = heading[1] if heading else "none"
    wrong = [f"{where}: wanted {version}, got {it}" for where, it in named.items() if it != version]
    fragments = [it for it in sorted((root / "changes").glob("*.md")) if it.name != "README.md"]
    return wrong + [
        f"changes/{it.name}: wanted list items that begin with '- '"
        for it in fragments
        if not it.read_text().startswith("- ")
    ]
