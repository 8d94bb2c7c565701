"""The feature server that a FeatureStore asks for: kept, set back, changed, removed, and refused where a policy says so."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import manifest
import pytest
import yaml
from cluster.access import KubectlError
from cluster.control_plane import ControlPlane
from cluster.fixtures import namespace_of
from crowd import Crowd
from installation import templated
from tenants import Tenants

from featurestore.errors import NotFound
from featurestore_operator.kube import access
from featurestore_operator.kube.api import Api
from featurestore_operator.kube.api_resources import (
    CLUSTER_ROLE_BINDING,
    DEPLOYMENT,
    FEATURE_STORE,
    HORIZONTAL_POD_AUTOSCALER,
    NETWORK_POLICY,
    POD_DISRUPTION_BUDGET,
    SECRET,
    SERVICE,
    SERVICE_ACCOUNT,
)
from featurestore_operator.kube.object_key import Key
from featurestore_operator.metrics import Metrics
from featurestore_operator.namespaces.token_reviewers import TokenReviewers

NAME = "default-server"
ALL = (
    *(SERVICE, SERVICE_ACCOUNT, NETWORK_POLICY),
    *(POD_DISRUPTION_BUDGET, DEPLOYMENT, HORIZONTAL_POD_AUTOSCALER),
)


@pytest.fixture(scope="module", autouse=True)
def roles(control_plane: ControlPlane) -> None:
    """What is installed with the operator for servers, and the operator's own role of the whole cluster."""
    found = templated("metrics.access=Open")
    wanted = ("featurestore-server", "featurestore-operator-cluster")
    objects = [
        it for (kind, _, name), it in found.items() if kind.startswith("ClusterRole") and name in wanted
    ]
    control_plane.kubectl("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump_all(objects))


@pytest.fixture
def crowd(control_plane: ControlPlane, tmp_path: Path) -> Iterator[Crowd]:
    api = Api(access.configuration(str(control_plane.kubeconfig)), Metrics())
    yield Crowd(api, tmp_path)
    api.close()


class Served:
    """A FeatureStore and what is kept beside it."""

    def __init__(self, crowd: Crowd, namespace: str) -> None:
        self.crowd, self.namespace = crowd, namespace
        self.key = Key("FeatureStore", namespace, "default")

    def apply(self, **serving: Any) -> None:
        found = manifest.store(self.namespace)
        root = str(self.crowd.folder / self.namespace)
        found["spec"] = {"offline": {"uri": root}, "serving": serving}
        self.crowd.cache.put(FEATURE_STORE, self.crowd.api.create(FEATURE_STORE, found))
        self.look()

    def change(self, serving: dict[str, Any] | None) -> None:
        self.crowd.api.patch(FEATURE_STORE, self.namespace, "default", {"spec": {"serving": serving}})
        self.look()

    def look(self) -> dict[str, Any]:
        """Its status after a look."""
        self.crowd.cache.put(FEATURE_STORE, self.crowd.api.get(FEATURE_STORE, self.namespace, "default"))
        self.crowd.controller.handle(self.key)
        status: dict[str, Any] = self.crowd.api.get(FEATURE_STORE, self.namespace, "default")["status"]
        return status

    def condition(self, kind: str = "Serving") -> tuple[str, str, str]:
        found = {it["type"]: it for it in self.look()["conditions"]}[kind]
        return found["status"], found["reason"], found["message"]

    def get(self, resource: Any) -> dict[str, Any]:
        return self.crowd.api.get(resource, self.namespace, NAME)

    def there(self) -> list[str]:
        found = []
        for resource in ALL:
            try:
                found.append(self.get(resource)["kind"])
            except NotFound:
                continue
        return found

    def versions(self) -> list[str]:
        self.look()
        return [self.get(it)["metadata"]["resourceVersion"] for it in ALL]

    def reports(self, replicas: int, ready: int, updated: int, **more: Any) -> None:
        """What the controllers of Kubernetes say of the Deployment."""
        counts = {"replicas": replicas, "readyReplicas": ready, "updatedReplicas": updated}
        observed = {"observedGeneration": self.get(DEPLOYMENT)["metadata"]["generation"]}
        named = {"namespace": self.namespace, "name": NAME}
        told = {"metadata": named, "status": {**counts, **observed, **more}}
        self.crowd.api.apply_status(DEPLOYMENT, told)

    def scales(self, metrics: list[dict[str, Any]]) -> None:
        """What the autoscaler says of what it could measure."""
        named = {"namespace": self.namespace, "name": NAME}
        active = {"type": "ScalingActive", "status": "False", "reason": "FailedGetPodsMetric"}
        status = {"desiredReplicas": 2, "currentMetrics": metrics, "conditions": [active]}
        self.crowd.api.apply_status(HORIZONTAL_POD_AUTOSCALER, {"metadata": named, "status": status})

    def askers(self) -> list[str]:
        """ServiceAccounts of the namespace that may ask whose a token is."""
        found = self.crowd.api.get(CLUSTER_ROLE_BINDING, "", "featurestore-server").get("subjects") or []
        return [it["name"] for it in found if it["namespace"] == self.namespace]


@pytest.fixture
def served(crowd: Crowd, namespace: str) -> Served:
    return Served(crowd, namespace)


def test_what_is_asked_for_is_there_and_belongs_to_the_store(served: Served) -> None:
    served.apply()
    assert len(served.there()) == len(ALL)
    uid = served.crowd.api.get(FEATURE_STORE, served.namespace, "default")["metadata"]["uid"]
    assert all([it["uid"] for it in served.get(one)["metadata"]["ownerReferences"]] == [uid] for one in ALL)
    assert served.get(DEPLOYMENT)["spec"]["replicas"] == 2, "the floor, before the autoscaler looks"
    assert served.askers() == [NAME]


def test_what_others_changed_is_set_back_and_nothing_is_written_else(
    control_plane: ControlPlane, served: Served
) -> None:
    served.apply(template={"cpu": "1000m", "env": [{"name": "A", "value": "1"}]})
    assert served.versions() == served.versions()
    image = [{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "other"}]
    patch = ("patch", "deployment", NAME, "-n", served.namespace, "--type=json", f"-p={json.dumps(image)}")
    control_plane.kubectl(*patch)
    changed: tuple[tuple[Any, dict[str, Any]], ...] = (
        (SERVICE, {"selector": {"app.kubernetes.io/instance": "x"}}),
        (HORIZONTAL_POD_AUTOSCALER, {"maxReplicas": 100}),
        (NETWORK_POLICY, {"ingress": [{}]}),
        (POD_DISRUPTION_BUDGET, {"maxUnavailable": "100%"}),
    )
    for resource, spec in changed:
        served.crowd.api.patch(resource, served.namespace, NAME, {"spec": spec})
    assert served.versions() == served.versions()
    [container] = served.get(DEPLOYMENT)["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "featurestore-job"
    assert served.get(SERVICE)["spec"]["selector"]["app.kubernetes.io/instance"] == "default"
    assert served.get(HORIZONTAL_POD_AUTOSCALER)["spec"]["maxReplicas"] == 10
    assert served.get(NETWORK_POLICY)["spec"]["ingress"][0]["ports"]
    assert served.get(POD_DISRUPTION_BUDGET)["spec"]["maxUnavailable"] == 1


def test_an_object_that_somebody_deleted_is_there_again(served: Served) -> None:
    served.apply()
    served.crowd.api.delete(HORIZONTAL_POD_AUTOSCALER, served.namespace, NAME)
    served.look()
    assert len(served.there()) == len(ALL)


def test_what_the_autoscaler_says_stays(served: Served) -> None:
    served.apply(replicas={"min": 2, "max": 20})
    served.crowd.api.patch(DEPLOYMENT, served.namespace, NAME, {"spec": {"replicas": 7}})
    served.change({"template": {"labels": {"team": "flights"}}})
    spec = served.get(DEPLOYMENT)["spec"]
    assert (spec["replicas"], spec["template"]["metadata"]["labels"]["team"]) == (7, "flights")


def test_a_variable_that_is_not_asked_for_any_more_is_gone(served: Served) -> None:
    served.apply(template={"env": [{"name": "A", "value": "1"}]})
    served.change({"template": {"env": None}})
    [container] = served.get(DEPLOYMENT)["spec"]["template"]["spec"]["containers"]
    assert "A" not in {it["name"] for it in container["env"]}


def test_a_secret_that_changes_makes_new_pods(served: Served) -> None:
    redis = {"redis": {"url": "redis://127.0.0.1:1/0", "secretRef": {"name": "redis"}}}

    def secret(password: str) -> dict[str, Any]:
        metadata = {"namespace": served.namespace, "name": "redis"}
        return {"metadata": metadata, "stringData": {"REDIS_PASSWORD": password}}

    def opened() -> str:
        found = served.get(DEPLOYMENT)["spec"]["template"]["metadata"]["annotations"]
        return str(found["featurestore.dev/opens"])

    served.crowd.api.create(SECRET, secret("one"))
    served.apply()
    served.crowd.api.patch(FEATURE_STORE, served.namespace, "default", {"spec": {"online": redis}})
    served.look()
    before = opened()
    served.look()
    assert opened() == before
    served.crowd.api.patch(SECRET, served.namespace, "redis", {"stringData": {"REDIS_PASSWORD": "two"}})
    served.look()
    assert opened() != before


def test_without_serving_all_of_it_is_removed_and_what_belongs_to_others_stays(served: Served) -> None:
    served.apply()
    # Somebody else's, of the same name.
    served.crowd.api.delete(POD_DISRUPTION_BUDGET, served.namespace, NAME)
    served.crowd.api.create(
        POD_DISRUPTION_BUDGET,
        {"metadata": {"namespace": served.namespace, "name": NAME}, "spec": {"maxUnavailable": 0}},
    )
    served.change(None)
    assert served.there() == ["PodDisruptionBudget"]
    assert served.askers() == []
    assert "serving" not in served.look()
    assert {it["type"] for it in served.look()["conditions"]} == {
        "Ready",
        "OfflineReachable",
        "OnlineReachable",
    }


def test_what_others_have_of_the_same_name_is_not_taken_from_them_and_lends_no_rights(
    served: Served,
) -> None:
    account = {"metadata": {"namespace": served.namespace, "name": NAME}}
    served.crowd.api.create(SERVICE_ACCOUNT, account)
    served.apply()
    status, reason, message = served.condition()
    assert (status, reason) == ("False", "SpecInvalid")
    assert "belongs to somebody else" in message
    assert "Deployment" not in served.there()
    assert served.askers() == []
    served.crowd.api.delete(SERVICE_ACCOUNT, served.namespace, NAME)
    assert served.condition()[1] == "Starting"


def test_an_operator_that_starts_anew_removes_what_is_not_asked_for_any_more(
    served: Served, tmp_path: Path
) -> None:
    served.apply()
    served.crowd.api.patch(FEATURE_STORE, served.namespace, "default", {"spec": {"serving": None}})
    (tmp_path / "anew").mkdir()
    Served(Crowd(served.crowd.api, tmp_path / "anew"), served.namespace).look()
    assert served.there() == []


def test_ready_waits_for_the_first_server_and_stays_while_they_are_replaced(served: Served) -> None:
    served.apply()
    assert served.condition()[:2] == ("False", "Starting")
    assert served.condition("Ready")[:2] == ("False", "Starting")
    served.reports(2, ready=2, updated=2)
    assert served.condition()[:2] == ("True", "Answers")
    assert served.look()["serving"] == {
        "readyReplicas": 2,
        "url": f"http://default-server.{served.namespace}.svc:6566",
    }
    served.change({"template": {"image": "newer"}})
    served.reports(3, ready=2, updated=1)
    assert served.condition()[:2] == ("True", "Rolling")
    assert served.condition("Ready")[:2] == ("True", "Answers")
    served.reports(2, ready=0, updated=2)
    assert served.condition("Ready")[0] == "False"


def test_what_keeps_pods_from_being_made_is_told(served: Served) -> None:
    served.apply()
    failed = {
        "type": "ReplicaFailure",
        "status": "True",
        "reason": "FailedCreate",
        "message": "exceeded quota",
    }
    served.reports(0, ready=0, updated=0, conditions=[failed])
    status, reason, message = served.condition()
    assert (status, reason) == ("False", "ServerUnavailable")
    assert "exceeded quota" in message


def test_what_the_number_of_servers_should_follow_and_nothing_measures_is_told(served: Served) -> None:
    served.apply(replicas={"requestsPerSecond": 500})
    served.reports(2, ready=2, updated=2)
    assert "number" not in served.condition()[2], "no autoscaler has looked yet"
    cpu = {"name": "cpu", "current": {"averageUtilization": 3, "averageValue": "15m"}}
    measured = {"type": "Resource", "resource": cpu}
    # As an autoscaler writes it that finds no metric of that name.
    served.scales([measured, {"type": ""}])
    message = served.condition()[2]
    assert "Their number does not follow requests a second: nothing measures it" in message
    served.scales([{"type": ""}, {"type": ""}])
    assert "follow their CPU and requests a second" in served.condition()[2]
    rate = {
        "metric": {"name": "feature_requests_per_second"},
        "current": {"averageValue": "12"},
    }
    served.scales([measured, {"type": "Pods", "pods": rate}])
    assert "number" not in served.condition()[2]
    served.scales([{"type": ""}, {"type": ""}])
    served.change({"replicas": {"min": 2, "max": 2}})
    assert "number" not in served.condition()[2], "it is always the same"


def test_an_object_that_the_api_server_refuses_is_told_and_the_store_is_looked_at_all_the_same(
    served: Served,
) -> None:
    served.apply()
    served.change(
        {"template": {"volumes": [{"name": "v", "configMap": {"unheard": "of"}, "emptyDir": None}]}}
    )
    status, reason, message = served.condition()
    assert (status, reason) == ("False", "SpecInvalid")
    assert "unheard" in message
    assert served.condition("OfflineReachable")[0] == "True"


def test_auth_none_is_never_silent(served: Served) -> None:
    served.apply(auth="None")
    served.reports(2, ready=2, updated=2)
    assert "reads every feature" in served.condition()[2]
    assert served.askers() == [], "nobody asks for it"


def test_the_account_that_the_template_names_is_the_one_that_may_ask(served: Served) -> None:
    served.apply(template={"serviceAccountName": "reads-s3"})
    assert served.askers() == ["reads-s3"]
    served.change({"template": {"serviceAccountName": None}})
    assert served.askers() == [NAME]


def test_accounts_of_stores_that_went_while_nobody_looked_may_ask_no_more(
    control_plane: ControlPlane, served: Served
) -> None:
    with namespace_of(control_plane) as gone:
        left = TokenReviewers(served.crowd.api, served.crowd.cache, everywhere=True)
        assert left.set(gone, NAME)
    served.apply()
    found = served.crowd.api.get(CLUSTER_ROLE_BINDING, "", "featurestore-server")["subjects"]
    assert gone not in {it["namespace"] for it in found}


def test_an_operator_with_its_own_role_alone_lets_servers_ask_and_gives_nothing_else_away(
    control_plane: ControlPlane, served: Served
) -> None:
    """Though it may ask for no review itself: with open metrics it has no use for them."""
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "operator"}}
    control_plane.kubectl("apply", "-n", served.namespace, "-f", "-", stdin=yaml.safe_dump(account))
    binding = ("create", "clusterrolebinding", f"operator-{served.namespace}")
    role = "--clusterrole=featurestore-operator-cluster"
    control_plane.kubectl(*binding, role, f"--serviceaccount={served.namespace}:operator")
    own = control_plane.kubeconfig_of_service_account(served.namespace, "operator")
    api = Api(access.configuration(str(own)), Metrics())
    try:
        assert TokenReviewers(api, served.crowd.cache, everywhere=True).set(served.namespace, NAME)
    finally:
        api.close()
    assert served.askers() == [NAME]
    refused = ("create", "clusterrolebinding", "more", "--clusterrole=cluster-admin", "--user=somebody")
    with pytest.raises(KubectlError, match="forbidden"):
        control_plane.kubectl(*refused, kubeconfig=own)


def test_an_operator_of_some_namespaces_says_who_must_let_servers_ask(
    crowd: Crowd, namespace: str, tmp_path: Path
) -> None:
    (tmp_path / "some").mkdir()
    served = Served(Crowd(crowd.api, tmp_path / "some", namespaces=(namespace,)), namespace)
    served.apply()
    assert "kubectl create clusterrolebinding" in served.condition()[2]
    assert served.askers() == []


def test_a_policy_says_which_accounts_images_tokens_and_how_many_replicas_a_server_may_have(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    them = Tenants(control_plane)
    try:
        them.allow(
            f"{namespace}-uris",
            {"names": [namespace]},
            uriPrefixes=[f"{tmp_path}/"],
            imagePrefixes=["mirror/"],
            serviceAccountNames=["loader"],
            maxReplicas=4,
        )
        token = {"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}
        refused: dict[str, dict[str, Any]] = {
            "serviceAccountName": {"template": {"serviceAccountName": "admin"}},
            "image": {"template": {"image": "elsewhere/it"}},
            "template.serviceAccountName": {"template": {"serviceAccountName": "loader"}},
            "volumes[0].projected": {"template": {"volumes": [token]}},
            "replicas.max": {"replicas": {"max": 5}},
        }
        # It may do more than ask who reads: without a token of it, a server may be it as a Job may.
        as_loader = {"image": "mirror/it", "serviceAccountName": "loader"}
        allowed = {"replicas": {"max": 4}, "template": as_loader, "auth": "None"}
        for where, serving in (*refused.items(), ("", allowed)):
            store = manifest.store(namespace)
            store["spec"] = {"offline": {"uri": str(tmp_path / "root")}, "serving": serving}
            them._apply(store)
            condition = them.looked_at(namespace)["Serving"]
            if where:
                assert (condition["status"], condition["reason"]) == ("False", "NotAllowed"), where
                assert where in condition["message"]
                with pytest.raises(NotFound):
                    them.api.get(DEPLOYMENT, namespace, NAME)
        assert condition["reason"] == "Starting"
        assert them.api.get(DEPLOYMENT, namespace, NAME)["spec"]["template"]
    finally:
        them.close()


def test_the_binding_that_is_installed_names_nobody() -> None:
    """Helm would take away again whom the operator has let in."""
    assert "subjects" not in templated()["ClusterRoleBinding", "", "featurestore-server"]
