"""The repository that ``feast init`` writes: the same numbers from Feast and from what it becomes here."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from feast_environment import assert_joined_alike, feast_answers, feast_python, featurestore, rows

from featurestore import connect

NAMES = ["conv_rate", "acc_rate", "avg_daily_trips"]
FEATURES = [f"driver_hourly_stats:{name}" for name in NAMES]
COMPUTED = ["conv_rate_plus_val1", "conv_rate_plus_val2"]
DRIVERS = [1001, 1002, 1003, 1004, 1005, 9999]
# It has a row of each driver at that time, for the labels of its own training call.
FIXED = datetime(2021, 4, 12, 7, tzinfo=UTC)
DAY, INSTANT = timedelta(days=1), timedelta(microseconds=1)
PAGE = Path(__file__).parents[2] / "docs" / "coming-from-feast.md"
Asked = tuple[dict[str, Any], dict[str, Any]]


@pytest.fixture(scope="module")
def quick_start(tmp_path_factory: pytest.TempPathFactory) -> Asked:
    """What Feast was asked of the repository that it makes, and what it answered."""
    folder = tmp_path_factory.mktemp("feast")
    now = datetime.now(UTC)
    times = [FIXED + it for it in (-INSTANT, 0 * DAY, timedelta(hours=3, minutes=59), DAY, DAY + INSTANT)]
    times += [now - n * timedelta(hours=7, minutes=13) for n in range(60)]
    labels = {
        "driver_id": [DRIVERS[n % len(DRIVERS)] for n in range(len(times))] + [1001, 1001, 1001, 1001],
        "event_timestamp": [it.isoformat() for it in (*times, *times[:2], *times[3:5])],
    }
    labels |= {"val_to_add": [*range(len(times) + 4)], "val_to_add_2": [-7] * (len(times) + 4)}
    computed = [*FEATURES, *(f"transformed_conv_rate:{it}" for it in COMPUTED)]
    request = {"val_to_add": 10, "val_to_add_2": 20}
    question: dict[str, Any] = {
        "repository": str(folder / "quick" / "feature_repo"),
        "labels": labels,
        "init": True,
        "materialize": ["driver_hourly_stats"],
        "join": [{"features": computed, "labels": rows(labels, list(labels))}],
        "online": [
            {"features": FEATURES, "entities": [{"driver_id": it} for it in DRIVERS]},
            {"features": "driver_activity_v2", "entities": [{"driver_id": it} | request for it in DRIVERS]},
        ],
    }
    return question, feast_answers(folder, question)[0]


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
