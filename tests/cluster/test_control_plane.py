"""The control plane that tests use is a real one, isolates what it should, and ends with the tests."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from cluster.access import KubectlError
from cluster.control_plane import ControlPlane
from cluster.control_plane import control_plane as started
from eventually import eventually
from kubernetes.client import ApiException, CoreV1Api

SUPPORT = Path(__file__).parents[1] / "support"

JOB = """
apiVersion: batch/v1
kind: Job
metadata: {name: it}
spec:
  template:
    spec:
      restartPolicy: Never
      containers: [{name: it, image: none, command: ["true"]}]
"""
CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: it}\ndata: {a: b}\n"
READER = """
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader}
rules: [{apiGroups: [""], resources: [configmaps], verbs: [get, list]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: readers}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}
subjects:
- {kind: User, name: ann, apiGroup: rbac.authorization.k8s.io}
- {kind: ServiceAccount, name: robot}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: robot}
"""


def apply(plane: ControlPlane, namespace: str, text: str) -> None:
    plane.kubectl("apply", "--server-side", f"--namespace={namespace}", "--filename=-", stdin=text)


def test_it_is_the_version_that_is_pinned(control_plane: ControlPlane) -> None:
    said = json.loads(control_plane.kubectl("version", "--output=json"))
    assert said["serverVersion"]["gitVersion"] == said["clientVersion"]["gitVersion"] == "v1.34.4"


def test_the_api_server_takes_our_kinds_without_complaint(control_plane: ControlPlane) -> None:
    crds = json.loads(control_plane.kubectl("get", "crds", "--output=json"))["items"]
    kinds = {crd["spec"]["names"]["kind"] for crd in crds}
    assert kinds == {
        "FeatureStore",
        "DataPipeline",
        "FeatureView",
        "FeatureService",
        "TrainingSet",
        "Erasure",
        "FeatureStorePolicy",
    }
    for crd in crds:
        met = {it["type"]: it["status"] for it in crd["status"]["conditions"]}
        assert met == {"NamesAccepted": "True", "Established": "True"}, crd["status"]["conditions"]


def test_short_names_work(control_plane: ControlPlane, namespace: str) -> None:
    assert control_plane.kubectl("get", "fs,dp,fv,fsp", f"--namespace={namespace}", "--output=name") == ""


def test_kubectl_explain_tells_defaults(control_plane: ControlPlane) -> None:
    explained = control_plane.kubectl("explain", "datapipelines.spec.trigger.arrivals")
    assert "Default: 2s." in explained
    assert "Default: 10s; 10m where notifications are on." in " ".join(explained.split())


def test_users_may_do_what_their_roles_say_and_nothing_else(
    control_plane: ControlPlane, namespace: str
) -> None:
    apply(control_plane, namespace, READER + "---\n" + CONFIG)
    robot = control_plane.kubeconfig_of_service_account(namespace, "robot")
    for kubeconfig in (control_plane.kubeconfig_of("ann"), robot):
        with control_plane.client(kubeconfig) as client:
            assert CoreV1Api(client).read_namespaced_config_map("it", namespace).data == {"a": "b"}
            with pytest.raises(ApiException, match="Forbidden"):
                CoreV1Api(client).delete_namespaced_config_map("it", namespace)
            with pytest.raises(ApiException, match="Forbidden"):
                CoreV1Api(client).read_namespaced_config_map("it", "default")


def test_the_audit_log_says_who_wrote_what_as_soon_as_it_is_answered(
    control_plane: ControlPlane, namespace: str
) -> None:
    apply(control_plane, namespace, READER)
    robot = control_plane.kubeconfig_of_service_account(namespace, "robot")
    since = control_plane.audit.mark()
    user = f"system:serviceaccount:{namespace}:robot"
    with control_plane.client(robot) as client:
        api = CoreV1Api(client)
        for number in range(20):
            api.list_namespaced_config_map(namespace)
            body = {"metadata": {"name": f"it-{number}"}}
            with pytest.raises(ApiException):
                api.create_namespaced_config_map(namespace, body)
            assert len(control_plane.audit.writes(user, since)) == number + 1
        with pytest.raises(ApiException):
            api.create_namespaced_config_map(namespace, {"metadata": {"name": "it"}}, dry_run="All")
    assert len(control_plane.audit.requests(user, since)) == 41
    writes = control_plane.audit.writes(user, since)
    assert {(it.verb, it.resource, it.namespace, it.code) for it in writes} == {
        ("create", "configmaps", namespace, 403)
    }
    assert control_plane.audit.writes("ann", since) == []


@pytest.mark.parametrize("end", ["stop_api_server", "kill_api_server"])
def test_the_api_server_comes_back_where_it_was_with_what_it_had(
    control_plane: ControlPlane, namespace: str, end: str
) -> None:
    apply(control_plane, namespace, CONFIG)
    since = control_plane.audit.mark()
    getattr(control_plane, end)()
    with pytest.raises(KubectlError, match="refused"):
        control_plane.kubectl("get", "configmaps", f"--namespace={namespace}")
    control_plane.start_api_server()
    assert "configmap/it" in control_plane.kubectl(
        "get", "configmaps", f"--namespace={namespace}", "--output=name"
    )
    assert control_plane.audit.requests("admin", since)


def test_with_controllers_jobs_make_pods_and_namespaces_end(
    controllers: ControlPlane, namespace: str
) -> None:
    eventually(lambda: "default" in controllers.kubectl("get", "sa", "-n", namespace, "-o", "name"))
    apply(controllers, namespace, JOB)
    eventually(lambda: "Unschedulable" in controllers.kubectl("get", "pods", "-n", namespace, "-o", "yaml"))
    controllers.kubectl("delete", "job", "it", "-n", namespace)
    eventually(lambda: not controllers.kubectl("get", "pods", "-n", namespace, "-o", "name"))


ENDLESS = """
import sys, time
from pathlib import Path
from cluster.control_plane import control_plane
with control_plane(Path(sys.argv[1])) as plane:
    print(plane._etcd.pid, plane._api_server.pid, flush=True)
    time.sleep(600)
"""


@pytest.mark.slow
def test_a_killed_session_leaves_no_server_behind(control_plane: ControlPlane, tmp_path: Path) -> None:
    session = subprocess.Popen(
        [sys.executable, "-c", ENDLESS, str(tmp_path / "plane")],
        env={**os.environ, "PYTHONPATH": str(SUPPORT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    with session:
        assert session.stdout is not None
        servers = [int(pid) for pid in session.stdout.readline().split()]
        assert len(servers) == 2
        assert all(map(runs, servers))
        session.send_signal(signal.SIGKILL)
    eventually(lambda: not any(map(runs, servers)))


@pytest.mark.slow
def test_two_at_once_do_not_disturb_each_other(control_plane: ControlPlane, tmp_path: Path) -> None:
    with started(tmp_path / "other") as other:
        assert other.url != control_plane.url
        assert other.kubectl("get", "crds", "--output=name") == ""
    assert control_plane.kubectl("get", "crds", "--output=name") != ""


def runs(pid: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False
