"""An operator's process: it starts and ends quickly, and says how it is."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest
from cluster.access import KubectlError
from cluster.control_plane import ControlPlane
from eventually import eventually
from manifest import pipeline, text, view
from operating import OBSERVING_OPERATOR, Start

from featurestore.resources.kinds import KINDS
from featurestore_operator.settings import Settings, parse

READER = f"""
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: reader}}
rules:
- {{apiGroups: [featurestore.dev], resources: [{", ".join(kind.plural for kind in KINDS.values())}], verbs: [get, list, watch]}}
- {{apiGroups: [batch], resources: [jobs], verbs: [get, list, watch]}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: readers}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}}
subjects: [{{kind: User, name: poor, apiGroup: rbac.authorization.k8s.io}}]
"""


def test_the_command_line_goes_before_the_environment() -> None:
    environment = {"HOSTNAME": "pod-7", "FEATURESTORE_OPERATOR_WORKERS": "2", "KUBECONFIG": "k"}
    environment |= {"FEATURESTORE_OPERATOR_NAMESPACE": "a,b", "FEATURESTORE_OPERATOR_LEADER_ELECT": "false"}
    wanted = Settings("pod-7", kubeconfig="k", workers=2, namespaces=("a", "b"), leader_elect=False)
    assert parse([], environment) == wanted
    assert parse(["--workers", "3", "--leader-elect"], environment).workers == 3
    assert parse(["--workers", "3", "--leader-elect"], environment).leader_elect


def test_a_word_that_is_no_option_is_refused() -> None:
    with pytest.raises(SystemExit):
        parse(["--workers", "0"], {})


@pytest.mark.new_process
def test_it_loads_no_data_engine() -> None:
    modules = "polars", "pyarrow", "duckdb", "deltalake", "pandas", "numpy"
    check = f"import sys, featurestore_operator.process; print([m for m in {modules} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.new_process
def test_importing_it_starts_nothing() -> None:
    check = "import threading, featurestore_operator.process; print(threading.active_count())"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"


@pytest.mark.new_process
def test_it_ends_cleanly_before_a_pod_would_be_killed_when_told_to(
    control_plane: ControlPlane, namespace: str, start: Start
) -> None:
    operator = start()
    began = time.monotonic()
    operator.server.stop()
    assert time.monotonic() - began < 30
    assert operator.log().rstrip().endswith("has ended")
    assert "Traceback" not in operator.log()


def test_it_ends_though_it_never_reached_the_api_server(control_plane: ControlPlane, start: Start) -> None:
    control_plane.stop_api_server()
    try:
        operator = start(wait=False)
        eventually(lambda: operator.get("/readyz")[0] == 503)
        assert operator.get("/healthz") == (200, "ok")
        operator.server.stop()
        assert "has ended" in operator.log()
    finally:
        control_plane.start_api_server()


def test_what_it_lacks_is_said_in_words_and_heals(
    control_plane: ControlPlane, namespace: str, start: Start
) -> None:
    poor = control_plane.kubeconfig_of("poor")
    control_plane.kubectl("apply", "-n", namespace, "-f", "-", stdin=READER)
    operator = start(
        f"--kubeconfig={poor}", f"--namespace={namespace}", "--no-leader-elect", user="poor-one", wait=False
    )
    lacks = f"the operator may not list pods in namespace {namespace}"
    eventually(lambda: lacks in operator.log())
    assert operator.get("/readyz")[0] == 503
    pods = "- {apiGroups: [''], resources: [pods], verbs: [list, watch]}"
    more = READER.replace("- {apiGroups: [batch]", f"{pods}\n- {{apiGroups: [batch]")
    control_plane.kubectl("apply", "-n", namespace, "-f", "-", stdin=more)
    eventually(lambda: operator.get("/readyz") == (200, "ok"))


def test_kinds_that_are_not_installed_are_said_and_found_once_they_are(
    control_plane: ControlPlane, namespace: str, start: Start
) -> None:
    saved = control_plane.kubectl("get", "crd", "featureviews.featurestore.dev", "-o", "json")
    crd = json.loads(saved)
    crd = {it: crd[it] for it in ("apiVersion", "kind", "spec")} | {
        "metadata": {"name": crd["metadata"]["name"]}
    }
    control_plane.kubectl("delete", "crd", "featureviews.featurestore.dev", "--wait=true")
    try:
        operator = start(wait=False)
        eventually(lambda: "kubectl apply --server-side -f crds/" in operator.log())
        assert operator.get("/readyz")[0] == 503
    finally:
        control_plane.kubectl("create", "--filename=-", stdin=json.dumps(crd))
    eventually(lambda: operator.get("/readyz")[0] == 200)

    def made() -> bool:
        try:
            manifest = text(view(namespace, "aircraft", "flights"))
            control_plane.kubectl("apply", "--server-side", "--filename=-", stdin=manifest)
        except KubectlError:
            return False
        return True

    eventually(made)
    eventually(lambda: operator.looks_at("FeatureView", "aircraft") != [])


def test_metrics_tell_of_calls_looks_and_ages(
    control_plane: ControlPlane, namespace: str, start: Start
) -> None:
    control_plane.kubectl(
        "apply",
        "--server-side",
        "-f",
        "-",
        stdin=text(pipeline(namespace, "flights"), view(namespace, "it", "flights")),
    )
    watermark = json.dumps({"status": {"watermark": "2026-01-01T00:00:00Z"}})
    control_plane.kubectl(
        "patch", "fv", "it", "-n", namespace, "--subresource=status", "--type=merge", "-p", watermark
    )
    operator = start()
    eventually(operator.at_rest)
    code, text_ = operator.get("/metrics")
    assert code == 200
    lines = {
        line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in text_.splitlines() if line[0] != "#"
    }
    prefix = "featurestore_operator_"
    assert lines[f'{prefix}api_calls_total{{code="200",resource="pods",verb="list"}}'] >= 1
    assert lines[f'{prefix}reconcile_seconds_count{{kind="FeatureView"}}'] >= 1
    assert lines[f"{prefix}synced"] == 1
    age_s = lines[f'{prefix}freshness_seconds{{namespace="{namespace}",view="it"}}']
    assert abs(age_s - (time.time() - 1767225600)) < 60
    assert lines[f'{prefix}oldest_pending_seconds{{namespace="{namespace}",pipeline="flights"}}'] == 0


def test_lines_of_the_log_are_json_if_so_wanted(control_plane: ControlPlane, start: Start) -> None:
    operator = start("--no-leader-elect", "--log-format=json")
    first = json.loads(operator.log().splitlines()[0])
    assert first["level"] == "INFO"
    assert "starts as operator" in first["message"]


def test_there_is_no_way_to_start_without_an_api_server() -> None:
    done = subprocess.run(
        [sys.executable, str(OBSERVING_OPERATOR), "--kubeconfig=/nowhere"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "Set KUBECONFIG" in done.stderr
