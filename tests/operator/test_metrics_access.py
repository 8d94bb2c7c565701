"""Metrics are read by whom the cluster's roles let read them."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator
from http import HTTPStatus

import pytest
from cluster.control_plane import ControlPlane
from prometheus_client import CollectorRegistry

from featurestore_operator.endpoint import Endpoint
from featurestore_operator.kube import access
from featurestore_operator.kube.api import Api
from featurestore_operator.kube.token_access import KEPT_S, TokenAccess
from featurestore_operator.metrics import Metrics

READER = """
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {{name: metrics-{name}}}
rules: [{{nonResourceURLs: [/metrics], verbs: [get]}}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {{name: metrics-{name}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: metrics-{name}}}
subjects: [{{kind: ServiceAccount, name: prometheus, namespace: {name}}}]
"""


class Guarded:
    """An endpoint whose metrics are guarded. ``now_s``: what it takes for the time."""

    def __init__(self, api: Api) -> None:
        self.now_s = 0.0
        guard = TokenAccess(api, "/metrics", lambda: self.now_s)
        self.endpoint = Endpoint(0, lambda: None, lambda: None, CollectorRegistry(), guard.check)

    def get(self, path: str, token: str = "") -> int:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        request = urllib.request.Request(f"http://127.0.0.1:{self.endpoint.port}{path}", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code


@pytest.fixture
def guarded(control_plane: ControlPlane) -> Iterator[Guarded]:
    api = Api(access.configuration(str(control_plane.kubeconfig)), Metrics())
    made = Guarded(api)
    made.endpoint.start()
    yield made
    made.endpoint.stop()
    api.close()


def test_metrics_are_for_whom_a_role_lets_read_them_and_probes_for_all(
    control_plane: ControlPlane, namespace: str, guarded: Guarded
) -> None:
    tokens = {}
    for name in ("prometheus", "other"):
        control_plane.kubectl("create", "serviceaccount", name, "-n", namespace)
        tokens[name] = control_plane.kubectl("create", "token", name, "-n", namespace).strip()
    role = READER.format(name=namespace)
    control_plane.kubectl("apply", "-f", "-", stdin=role)
    try:
        assert guarded.get("/healthz") == guarded.get("/readyz") == HTTPStatus.OK
        assert guarded.get("/metrics") == HTTPStatus.UNAUTHORIZED
        assert guarded.get("/metrics", "made-up") == HTTPStatus.UNAUTHORIZED
        assert guarded.get("/metrics", tokens["other"]) == HTTPStatus.FORBIDDEN
        assert guarded.get("/metrics", tokens["prometheus"]) == HTTPStatus.OK
    finally:
        control_plane.kubectl("delete", "-f", "-", stdin=role)
    # What the API server said counts for a minute, and no longer.
    assert guarded.get("/metrics", tokens["prometheus"]) == HTTPStatus.OK
    guarded.now_s += KEPT_S
    assert guarded.get("/metrics", tokens["prometheus"]) == HTTPStatus.FORBIDDEN
