"""The repository that ``feast init`` writes: the same numbers from Feast and from what it becomes here."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from feast_environment import assert_joined_alike, feast_python, featurestore, rows
from feast_repositories import COMPUTED, NAMES, Asked

from featurestore import connect

PAGE = Path(__file__).parents[2] / "docs" / "coming-from-feast.md"


def test_the_quick_start_of_feast_gives_the_same_numbers_in_training_and_online(
    quick_start: Asked, tmp_path: Path
) -> None:
    question, feast = quick_start
    repository, project = Path(question["repository"]), tmp_path / "project"
    report = featurestore("import", "feast", str(repository), "-o", str(project), "--python", feast_python())
    featurestore("-C", str(project), "apply", "-f", str(project), roots=[repository / "data"])
    featurestore("-C", str(project), "run", "--once", roots=[repository / "data"])

    store = connect(project)
    training = store.get_historical_features(
        features=question["join"][0]["features"], entity_df=question["labels"]
    )
    assert_joined_alike(feast["join"][0], training.to_dict(), [*NAMES, *COMPUTED])
    for asked, answer in zip(question["online"], feast["online"], strict=True):
        inference = store.get_online_features(asked["features"], asked["entities"])
        read = ["driver_id", *NAMES, *(COMPUTED if isinstance(asked["features"], str) else ())]
        values = rows(inference.to_dict(), read)
        assert values == [{name: row[name] for name in read} for row in answer["values"]]
        statuses = rows(inference.statuses(), NAMES)
        assert statuses == [{name: row[name] for name in NAMES} for row in answer["statuses"]]
        assert statuses[0] == dict.fromkeys(NAMES, "PRESENT")
    assert "OnDemandFeatureView" not in report
    assert "expression: conv_rate + val_to_add_2" in (project / "views.yaml").read_text()


@pytest.mark.parametrize("table", ["Methods of `FeatureStore`", "What `feast` exports", "Commands"])
def test_the_page_on_feast_has_each_public_name_and_what_is_here_for_it(
    quick_start: Asked, table: str
) -> None:
    section = PAGE.read_text().split(f"\n### {table}\n")[1].split("\n## ")[0].split("\n### ")[0]
    lines = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| `")]
    assert all(len(line) == 2 for line in lines), lines
    listed = [name for theirs, _ in lines for name in re.findall(r"`([^`]+)`", theirs)]
    assert sorted(listed) == sorted(quick_start[1]["names"][table])
