"""What applying would change is said before it is done, and doing it twice changes nothing."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from featurestore.registry.changeset import Before, Change, ChangeAction, Dataset, apply, plan
from featurestore.registry.diff import Difference, differences
from featurestore.registry.registry import Registry
from featurestore.resources import DataPipeline, FeatureStore, FeatureView, Resource
from featurestore.storage.objects import Storage

STORE: dict[str, Any] = {"metadata": {"name": "default"}, "spec": {"offline": {"uri": "data"}}}
PIPELINE: dict[str, Any] = {
    "metadata": {"name": "flights"},
    "spec": {"source": {"uri": "raw/*.parquet", "format": "Parquet"}},
}
VIEW: dict[str, Any] = {
    "metadata": {"name": "delays"},
    "spec": {
        "entity": {"name": "aircraft", "joinKeys": [{"name": "tailnum", "type": "string"}]},
        "source": {"pipeline": "flights"},
        "timestampField": "arrived_at",
        "features": [
            {"name": "delay", "type": "float64", "column": "delay"},
            {
                "name": "n",
                "type": "int64",
                "aggregate": {"function": "Count", "column": "delay", "windows": ["1d", "7d"]},
            },
        ],
    },
}
DATASETS = {
    "flights": Dataset(
        rows=1000, size_bytes=64_000, columns=dict.fromkeys(("tailnum", "delay", "arrived_at"), "")
    )
}


def changed(value: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {**value, "spec": {**copy.deepcopy(value["spec"]), **spec}}


def store(**spec: Any) -> FeatureStore:
    return FeatureStore.model_validate(changed(STORE, **spec))


def pipeline(**spec: Any) -> DataPipeline:
    return DataPipeline.model_validate(changed(PIPELINE, **spec))


def view(**spec: Any) -> FeatureView:
    return FeatureView.model_validate(changed(VIEW, **spec))


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    registry = Registry(Storage(str(tmp_path)))
    for resource in (store(), pipeline(), view()):
        registry.accept(resource)
    return registry


def planned(resource: Resource, registry: Registry) -> Change:
    (change,) = plan([resource], Before.of(registry, DATASETS)).changes
    return change


def test_the_first_time_all_is_created_and_built_as_batches_arrive() -> None:
    changeset = plan([view(), store(), pipeline()], Before())
    assert [change.action for change in changeset.changes] == [ChangeAction.CREATE] * 3
    assert [change.resource.kind for change in changeset.changes] == [
        "FeatureStore",
        "DataPipeline",
        "FeatureView",
    ]
    assert changeset.changes[2].rebuild == "new"
    assert changeset.changes[2].rows is None
    assert "has no dataset yet" in changeset.changes[2].notes[0]


def test_applying_the_same_thing_twice_changes_nothing(registry: Registry) -> None:
    changeset = plan([store(), pipeline(), view()], Before.of(registry, DATASETS))
    assert changeset.is_empty
    assert changeset.count(ChangeAction.UNCHANGED) == 3
    assert all(not change.notes and not change.rebuild for change in changeset.changes)


def test_what_was_planned_is_what_is_applied(registry: Registry) -> None:
    desired = [store(owner="ops"), pipeline(suspend="Suspended"), view(ttl="1d")]
    changeset = plan(desired, Before.of(registry, DATASETS))
    apply(changeset, registry)
    assert registry.store() == desired[0]
    assert registry.all(DataPipeline)["flights"].digest == changeset.changes[1].digest
    assert registry.all(FeatureView)["delays"].resource == desired[2]
    assert plan(desired, Before.of(registry, DATASETS)).is_empty


def test_applying_again_after_a_part_was_applied_ends_in_the_same(registry: Registry) -> None:
    changeset = plan([pipeline(owner="ops"), view(owner="ops")], Before.of(registry, DATASETS))
    registry.accept(changeset.changes[0].resource)
    apply(changeset, registry)
    apply(changeset, registry)
    assert plan([pipeline(owner="ops"), view(owner="ops")], Before.of(registry, DATASETS)).is_empty


def test_resources_that_are_not_given_stay(registry: Registry) -> None:
    apply(plan([view(ttl="1d")], Before.of(registry, DATASETS)), registry)
    assert list(registry.all(DataPipeline)) == ["flights"]


def test_a_new_view_on_a_dataset_reads_all_of_it(registry: Registry) -> None:
    other = FeatureView.model_validate({**VIEW, "metadata": {"name": "other"}})
    change = planned(other, registry)
    assert (change.action, change.rebuild, change.rows, change.size_bytes) == (
        ChangeAction.CREATE,
        "new",
        1000,
        64_000,
    )


def test_a_changed_definition_is_built_again_and_the_old_build_keeps_serving(registry: Registry) -> None:
    features = copy.deepcopy(VIEW["spec"]["features"])
    features[0]["expression"] = f"{features[0].pop('column')} / 60.0"
    change = planned(view(features=features), registry)
    assert change.action is ChangeAction.UPDATE
    assert change.rebuild == (
        "spec.features.delay.column: removed delay; spec.features.delay.expression: added delay / 60.0"
    )
    assert (change.rows, change.size_bytes) == (1000, 64_000)
    assert change.notes == ("The build that serves now keeps serving until the new one is complete",)


@pytest.mark.parametrize(
    "spec",
    [
        {"timestampField": "landed_at"},
        {"createdTimestampField": "known_at"},
        {"filter": "delay > 0"},
        {"source": {"pipeline": "landings"}},
        {"entity": {"name": "aircraft", "joinKeys": [{"name": "tail", "type": "string"}]}},
        {"features": VIEW["spec"]["features"][:1]},
    ],
    ids=lambda spec: next(iter(spec)),
)
def test_all_that_stored_rows_depend_on_builds_the_view_again(
    spec: dict[str, Any], registry: Registry
) -> None:
    change = planned(view(**spec), registry)
    assert change.rebuild
    assert f"spec.{next(iter(spec))}" in change.rebuild


@pytest.mark.parametrize(
    "spec",
    [
        {"ttl": "7d"},
        {"owner": "ops"},
        {"tags": {"a": "b"}},
        {"description": "Delays."},
        {"online": {"enabled": "Never"}},
        {"suspend": "Suspended"},
        {
            "features": [
                {**VIEW["spec"]["features"][0], "description": "Minutes."},
                VIEW["spec"]["features"][1],
            ]
        },
    ],
    ids=lambda spec: next(iter(spec)),
)
def test_what_stored_rows_do_not_depend_on_builds_nothing(spec: dict[str, Any], registry: Registry) -> None:
    change = planned(view(**spec), registry)
    assert change.action is ChangeAction.UPDATE
    assert (change.rebuild, change.rows, change.size_bytes) == ("", None, None)


def test_features_and_windows_that_go_away_are_named(registry: Registry) -> None:
    features = copy.deepcopy(VIEW["spec"]["features"])[1:]
    features[0]["aggregate"]["windows"] = ["7d", "30d"]
    assert planned(view(features=features), registry).gone == ("delay", "n_1d")


def test_a_changed_pipeline_says_that_only_new_batches_are_concerned(registry: Registry) -> None:
    steps = [{"filter": {"where": "delay IS NOT NULL"}}]
    change = planned(pipeline(transforms=steps, suspend="Suspended"), registry)
    assert change.notes == (
        "transforms: for new batches only; committed rows stay as they are",
        "To run them again: featurestore rebuild pipeline flights --plan",
        "To run what is in quarantine again: featurestore quarantine replay flights",
        "suspend: at once",
    )


@pytest.mark.parametrize(
    ("before", "after", "gone"),
    [
        ([], [{"drop": {"columns": ["delay"]}}], ("delay",)),
        ([], [{"rename": {"columns": {"delay": "late"}}}], ("delay",)),
        ([], [{"select": {"columns": ["tailnum", "arrived_at"]}}], ("delay",)),
        ([{"derive": {"columns": {"delay": "a - b"}}}], [], ("delay",)),
        ([{"rename": {"columns": {"late": "delay"}}}], [], ("delay",)),
        ([{"derive": {"columns": {"delay": "a - b"}}}], [{"derive": {"columns": {"delay": "b - a"}}}], ()),
        (
            [{"drop": {"columns": ["delay"]}}],
            [{"drop": {"columns": ["delay"]}}, {"sort": {"by": [{"column": "tailnum"}]}}],
            (),
        ),
        ([], [{"drop": {"columns": ["delay"]}}, {"derive": {"columns": {"delay": "b"}}}], ()),
        ([], [{"drop": {"columns": ["delay"]}}, {"sql": {"query": "SELECT * FROM self"}}], ()),
    ],
)
def test_columns_of_a_dataset_that_go_away_are_named_where_the_steps_tell(
    before: list[Any], after: list[Any], gone: tuple[str, ...], registry: Registry
) -> None:
    registry.accept(pipeline(transforms=before))
    change = planned(pipeline(transforms=after), registry)
    assert change.gone == gone
    assert ("View 'delays' reads 'delay'" in change.notes) == bool(gone)


def test_how_jobs_are_started_and_what_becomes_of_data_apply_at_once_and_change_no_row(
    registry: Registry,
) -> None:
    job = {"template": {"image": "registry.example.com/flights"}}
    change = planned(pipeline(job=job, deletionPolicy="Delete"), registry)
    assert change.notes == ("deletionPolicy, job: at once",)
    assert [str(it) for it in change.differences] == [
        "spec.deletionPolicy: added Delete",
        "spec.job: added {template: {image: registry.example.com/flights}}",
    ]


def test_what_becomes_of_a_views_data_applies_at_once(registry: Registry) -> None:
    change = planned(view(deletionPolicy="Delete", resources={"memory": "1Gi"}), registry)
    assert change.rebuild == ""
    assert "deletionPolicy, resources: at once, nothing is computed again" in change.notes


def test_a_new_place_of_files_says_that_old_ones_stay_taken(registry: Registry) -> None:
    change = planned(pipeline(source={"uri": "other/*.parquet", "format": "Parquet"}), registry)
    assert "Files that were taken from the old place stay taken" in change.notes


def test_another_online_store_is_filled_and_the_old_one_left(registry: Registry) -> None:
    change = planned(store(online={"redis": {"url": "redis://redis:6379/0"}}), registry)
    assert "All views are published to the new online store" in change.notes[0]


def test_another_uri_of_the_same_root_moves_nothing(registry: Registry) -> None:
    change = planned(store(offline={"uri": "/srv/data"}), registry)
    assert change.action is ChangeAction.UPDATE
    assert change.notes == ("The store is the same, under another URI: nothing is moved",)


def test_the_changeset_is_json(registry: Registry) -> None:
    other = FeatureView.model_validate({**VIEW, "metadata": {"name": "other"}})
    changeset = plan([store(), pipeline(owner="ops"), other], Before.of(registry, DATASETS))
    said = json.loads(json.dumps(changeset.to_dict()))
    assert (said["create"], said["update"], said["unchanged"]) == (1, 1, 1)
    assert (said["rowsToRead"], said["bytesToRead"]) == (1000, 64_000)
    assert said["changes"][1]["differences"] == [{"path": "spec.owner", "old": None, "new": "ops"}]
    assert said["changes"][2]["name"] == "other"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": 2}, ["a: 1 → 2"]),
        ({}, {"a": True}, ["a: added true"]),
        ({"a": {"b": [1]}}, {}, ["a: removed {b: [1]}"]),
        ({"a": "1"}, {"a": 1}, ["a: 1 → 1"]),
        ({"a": True}, {"a": 1}, ["a: true → 1"]),
        (
            [{"name": "x", "v": 1}],
            [{"name": "y"}, {"name": "x", "v": 2}],
            ["x.v: 1 → 2", "y: added {name: y}"],
        ),
        ([{"name": "x"}, {"name": "y"}], [{"name": "y"}, {"name": "x"}], ["order: x, y → y, x"]),
        ({"a": {"b": 1}}, {"a": [1]}, ["a: {b: 1} → [1]"]),
        ([], [], []),
    ],
)
def test_differences_are_named_field_by_field(old: Any, new: Any, said: list[str]) -> None:
    assert [str(difference) for difference in differences(old, new)] == said


def test_a_difference_keeps_its_parts() -> None:
    assert differences({"a": [1]}, {"a": [1, 2]}) == (Difference(("a", "1"), None, 2),)
