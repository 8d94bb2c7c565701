"""A view whose newest values differ from what a model was trained on says so, and can be kept from the online store."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from laptop import Laptop, view_of
from training import NOON, PIPELINE, rows, training_set

from featurestore.reconcile.conditions import Condition, read_status
from featurestore.storage import paths
from featurestore.training.training_versions import complete_numbers
from featurestore.training.view_drift import HISTORY, ViewDrift, read_drift
from featurestore.views.builds import read_active_build, read_build

PSI: Mapping[str, Any] = {
    "reference": {"trainingSet": "set"},
    "drift": [{"metric": "PSI", "above": 0.25}],
}


def monitored(**more: Any) -> dict[str, Any]:
    made = view_of("v")
    made["spec"]["monitoring"] = {**PSI, **more}
    return made


@pytest.fixture
def laptop(tmp_path: Path) -> Laptop:
    """A view that has what its training set has."""
    laptop = Laptop(tmp_path, NOON + timedelta(days=10))
    laptop.apply(PIPELINE, monitored(), training_set())
    laptop.drop("0.parquet", rows(1200))
    laptop.run()
    return laptop


def condition(laptop: Laptop, kind: str) -> Condition:
    status = read_status(laptop.storage, "views", "view")
    found = status.condition(kind) if status else None
    assert found is not None
    return found


def drifted_rows(seed: int) -> tuple[dict[str, Any], ...]:
    return tuple({**row, "v": None if row["v"] is None else row["v"] + 5000} for row in rows(1200, seed))


def is_published(laptop: Laptop) -> bool:
    serving, status = read_active_build(laptop.storage, "view"), read_status(laptop.storage, "views", "view")
    build = read_build(laptop.storage, "view", serving.digest) if serving else None
    assert build is not None
    assert status is not None
    return status.online_version == build.version


def test_values_like_those_trained_on_are_within_the_thresholds(laptop: Laptop) -> None:
    laptop.drop("1.parquet", rows(1200, seed=1))
    laptop.run()
    found = condition(laptop, "Drifted")
    assert (found.status.value, found.reason) == ("False", "WithinThresholds")
    assert condition(laptop, "Ready").status.value == "True"


def test_drift_is_told_and_published_all_the_same(laptop: Laptop) -> None:
    laptop.drop("1.parquet", drifted_rows(1))
    laptop.run()
    found = condition(laptop, "Drifted")
    assert (found.status.value, found.reason) == ("True", "Drifted")
    assert "PSI of v is" in found.message
    assert is_published(laptop)


def test_what_has_drifted_is_held_until_the_model_is_trained_anew(laptop: Laptop) -> None:
    laptop.apply(monitored(onDrift="HoldPublish"))
    laptop.drop("1.parquet", drifted_rows(1))
    laptop.run()
    assert not is_published(laptop)
    assert condition(laptop, "OnlineSynced").reason == "Drifted"
    assert condition(laptop, "Ready").status.value == "False"
    # Trained on what came since, too: PSI is small then, because half of what is trained on looks like that.
    laptop.apply(
        training_set(shards={"rows": 1000}),
        monitored(onDrift="HoldPublish", drift=[{"metric": "PSI", "above": 5}]),
    )
    laptop.run()
    assert complete_numbers(laptop.storage, "set") == [1, 2]
    assert is_published(laptop)
    assert condition(laptop, "Ready").status.value == "True"


def test_how_far_values_lay_from_the_training_set_is_remembered_commit_by_commit(laptop: Laptop) -> None:
    laptop.drop("1.parquet", drifted_rows(1))
    laptop.run()
    drift = read_drift(laptop.storage, "view", laptop.build("view"))
    assert drift is not None
    assert [(past.commit, past.number) for past in drift.history] == [(1, 1), (2, 1)]
    first, second = (past.greatest["PSI"] for past in drift.history)
    assert first[0] == second[0] == "v"
    assert first[1] < 0.25 < second[1] == drift.features["v"]["PSI"]
    # Of another training set, distances say nothing about these.
    other = {**training_set(), "metadata": {"name": "other"}}
    laptop.apply(other, monitored(reference={"trainingSet": "other"}))
    laptop.run()
    drift = read_drift(laptop.storage, "view", laptop.build("view"))
    assert drift is not None
    assert [(past.commit, past.number) for past in drift.history] == [(2, 1)]


def test_what_is_remembered_is_bounded() -> None:
    drift = None
    for commit in range(HISTORY + 10):
        now = ViewDrift(version=commit, training_set="set", number=1, features={"v": {"PSI": 0.1}})
        drift = now.after(drift, commit)
    assert drift is not None
    assert [past.commit for past in drift.history] == [*range(9, HISTORY + 10)]


def test_the_condition_names_aggregated_features_as_not_compared(laptop: Laptop) -> None:
    assert condition(laptop, "Drifted").message.endswith("Aggregated, and not compared: n.")
    laptop.drop("1.parquet", drifted_rows(1))
    laptop.run()
    assert condition(laptop, "Drifted").message.endswith("Aggregated, and not compared: n.")


def test_before_there_is_a_training_set_nothing_is_held(tmp_path: Path) -> None:
    laptop = Laptop(tmp_path, NOON + timedelta(days=10))
    laptop.apply(PIPELINE, monitored(onDrift="HoldPublish"))
    laptop.drop("0.parquet", rows(1200))
    laptop.run()
    found = condition(laptop, "Drifted")
    assert (found.status.value, found.reason) == ("Unknown", "NotCompared")
    assert is_published(laptop)


def test_a_training_set_that_comes_later_is_compared_with_without_a_new_commit(tmp_path: Path) -> None:
    laptop = Laptop(tmp_path, NOON + timedelta(days=10))
    laptop.apply(PIPELINE, monitored())
    laptop.drop("0.parquet", rows(1200))
    laptop.run()
    laptop.apply(training_set())
    laptop.run()
    assert condition(laptop, "Drifted").reason == "WithinThresholds"
    found = read_drift(laptop.storage, "view", laptop.build("view"))
    assert found is not None
    assert (found.number, set(found.features), found.rows) == (1, {"v"}, 1200)
    assert laptop.storage.names(paths.references("view"))
