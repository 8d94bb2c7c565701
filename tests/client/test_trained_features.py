"""What a model reads is what its training set had, and it is told where that is defined otherwise now."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from laptop import Laptop, view_of
from training import begin, rows, training_set

from featurestore.client.trained_features import TrainedFeatures
from featurestore.errors import RequestError
from featurestore.views.served import ServedViews

SERVICE = {"kind": "FeatureService", "metadata": {"name": "model"}, "spec": {"features": ["view:*"]}}


def view(**spec: Any) -> dict[str, Any]:
    whole = view_of("v")
    return {**whole, "spec": {**whole["spec"], **spec}}


def features(*more: dict[str, Any]) -> list[dict[str, Any]]:
    return [*view_of("v")["spec"]["features"], *more]


@pytest.fixture
def laptop(tmp_path: Path) -> Laptop:
    """A training set of a service, which is made."""
    laptop = begin(tmp_path, rows(40))
    laptop.apply(SERVICE, training_set(features={"service": "model"}))
    laptop.run()
    return laptop


def trained(laptop: Laptop, **arguments: Any) -> TrainedFeatures:
    return TrainedFeatures.of(laptop.store(laptop.now).training_set("set"), **arguments)


def check(laptop: Laptop, of: TrainedFeatures) -> None:
    of.require_same(laptop.storage, ServedViews(laptop.storage))


def test_features_are_named_one_by_one_and_survive_being_written(laptop: Laptop) -> None:
    found = trained(laptop)
    assert found.to_dict()["features"] == [{"view": "view", "features": ["v", "n_1d"]}]
    assert TrainedFeatures.read(found.to_dict(), "model") == found
    check(laptop, found)


def test_a_feature_that_a_view_gets_later_is_not_read_and_changes_nothing(laptop: Laptop) -> None:
    found = trained(laptop)
    laptop.apply(view(features=features({"name": "w", "type": "float64", "column": "w"}), tags={"a": "b"}))
    laptop.run()
    check(laptop, found)
    answer = laptop.store(laptop.now).get_online_features(found.features, [{"k": "e1"}])
    assert list(answer.to_dict()) == ["k", "v", "n_1d"]


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({"ttl": "1h"}, "ttl was None, and is"),
        ({"filter": "v > 10"}, "filter was None, and is 'v > 10'"),
        (
            {"features": [{"name": "v", "type": "int64", "expression": "v + 1"}, features()[1]]},
            "'v' was defined otherwise",
        ),
    ],
)
def test_a_feature_that_is_defined_otherwise_than_in_training_is_refused(
    laptop: Laptop, spec: dict[str, Any], told: str
) -> None:
    found = trained(laptop)
    laptop.apply(view(**spec))
    laptop.run()
    with pytest.raises(RequestError, match=told):
        check(laptop, found)


def test_columns_that_are_not_known_at_inference_and_sets_without_features_are_refused(
    laptop: Laptop,
) -> None:
    with pytest.raises(RequestError, match="no column 'w' that is known at inference"):
        trained(laptop, columns=["v", "w"])
    store = laptop.store(laptop.now)
    labels = [{"k": "e1", "ts": laptop.now, "w": 1.0}]
    saved = store.save_training_set(
        "ad-hoc", store.get_features(["view:v"], labels, timestamp_column="ts"), labels=["w"]
    )
    with pytest.raises(RequestError, match="saved ad hoc"):
        TrainedFeatures.of(saved)
    with pytest.raises(RequestError, match="logged with its training set"):
        TrainedFeatures.read(None, "models:/m/1")
