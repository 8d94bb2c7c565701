"""The objects of a feature server as the API server takes them."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from featurestore.resources import FeatureStore
from featurestore.resources.serving import Serving
from featurestore_operator.jobs.job_manifest import JobContext
from featurestore_operator.namespaces.managed_server import server_objects

PLACE = JobContext("prod", "s3://features/prod", "jobs:1", "jobs", secret="s3", online_secret="redis")
STORE = {"offline": {"uri": "s3://features/prod"}, "online": {"redis": {"url": "redis://redis:6379"}}}
TOKENS = {"auth": "Token", "tokenSecretRef": {"name": "callers"}}
OIDC = {
    "auth": "OIDC",
    "oidc": {"issuer": "https://login.example.com", "audience": "features", "groups": ["ml", "web"]},
}


def rendered(
    serving: dict[str, Any] | None = None,
    store: dict[str, Any] = STORE,
    versions: tuple[str, ...] = ("1", "2"),
) -> dict[str, Any]:
    """By kind."""
    spec = {**store, "serving": serving or {}}
    resource = FeatureStore.model_validate({"metadata": {"name": "default"}, "spec": spec})
    assert resource.spec.serving is not None
    found = server_objects(resource, resource.spec.serving, {"uid": "u"}, PLACE, list(versions))
    return {it["kind"]: it for it in found}


def template(**serving: Any) -> dict[str, Any]:
    found: dict[str, Any] = rendered(serving)["Deployment"]["spec"]["template"]
    return found


def container(**serving: Any) -> dict[str, Any]:
    [found] = template(**serving)["spec"]["containers"]
    assert isinstance(found, dict)
    return found


def test_without_a_word_about_it_callers_are_asked_who_they_are() -> None:
    assert "--auth=kubernetes" in container()["args"]
    assert template()["spec"]["automountServiceAccountToken"] is True


@pytest.mark.parametrize("serving", [TOKENS, OIDC, {"auth": "None"}], ids=["token", "oidc", "none"])
def test_only_a_pod_that_asks_the_api_server_has_a_token_of_it(serving: dict[str, Any]) -> None:
    assert template(**serving)["spec"]["automountServiceAccountToken"] is False


def test_callers_by_token_are_in_a_secret_and_those_of_an_issuer_in_arguments() -> None:
    assert container(**TOKENS)["args"][-2:] == ["--token-file=/featurestore/tokens/tokens", "--audit-log=-"]
    volumes = template(**TOKENS)["spec"]["volumes"]
    assert {"name": "tokens", "secret": {"secretName": "callers"}} in volumes
    asked = container(**OIDC)["args"]
    assert asked[-6:-1] == [
        "--oidc-issuer=https://login.example.com",
        "--oidc-audience=features",
        "--oidc-group=ml",
        "--oidc-group=web",
        "--oidc-groups-claim=groups",
    ]


def test_servers_take_rows_if_the_store_says_so_and_not_from_callers_by_an_issuer() -> None:
    assert "--push" not in container()["args"]
    assert "--push" in container(push="Enabled")["args"]
    with pytest.raises(ValueError, match="nobody may push"):
        container(push="Enabled", **OIDC)


@pytest.mark.parametrize(
    "serving",
    [
        {"auth": "Token"},
        {"tokenSecretRef": {"name": "callers"}},
        {"auth": "OIDC"},
        {**TOKENS, "oidc": OIDC["oidc"]},
        {"replicas": {"min": 3, "max": 2}},
        {"replicas": {"min": 0}},
        {"auth": None},
        {**OIDC, "oidc": {**OIDC["oidc"], "issuer": "http://login.example.com"}},
        {**OIDC, "oidc": {**OIDC["oidc"], "audience": "--auth=none"}},
    ],
)
def test_what_would_leave_open_who_reads_or_how_many_answer_is_refused(serving: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Serving.model_validate(serving)


def test_credentials_come_as_a_jobs_do() -> None:
    assert container()["envFrom"] == [{"secretRef": {"name": "s3"}}, {"secretRef": {"name": "redis"}}]
    assert {"name": "FEATURESTORE_URI", "value": "s3://features/prod"} in container()["env"]


def test_other_credentials_or_another_place_make_another_pod_and_a_description_does_not() -> None:
    moved = {**STORE, "online": {"redis": {"url": "redis://other:6379"}}}
    before = template()
    assert rendered(versions=("1", "3"))["Deployment"]["spec"]["template"] != before
    assert rendered(store=moved)["Deployment"]["spec"]["template"] != before
    assert rendered(store={**STORE, "description": "of flights"})["Deployment"]["spec"]["template"] == before


def test_a_certificate_makes_it_https_everywhere() -> None:
    found = rendered({"tlsSecretRef": {"name": "certificate"}})
    [port] = found["Service"]["spec"]["ports"]
    assert port["name"] == "https"
    it = container(tlsSecretRef={"name": "certificate"})
    assert it["args"][-3:-1] == [
        "--tls-cert=/featurestore/tls/tls.crt",
        "--tls-key=/featurestore/tls/tls.key",
    ]
    probes = [it[name]["httpGet"]["scheme"] for name in ("startupProbe", "livenessProbe", "readinessProbe")]
    assert probes == ["HTTPS"] * 3


def test_no_server_is_taken_away_before_another_one_is_ready_and_each_has_time_to_end() -> None:
    spec = rendered()["Deployment"]["spec"]
    assert spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert "replicas" not in spec, "that is the autoscaler's"
    seconds = {it.partition("=")[0]: it.partition("=")[2] for it in container()["args"]}
    drain_s, request_s = float(seconds["--drain"]), float(seconds["--timeout"])
    assert drain_s > 0
    assert spec["template"]["spec"]["terminationGracePeriodSeconds"] > drain_s + request_s
    assert container()["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert rendered()["PodDisruptionBudget"]["spec"]["maxUnavailable"] == 1


def test_there_are_as_many_as_the_load_takes_between_the_bounds() -> None:
    spec = rendered({"replicas": {"min": 2, "max": 20}})["HorizontalPodAutoscaler"]["spec"]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (2, 20)
    assert [it["type"] for it in spec["metrics"]] == ["Resource"]
    asked = rendered({"replicas": {"requestsPerSecond": 500}})["HorizontalPodAutoscaler"]["spec"]["metrics"]
    assert asked[1]["pods"] == {
        "metric": {"name": "feature_requests_per_second"},
        "target": {"type": "AverageValue", "averageValue": "500"},
    }


def test_pods_of_other_namespaces_connect_only_if_these_are_named() -> None:
    def ingress(*clients: str) -> Any:
        policy = rendered({"clientNamespaces": list(clients)})["NetworkPolicy"]["spec"]
        assert policy["policyTypes"] == ["Ingress"]
        [rule] = policy["ingress"]
        assert [it["port"] for it in rule["ports"]] == [6566]
        return rule.get("from", "all")

    named = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "models"}}}
    assert ingress() == [{"podSelector": {}}]
    assert ingress("models") == [{"podSelector": {}}, named]
    assert ingress("*") == "all"


def test_the_pod_meets_the_restricted_security_standard() -> None:
    pod = template()["spec"]
    assert pod["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert container()["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }


def test_a_template_says_where_and_how_the_pods_run() -> None:
    said = {
        "image": "mine:2",
        "labels": {"team": "flights"},
        "nodeSelector": {"disk": "fast"},
        "serviceAccountName": "reads-s3",
        "cpu": "2",
        "env": [{"name": "A", "value": "1"}],
    }
    found = template(template=said)
    assert found["metadata"]["labels"]["team"] == "flights"
    assert (found["spec"]["nodeSelector"], found["spec"]["serviceAccountName"]) == (
        {"disk": "fast"},
        "reads-s3",
    )
    it = container(template=said, memory="1Gi")
    assert (it["image"], it["resources"]["requests"]) == ("mine:2", {"cpu": "2", "memory": "1073741824"})
    assert {"name": "A", "value": "1"} in it["env"]
