"""Where Jobs and workers may connect, as whoever installs the operator says: a NetworkPolicy that is kept beside each store."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import manifest
import pytest
import yaml
from cluster.control_plane import ControlPlane
from crowd import Crowd
from installation import ROOT, of_kind, templated_with

from featurestore.errors import NotFound, SpecError
from featurestore.resources import DataPipeline
from featurestore_operator.jobs.job_manifest import JobContext
from featurestore_operator.jobs.worker_manifest import worker_objects
from featurestore_operator.kube import access
from featurestore_operator.kube.api import Api
from featurestore_operator.kube.api_resources import DATA_PIPELINE, FEATURE_STORE, JOB, NETWORK_POLICY
from featurestore_operator.kube.object_key import Key
from featurestore_operator.metrics import Metrics
from featurestore_operator.namespaces.managed_redis import pod_labels
from featurestore_operator.settings import parse

NAME = "featurestore-default-jobs"
STORAGE = {"to": [{"ipBlock": {"cidr": "192.0.2.0/24"}}], "ports": [{"port": 443}]}
NEIGHBOURS = {"to": [{"podSelector": {}}]}
Make = Callable[..., Crowd]


@pytest.fixture
def make(control_plane: ControlPlane, tmp_path: Path) -> Iterator[Make]:
    api = Api(access.configuration(str(control_plane.kubeconfig)), Metrics())
    yield lambda *rules: Crowd(api, tmp_path, job_egress=rules)
    api.close()


def look(crowd: Crowd, namespace: str, **online: Any) -> dict[str, Any]:
    """Conditions of the namespace's store after a look, and the store is made if it is not there."""
    try:
        found = crowd.api.get(FEATURE_STORE, namespace, "default")
    except NotFound:
        made = manifest.store(namespace)
        made["spec"] = {"offline": {"uri": str(crowd.folder / namespace)}, **online}
        found = crowd.api.create(FEATURE_STORE, made)
    crowd.cache.put(FEATURE_STORE, found)
    crowd.controller.handle(Key("FeatureStore", namespace, "default"))
    status = crowd.api.get(FEATURE_STORE, namespace, "default")["status"]
    return {condition["type"]: condition for condition in status["conditions"]}


def policy(crowd: Crowd, namespace: str) -> dict[str, Any]:
    return crowd.api.get(NETWORK_POLICY, namespace, NAME)


def selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    [expression] = selector["matchExpressions"]
    assert expression["operator"] == "In"
    return labels[expression["key"]] in expression["values"]


def documented(tmp_path: Path) -> tuple[dict[str, Any], ...]:
    """The rules of docs/security.md, as the operator gets them from the chart."""
    page = (ROOT / "docs" / "security.md").read_text()
    [values] = re.findall(r"^ *```yaml\n( *networkPolicy:.*?)^ *```", page, re.MULTILINE | re.DOTALL)
    (tmp_path / "values.yaml").write_text(values)
    [deployment] = of_kind(templated_with(tmp_path / "values.yaml"), "Deployment")
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    settings = parse([], {it["name"]: it.get("value", "") for it in container["env"]})
    assert list(settings.job_egress) == yaml.safe_load(values)["networkPolicy"]["jobsEgress"]
    return settings.job_egress


def test_jobs_and_workers_reach_what_the_documented_values_name_and_the_redis_of_their_namespace(
    make: Make, namespace: str, tmp_path: Path
) -> None:
    rules = documented(tmp_path)
    crowd = make(*rules)
    look(crowd, namespace, online={"redis": {"managed": {}}})
    spec = policy(crowd, namespace)["spec"]
    assert spec["policyTypes"] == ["Egress"]
    *named, redis = spec["egress"]
    assert [rule["to"] for rule in named] == [rule["to"] for rule in rules]
    assert redis["to"] == [{"podSelector": {"matchLabels": pod_labels("default")}}]
    assert redis["ports"] == [{"port": 6379, "protocol": "TCP"}]


def test_it_is_of_the_pods_of_jobs_and_workers_and_no_template_says_that_they_are_others(
    make: Make, namespace: str
) -> None:
    crowd = make(STORAGE)
    look(crowd, namespace)
    pipeline = manifest.pipeline(namespace, "p")
    pipeline["spec"]["source"]["uri"] = f"{crowd.folder}/raw/*.parquet"
    disguised = {**pipeline["spec"], "job": {"template": {"labels": {"app.kubernetes.io/name": "another"}}}}
    with pytest.raises(SpecError, match=r"app\.kubernetes\.io/name .* set by the operator"):
        crowd.api.create(DATA_PIPELINE, {**pipeline, "spec": disguised})
    crowd.cache.put(DATA_PIPELINE, crowd.api.create(DATA_PIPELINE, pipeline))
    crowd.look(namespace, "p")
    [job] = crowd.api.list(JOB, namespace)
    warm = DataPipeline.model_validate({**pipeline, "spec": {**pipeline["spec"], "execution": "Warm"}})
    place = JobContext(namespace, "s3://features/x", "jobs:1", "default")
    _, workers = worker_objects("default", warm.spec, 1, {"uid": "u"}, place, [], "operators")
    selector = policy(crowd, namespace)["spec"]["podSelector"]
    for made in (job, workers):
        assert selects(selector, made["spec"]["template"]["metadata"]["labels"])
    assert not selects(selector, pod_labels("default"))


def test_what_somebody_changed_or_deleted_is_set_back_and_nothing_is_written_else(
    make: Make, namespace: str
) -> None:
    crowd = make(STORAGE, NEIGHBOURS)

    def version() -> str:
        look(crowd, namespace)
        return str(policy(crowd, namespace)["metadata"]["resourceVersion"])

    assert version() == version()
    wanted = policy(crowd, namespace)["spec"]
    storage, neighbours = wanted["egress"]
    anywhere = {"to": [{"podSelector": {}, "namespaceSelector": {}}]}
    for change in (
        {"egress": [{}]},
        {"egress": [storage, neighbours, {}]},
        # What is wanted is still there, and means something else.
        {"egress": [storage, anywhere]},
        {"podSelector": {"matchLabels": {"nobody": "has"}}},
    ):
        crowd.api.patch(NETWORK_POLICY, namespace, NAME, {"spec": change})
        assert policy(crowd, namespace)["spec"] != wanted
        look(crowd, namespace)
        assert policy(crowd, namespace)["spec"] == wanted, change
    crowd.api.delete(NETWORK_POLICY, namespace, NAME)
    look(crowd, namespace)
    assert policy(crowd, namespace)["spec"] == wanted


def test_an_operator_that_is_not_told_so_any_more_removes_it_and_leaves_what_is_of_others(
    make: Make, namespace: str
) -> None:
    look(make(STORAGE), namespace)
    crowd = make()
    look(crowd, namespace)
    with pytest.raises(NotFound):
        policy(crowd, namespace)
    spec = {"podSelector": {}, "policyTypes": ["Egress"]}
    crowd.api.create(NETWORK_POLICY, {"metadata": {"namespace": namespace, "name": NAME}, "spec": spec})
    look(make(), namespace)
    assert policy(crowd, namespace)["spec"] == spec


def test_a_rule_that_the_api_server_refuses_is_said_by_each_store(make: Make, namespace: str) -> None:
    wrong = {"to": [{"ipBlock": {"cidr": "nowhere"}}]}
    ready = look(make(wrong), namespace)["Ready"]
    assert (ready["status"], ready["reason"]) == ("False", "SpecInvalid")
    assert "Jobs may connect everywhere" in ready["message"]
    assert "nowhere" in ready["message"]
    assert look(make(STORAGE), namespace)["Ready"]["status"] == "True"


@pytest.mark.parametrize("text", ["", "{}", "nowhere", "[1]", '[{"from": []}]'])
def test_what_is_no_list_of_rules_keeps_the_operator_from_starting(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parse([], {"FEATURESTORE_OPERATOR_JOB_EGRESS": text})
    assert "--job-egress" in capsys.readouterr().err
