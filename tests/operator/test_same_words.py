"""What is wrong with a spec reads in a cluster as on a laptop: in the webhook's answer and in the condition."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from featurestore.registry.changeset import Before, Dataset
from featurestore.registry.registry import Registry
from featurestore.resources import DataPipeline, FeatureView
from featurestore.resources.document import load
from featurestore.resources.kinds import KINDS
from featurestore.resources.reference import KnownResources, check_references
from featurestore.storage.objects import Storage
from featurestore_operator.namespaces.acceptance import decide
from featurestore_operator.webhook.admission import review

PIPELINE = {
    "apiVersion": "featurestore.dev/v1alpha1",
    "kind": "DataPipeline",
    "metadata": {"name": "flights"},
    "spec": {"source": {"uri": "s3://raw/flights/*.csv", "format": "CSV"}},
}
VIEW = {
    "apiVersion": "featurestore.dev/v1alpha1",
    "kind": "FeatureView",
    "metadata": {"name": "delays"},
    "spec": {
        "entity": {"name": "aircraft", "joinKeys": [{"name": "tailnum", "type": "string"}]},
        "source": {"pipeline": "flights"},
        "timestampField": "landed",
        "features": [{"name": "delay", "type": "float64", "column": "delay"}],
    },
}
SERVICE = {
    "apiVersion": "featurestore.dev/v1alpha1",
    "kind": "FeatureService",
    "metadata": {"name": "model"},
    "spec": {"features": ["delays:delay"]},
}
ON_DEMAND = {
    "apiVersion": "featurestore.dev/v1alpha1",
    "kind": "FeatureView",
    "metadata": {"name": "ratios"},
    "spec": {
        "onDemand": {"request": [{"name": "minutes", "type": "float64"}], "inputs": ["delays:delay"]},
        "features": [{"name": "ratio", "type": "float64", "expression": "delay / minutes"}],
    },
}
COLUMNS = {"tailnum": "string", "landed": "timestamp", "delay": "float64"}


def with_spec(resource: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {**resource, "spec": {**resource["spec"], **spec}}


def aggregate(**more: Any) -> dict[str, Any]:
    feature = {"name": "d", "type": "float64", "aggregate": {"function": "Mean", "column": "delay", **more}}
    return with_spec(VIEW, features=[feature])


WRONG = {
    "a hop that is too long": aggregate(windows=["1h"], hop="2h"),
    "a window of too many hops": aggregate(windows=["30d"], hop="1s"),
    "a duration that is none": aggregate(windows=["1 fortnight"]),
    "windows of two features with one name": with_spec(
        VIEW,
        features=[
            {
                "name": "d",
                "type": "int64",
                "aggregate": {"function": "Count", "column": "delay", "windows": ["1d"]},
            },
            {"name": "d_1d", "type": "float64", "column": "delay"},
        ],
    ),
    "a field that does not exist": with_spec(VIEW, timestampFeild="landed"),
    "a value of an enum": with_spec(VIEW, online={"enabled": "Alway"}),
    "a list in the place of a text": with_spec(VIEW, timestampField=["landed"]),
    "a missing field": {**VIEW, "spec": {key: it for key, it in VIEW["spec"].items() if key != "entity"}},  # type: ignore[attr-defined]
    "a column that is not there": with_spec(VIEW, timestampField="landd"),
    "an expression that cannot be read": with_spec(VIEW, filter="delay >"),
    "an expression over a column that is not there": with_spec(VIEW, filter="dely > 1"),
    "names of columns in a mapping": with_spec(PIPELINE, transforms=[{"rename": {"columns": {"a": "__b"}}}]),
    "a query with two statements": with_spec(PIPELINE, transforms=[{"sql": {"query": "SELECT 1; SELECT 2"}}]),
    "a pipeline that looks itself up": with_spec(
        PIPELINE,
        transforms=[{"lookup": {"pipeline": "flights", "keys": {"a": "a"}, "columns": {"b": "c"}}}],
    ),
    "a feature that is in no view": with_spec(SERVICE, features=["delays:dely"]),
    "a join key that a view does not have": with_spec(
        SERVICE, features=[{"view": "delays", "joinKeyMap": {"tail": "spare"}}]
    ),
    "an item that names no feature": with_spec(SERVICE, features=["delays:"]),
    "a feature twice": with_spec(SERVICE, features=["delays:*", "delays:delay"]),
    "an input that is in no view": with_spec(ON_DEMAND, onDemand={"inputs": ["delays:dely"]}),
    "an expression over what is no input": with_spec(
        ON_DEMAND, features=[{"name": "r", "type": "float64", "expression": "delay / minuts"}]
    ),
    "an expression of another type": with_spec(
        ON_DEMAND, features=[{"name": "r", "type": "timestamp", "expression": "delay / minutes"}]
    ),
    "a view on demand with a ttl": with_spec(ON_DEMAND, ttl="1d"),
    "a view that becomes one on demand": {**ON_DEMAND, "metadata": {"name": "delays"}},
    "two things at once": with_spec(VIEW, filter="delay >", timestampField="landd"),
}


THERE = (DataPipeline.model_validate(PIPELINE), FeatureView.model_validate(VIEW))


def on_a_laptop(value: dict[str, Any], folder: Path) -> list[str]:
    """What ``featurestore apply`` says, but for the file and the line."""
    file = folder / "spec.yaml"
    file.write_text(yaml.safe_dump(value, sort_keys=False))
    loaded = load([file])
    known = KnownResources(THERE, {"flights": COLUMNS}, growing=True)
    problems = [*loaded.problems, *check_references(loaded.declared, known)]
    return [re.sub(rf"{re.escape(str(file))}:\d+: ", "", str(problem)) for problem in problems]


@pytest.mark.parametrize("value", WRONG.values(), ids=WRONG)
def test_webhook_and_condition_say_what_apply_says(value: dict[str, Any], tmp_path: Path) -> None:
    said = on_a_laptop(value, tmp_path)
    assert said
    known = Before(THERE, {"flights": Dataset(1, 1, COLUMNS)})
    answer = review({"operation": "CREATE", "object": value, "oldObject": None}, known)
    registry = Registry(Storage(str(tmp_path / "root")))
    for resource in THERE:
        registry.accept(resource)
    decision = decide(KINDS[value["kind"]].model, value, registry, lambda name: COLUMNS)
    assert not answer.allowed
    assert sorted(answer.message.split("; ")) == sorted(said)
    assert sorted(decision.problem.split("; ")) == sorted(said)
