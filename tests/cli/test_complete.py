"""What a shell offers while one types."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from featurestore.registry.project import Project


def offered(folder: Path, line: str) -> list[str]:
    """What bash offers at the end of the line."""
    words = line.split(" ")
    environ = {key: value for key, value in os.environ.items() if key != "FEATURESTORE_URI"}
    environ |= {
        "COMP_WORDS": "\n".join(words),
        "COMP_CWORD": str(len(words) - 1),
        "_FEATURESTORE_COMPLETE": "complete_bash",
    }
    done = subprocess.run(
        [sys.executable, "-m", "featurestore.cli"], cwd=folder, env=environ, capture_output=True, text=True
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("featurestore get ", ["all", "erasures", "pipelines", "services", "stores", "trainingsets", "views"]),
        ("featurestore get v", ["views"]),
        ("featurestore describe pipelines ", ["flights"]),
        ("featurestore describe view ", ["aircraft-delays"]),
        ("featurestore quarantine ls ", ["aircraft-delays", "flights"]),
        ("featurestore features ", ["aircraft-delays"]),
        ("featurestore features aircraft-delays:arr", ["aircraft-delays:arr_delay_mean_1d", "aircraft-delays:arr_delay_mean_7d"]),
        ("featurestore explain pipeline.spec.sc", ["pipeline.spec.schemaPolicy"]),
        ("featurestore explain view.spec.features.agg", ["view.spec.features.aggregate"]),
        ("featurestore describe nonsense ", []),
    ],
)  # fmt: skip
def test_kinds_names_features_and_fields_are_offered(project: Project, line: str, words: list[str]) -> None:
    assert offered(project.folder, line) == words


def test_the_folder_that_is_named_counts(project: Project, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    assert offered(elsewhere, f"featurestore -C {project.folder} get views ") == ["aircraft-delays"]


def test_where_there_is_no_store_nothing_is_offered_and_nothing_said(tmp_path: Path) -> None:
    assert offered(tmp_path, "featurestore get views ") == []
