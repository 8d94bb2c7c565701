"""The webhook refuses what several objects make wrong, says what follows, and is in nobody's way."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from featurestore.registry.changeset import Before, Dataset
from featurestore.resources import DataPipeline, FeatureService, FeatureStore, FeatureView, OnDemandView
from featurestore.resources.kinds import KINDS
from featurestore_operator.webhook.admission import Review, review

API = "featurestore.dev/v1alpha1"
STORE: dict[str, Any] = {
    "apiVersion": API,
    "kind": "FeatureStore",
    "metadata": {"name": "default"},
    "spec": {"offline": {"uri": "s3://features"}},
}
PIPELINE: dict[str, Any] = {
    "apiVersion": API,
    "kind": "DataPipeline",
    "metadata": {"name": "flights"},
    "spec": {"source": {"uri": "s3://raw/*.parquet", "format": "Parquet"}},
}
VIEW: dict[str, Any] = {
    "apiVersion": API,
    "kind": "FeatureView",
    "metadata": {"name": "delays"},
    "spec": {
        "entity": {"name": "aircraft", "joinKeys": [{"name": "tailnum", "type": "string"}]},
        "source": {"pipeline": "flights"},
        "timestampField": "landed",
        "features": [{"name": "delay", "type": "float64", "column": "delay"}],
    },
}
COLUMNS = {"tailnum": "string", "landed": "timestamp", "delay": "float64", "distance": "int64"}
STORED = FeatureStore.model_validate(STORE)
FLIGHTS = DataPipeline.model_validate(PIPELINE)
DELAYS = FeatureView.model_validate(VIEW)
KNOWN = Before(
    (STORED, FLIGHTS, DELAYS),
    {"flights": Dataset(rows=1200, size_bytes=3 * 1024**2, columns=COLUMNS)},
)


def changed(value: dict[str, Any], name: str | None = None, **spec: Any) -> dict[str, Any]:
    return {
        **value,
        "metadata": {"name": name or value["metadata"]["name"]},
        "spec": {**copy.deepcopy(value["spec"]), **spec},
    }


def with_lookup(name: str, of: str) -> dict[str, Any]:
    lookup = {"pipeline": of, "keys": {"tailnum": "tailnum"}, "columns": {"seats": "seats"}}
    return changed(PIPELINE, name, transforms=[{"lookup": lookup}])


def knowing(*objects: dict[str, Any]) -> Before:
    pipelines = (DataPipeline.model_validate(it) for it in objects)
    return Before((*KNOWN.resources, *pipelines), KNOWN.datasets)


def created(value: dict[str, Any], known: Before | None = KNOWN) -> Review:
    return review({"operation": "CREATE", "object": value, "oldObject": None}, known)


def updated(value: dict[str, Any], before: dict[str, Any], known: Before | None = KNOWN) -> Review:
    return review({"operation": "UPDATE", "object": value, "oldObject": before}, known)


def deleted(value: dict[str, Any], known: Before | None = KNOWN) -> Review:
    return review({"operation": "DELETE", "object": None, "oldObject": value}, known)


def test_what_is_right_and_new_passes_in_silence() -> None:
    for value in (STORE, PIPELINE, VIEW, changed(VIEW, "others"), changed(PIPELINE, "weather")):
        assert created(value) == Review(True)


def test_who_would_serve_every_feature_to_everybody_is_warned_and_half_an_authentication_is_refused() -> None:
    open_to_all = changed(STORE, serving={"auth": "None"})
    for answer in (created(open_to_all), updated(open_to_all, STORE)):
        assert answer.allowed
        assert "spec.serving.auth is None" in answer.warnings[0]
    assert created(changed(STORE, serving={})) == Review(True)
    refused = updated(changed(STORE, serving={"auth": "Token"}), STORE)
    assert not refused.allowed
    assert "takes a tokenSecretRef" in refused.message


def test_a_column_that_the_dataset_lacks_is_refused() -> None:
    wrong = changed(VIEW, features=[{"name": "delay", "type": "float64", "column": "dlay"}])
    answer = updated(wrong, VIEW)
    assert not answer.allowed
    assert answer.message == ("unknown column 'dlay': in spec.features[0].column. Did you mean 'delay'?")


def test_an_expression_that_would_read_files_is_refused() -> None:
    wrong = changed(PIPELINE, transforms=[{"sql": {"query": "SELECT * FROM read_csv('/etc/passwd')"}}])
    assert not updated(wrong, PIPELINE).allowed


def test_pipelines_that_look_each_other_up_are_refused_however_long_the_way() -> None:
    known = knowing(with_lookup("b", "c"), with_lookup("c", "a"))
    answer = created(with_lookup("a", "b"), known)
    assert not answer.allowed
    assert "got a → b → c → a" in answer.message
    assert created(with_lookup("d", "b"), known).allowed


@pytest.mark.parametrize("uri", ["file://data/*.parquet", "file:///mnt/data/*.parquet"])
def test_a_file_url_is_refused_in_a_cluster(uri: str) -> None:
    pipeline = changed(PIPELINE, source={"uri": uri, "format": "Parquet"})
    for resource in (pipeline, changed(STORE, offline={"uri": uri})):
        answer = created(resource)
        assert not answer.allowed
        assert "a file: URL does not name a place in a cluster" in answer.message


@pytest.mark.parametrize("uri", ["data/*.parquet", "~/data/*.parquet"])
def test_a_path_that_is_relative_is_refused_with_where_and_what_to_do(uri: str) -> None:
    answer = created(changed(PIPELINE, source={"uri": uri, "format": "Parquet"}))
    assert not answer.allowed
    assert answer.message == (
        "a relative path does not name a place in a cluster: in spec.source.uri, wanted a URL such as "
        f"s3://bucket/folder/*.parquet, or an absolute path on a volume that all pods mount, got {uri!r}. "
        "On a laptop it begins at the folder of store.yaml; no pod has that folder"
    )
    store = created(changed(STORE, offline={"uri": uri}))
    assert not store.allowed
    assert "in spec.offline.uri, wanted a URL such as s3://bucket/folder, " in store.message
    assert "delete the existing one, and apply it again" in store.message


@pytest.mark.parametrize("uri", ["/mnt/data", "s3://features"])
def test_a_place_on_a_volume_is_as_good_as_a_url(uri: str) -> None:
    assert created(changed(STORE, offline={"uri": uri})).allowed
    assert created(changed(PIPELINE, source={"uri": f"{uri}/*.csv", "format": "CSV"})).allowed


def test_what_is_named_and_not_there_yet_is_a_warning() -> None:
    answer = created(changed(VIEW, "others", source={"pipeline": "weather"}))
    assert answer == Review(True, "", ("FeatureView 'others' waits: there is no DataPipeline 'weather' yet",))
    assert created(with_lookup("a", "b")).warnings == (
        "DataPipeline 'a' waits: there is no DataPipeline 'b' yet",
    )


def test_a_view_that_is_built_again_says_what_that_reads() -> None:
    answer = updated(changed(VIEW, filter="distance > 100"), VIEW)
    assert answer.allowed
    assert answer.warnings[0] == (
        "FeatureView 'delays' rebuilds beside the build that serves: reads 1,200 rows, 3.0 MiB"
    )
    assert "keeps serving until the new one is complete" in answer.warnings[1]


def test_features_that_go_away_are_said() -> None:
    other = [{"name": "distance", "type": "float64", "column": "distance"}]
    answer = updated(changed(VIEW, features=other), VIEW)
    assert answer.warnings[0] == "FeatureView 'delays' loses delay: its readers will not find it"


SERVICE: dict[str, Any] = {
    "apiVersion": API,
    "kind": "FeatureService",
    "metadata": {"name": "model"},
    "spec": {"features": ["delays:delay"]},
}
WITH_SERVICE = Before((STORED, FLIGHTS, DELAYS, FeatureService.model_validate(SERVICE)), KNOWN.datasets)


def test_a_changed_view_says_which_services_it_breaks() -> None:
    other = [{"name": "distance", "type": "float64", "column": "distance"}]
    answer = updated(changed(VIEW, features=other), VIEW, WITH_SERVICE)
    assert answer.allowed
    assert "FeatureView 'delays': Service 'model' reads 'delay'" in answer.warnings
    assert "FeatureView 'delays' is read by FeatureService 'model'" in answer.warnings
    assert answer.warnings[-1].startswith(
        "FeatureService 'model' becomes invalid: the view 'delays' has no feature 'delay'"
    )


def test_deleting_a_view_says_which_services_read_it() -> None:
    assert deleted(VIEW, WITH_SERVICE).warnings == (
        "FeatureView 'delays' is read by FeatureService 'model': they will not find it",
    )


def test_a_service_of_what_is_not_there_yet_waits_and_one_of_a_wrong_feature_is_refused() -> None:
    assert created(SERVICE, Before((STORED,))).warnings == (
        "FeatureService 'model' waits: there is no FeatureView 'delays' yet",
    )
    wrong = created(changed(SERVICE, features=["delays:dely"]))
    assert (wrong.allowed, wrong.message) == (
        False,
        "the view 'delays' has no feature 'dely': in spec.features[0]. Did you mean 'delay'?",
    )


ON_DEMAND: dict[str, Any] = {
    "apiVersion": API,
    "kind": "FeatureView",
    "metadata": {"name": "ratios"},
    "spec": {
        "onDemand": {"inputs": ["delays:delay"]},
        "features": [{"name": "half", "type": "float64", "expression": "delay / 2"}],
    },
}


def test_a_view_on_demand_is_taken_and_named_where_it_reads_what_goes_away() -> None:
    assert created(ON_DEMAND) == Review(True)
    known = Before((STORED, FLIGHTS, DELAYS, OnDemandView.model_validate(ON_DEMAND)), KNOWN.datasets)
    other = [{"name": "distance", "type": "float64", "column": "distance"}]
    answer = updated(changed(VIEW, features=other), VIEW, known)
    assert "FeatureView 'delays': View 'ratios' reads 'delay'" in answer.warnings
    assert (
        "FeatureView 'ratios' becomes invalid: the view 'delays' has no feature 'delay'"
        in answer.warnings[-2] + answer.warnings[-1]
    )
    assert deleted(VIEW, known).warnings == (
        "FeatureView 'delays' is read by FeatureView 'ratios': they will not find it",
    )


def test_a_changed_pipeline_says_who_reads_it_and_what_breaks() -> None:
    declared = [{"name": name, "type": "string"} for name in ("tailnum", "landed", "delay")]
    policy = {"newColumn": "Ignore"}
    before = changed(PIPELINE, "weather", columns=declared, schemaPolicy=policy)
    view = FeatureView.model_validate(changed(VIEW, source={"pipeline": "weather"}))
    known = Before((STORED, DataPipeline.model_validate(before), view))
    answer = updated(changed(before, transforms=[{"drop": {"columns": ["delay"]}}]), before, known)
    assert answer.allowed
    assert "DataPipeline 'weather' is read by FeatureView 'delays'" in answer.warnings
    assert answer.warnings[-1].startswith("FeatureView 'delays' becomes invalid: unknown column 'delay'")


def test_deleting_what_others_read_is_a_warning_and_never_refused() -> None:
    assert deleted(PIPELINE) == Review(
        True,
        "",
        ("DataPipeline 'flights' is read by FeatureView 'delays': without it, it gets no new rows",),
    )
    assert deleted(STORE).warnings == (
        "1 DataPipeline and 1 FeatureView stop without a FeatureStore; the data in storage stays",
    )
    assert deleted(VIEW) == Review(True)


def test_deleting_data_with_the_object_is_said() -> None:
    [warning] = deleted(changed(VIEW, deletionPolicy="Delete")).warnings
    assert warning == "The data of FeatureView 'delays' is deleted with it (spec.deletionPolicy: Delete)"


def test_what_was_wrong_before_can_still_be_labeled_released_and_deleted() -> None:
    wrong = changed(VIEW, timestampField="nowhere")
    assert not created(wrong).allowed
    labeled = {**wrong, "metadata": {"name": "delays", "labels": {"a": "b"}}}
    assert updated(labeled, wrong) == Review(True)
    released = {**wrong, "metadata": {"name": "delays", "deletionTimestamp": "2013-01-01T00:00:00Z"}}
    assert updated(released, changed(VIEW)) == Review(True)
    assert deleted(wrong).allowed


@pytest.mark.parametrize("value", [STORE, PIPELINE, VIEW, changed(VIEW, timestampField="nowhere")])
def test_where_nothing_can_be_known_nothing_is_refused(value: dict[str, Any]) -> None:
    assert created(value, None) == Review(True)


def test_a_long_list_of_names_is_cut() -> None:
    views = (FeatureView.model_validate(changed(VIEW, f"v{n}")) for n in range(40))
    [warning] = deleted(PIPELINE, Before((STORED, FLIGHTS, *views))).warnings
    assert "and 35 more" in warning
    assert len(warning) < 256


def test_the_answer_is_an_admission_review() -> None:
    assert Review(False, "why", ("so",)).to_dict("7") == {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "response": {
            "uid": "7",
            "allowed": False,
            "status": {"code": 422, "reason": "Invalid", "message": "why"},
            "warnings": ["so"],
        },
    }


TYPED = changed(
    PIPELINE,
    "typed",
    columns=[
        {"name": "tailnum", "type": "string"},
        {"name": "landed", "type": "timestamp"},
        {"name": "late", "type": "bool"},
    ],
    schemaPolicy={"newColumn": "Ignore"},
)


@pytest.mark.parametrize("pipeline", ["flights", "typed"])
def test_a_column_whose_type_does_not_fit_is_refused_by_the_dataset_and_by_what_its_pipeline_declares(
    pipeline: str,
) -> None:
    known = Before(
        (*KNOWN.resources, DataPipeline.model_validate(TYPED)),
        {"flights": Dataset(rows=1, size_bytes=1, columns={**COLUMNS, "late": "bool"})},
    )
    feature = {"name": "at", "type": "timestamp", "column": "late"}
    wrong = changed(VIEW, "others", source={"pipeline": pipeline}, features=[feature])
    assert created(wrong, known).message == (
        "the values of column 'late' do not fit: in spec.features[0].type, wanted timestamp, got bool. "
        "Derive a column of that type in the pipeline, or declare another type"
    )
    right = changed(wrong, features=[{**feature, "type": "int64"}])
    assert created(right, known) == Review(True)


def test_an_expression_whose_values_do_not_fit_its_feature_is_refused() -> None:
    feature = {"name": "at", "type": "timestamp", "expression": "distance / 2"}
    assert created(changed(VIEW, "others", features=[feature])).message == (
        "the values of the expression do not fit: in spec.features[0].type, wanted timestamp, "
        "got distance / 2, which is float"
    )
    assert created(changed(VIEW, "others", features=[{**feature, "type": "float32"}])) == Review(True)


def test_a_view_and_a_service_of_one_name_are_refused_whichever_comes_second() -> None:
    service = {
        "apiVersion": API,
        "kind": "FeatureService",
        "metadata": {"name": "delays"},
        "spec": {"features": ["others:delay"]},
    }
    said = "in metadata.name, got 'delays'. get_features() would not know which of them is meant: give one another name"
    assert created(service).message == f"a view has the name of this service: {said}"
    known = Before((STORED, FLIGHTS, FeatureService.model_validate(service)), KNOWN.datasets)
    assert created(VIEW, known).message == f"a service has the name of this view: {said}"


LABELS = {"pipeline": "flights", "timestampField": "landed", "columns": ["delay"]}
TRAINING_SET = {
    **PIPELINE,
    "kind": "TrainingSet",
    "metadata": {"name": "set"},
    "spec": {"features": {"names": ["delays:delay"]}, "labels": LABELS},
}
ERASURE = {
    **PIPELINE,
    "kind": "Erasure",
    "metadata": {"name": "request-17"},
    "spec": {"view": "delays", "keys": {"uri": "s3://legal/gone.csv"}},
}
MONITORED = {"reference": {"trainingSet": "dealys"}, "drift": [{"metric": "PSI", "above": 0.2}]}
NAMES = {
    "DataPipeline": ["flights", "weather"],
    "FeatureView": ["delays"],
    "FeatureService": ["delays"],
    "TrainingSet": ["delays"],
}


@pytest.mark.parametrize(
    ("value", "kind", "near"),
    [
        (changed(VIEW, "others", source={"pipeline": "flihgts"}), "DataPipeline", "flights"),
        (with_lookup("others", "flihgts"), "DataPipeline", "flights"),
        (changed(SERVICE, features=["dealys:delay"]), "FeatureView", "delays"),
        (changed(SERVICE, features=[{"view": "dealys"}]), "FeatureView", "delays"),
        (changed(ON_DEMAND, onDemand={"inputs": ["dealys:delay"]}), "FeatureView", "delays"),
        (changed(TRAINING_SET, features={"names": ["dealys:delay"]}), "FeatureView", "delays"),
        (changed(TRAINING_SET, features={"service": "dealys"}), "FeatureService", "delays"),
        (changed(TRAINING_SET, labels={**LABELS, "pipeline": "flihgts"}), "DataPipeline", "flights"),
        (changed(ERASURE, view="dealys"), "FeatureView", "delays"),
        (changed(VIEW, "others", monitoring=MONITORED), "TrainingSet", "delays"),
    ],
)
def test_whatever_is_named_and_not_there_is_told_with_the_nearest_name(
    value: dict[str, Any], kind: str, near: str
) -> None:
    request = {"operation": "CREATE", "object": value, "oldObject": None}
    [warning] = review(request, KNOWN, NAMES.__getitem__).warnings
    assert f"there is no {kind} " in warning
    assert warning.endswith(f" yet. Did you mean {near!r}?")


def test_every_reference_between_kinds_is_one_whose_nearest_name_is_told() -> None:
    references = {(kind.name, reference.kind) for kind in KINDS.values() for reference in kind.references}
    assert references == {
        ("DataPipeline", "DataPipeline"),
        ("FeatureView", "DataPipeline"),
        ("FeatureView", "FeatureView"),
        ("FeatureService", "FeatureView"),
        ("TrainingSet", "DataPipeline"),
        ("TrainingSet", "FeatureView"),
        ("TrainingSet", "FeatureService"),
        ("Erasure", "FeatureView"),
    }
