"""``--auth kubernetes``: RBAC on the resources is RBAC on the features, before a real API server."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from cluster.control_plane import ControlPlane
from cluster.fixtures import namespace_of
from eventually import eventually
from feature_server import FeatureServer, Response, serving_features

ACCOUNTS = """\
{apiVersion: v1, kind: ServiceAccount, metadata: {name: server, namespace: NAMESPACE}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: model, namespace: NAMESPACE}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: stranger, namespace: NAMESPACE}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: reviews-NAMESPACE}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "system:auth-delegator"}
subjects: [{kind: ServiceAccount, name: server, namespace: NAMESPACE}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reads, namespace: NAMESPACE}
rules: [{apiGroups: [featurestore.dev], resources: [featureviews], resourceNames: [aircraft-delays], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: reads, namespace: NAMESPACE}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reads}
subjects: [{kind: ServiceAccount, name: model, namespace: NAMESPACE}]
"""
DELAY = {"features": ["aircraft-delays:delay"], "entities": {"tailnum": ["E1"]}}
BOTH = {
    "features": ["aircraft-delays:note", "routes:delay"],
    "entities": {"tailnum": ["E1"], "number": [1]},
}


class Guarded(NamedTuple):
    """A server in a namespace, and the tokens of who asks it."""

    server: FeatureServer
    tokens: dict[str, str]
    namespace: str

    def status(self, account: str, asked: object) -> int:
        headers = {"Authorization": f"Bearer {self.tokens[account]}"}
        return self.server.ask("POST", "/v1/features", asked, headers).status


@pytest.fixture(scope="module")
def guarded(
    control_plane: ControlPlane, project: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("account")
    with namespace_of(control_plane) as namespace:
        control_plane.kubectl("apply", "-f", "-", stdin=ACCOUNTS.replace("NAMESPACE", namespace))
        tokens = {name: token(control_plane, namespace, name) for name in ("server", "model", "stranger")}
        shutil.copy(control_plane.ca, folder / "ca.crt")
        (folder / "namespace").write_text(namespace)
        (folder / "token").write_text(tokens["server"])
        options = [
            "--auth",
            "kubernetes",
            "--api-server",
            control_plane.url,
            "--service-account",
            str(folder),
            "--push",
        ]
        with serving_features(project, folder / "log", *options) as server:
            yield Guarded(server, tokens, namespace)
        control_plane.kubectl("delete", "clusterrolebinding", f"reviews-{namespace}")


def token(plane: ControlPlane, namespace: str, account: str) -> str:
    config = json.loads(plane.kubeconfig_of_service_account(namespace, account).read_text())
    found: str = config["users"][0]["user"]["token"]
    return found


def test_each_reads_the_views_that_a_role_lets_it_get_and_no_other(guarded: Guarded) -> None:
    assert guarded.status("model", DELAY) == 200
    assert guarded.status("model", BOTH) == 403
    assert guarded.status("stranger", DELAY) == 403
    listed = guarded.server.ask(
        "GET", "/v1/views", headers={"Authorization": f"Bearer {guarded.tokens['model']}"}
    )
    assert [view["name"] for view in listed.json["views"]] == ["aircraft-delays"]


def test_a_page_shows_what_a_role_lets_one_get_and_of_all_else_not_even_the_name(guarded: Guarded) -> None:
    def page(path: str, account: str = "model") -> Response:
        return guarded.server.ask("GET", path, headers={"Authorization": f"Bearer {guarded.tokens[account]}"})

    shown = page("/views/aircraft-delays")
    assert shown.status == 200
    for answer in (
        shown,
        page("/"),
        page("/views/delay-share"),
        page("/views/routes"),
        page("/pipelines/flights"),
    ):
        assert b"routes" not in answer.body.replace(b"routes&#39; that you may see", b"")
        assert b"/pipelines/" not in answer.body
    for path in ("/views/routes", "/pipelines/flights", "/read?of=routes"):
        assert page(path).status == 404
    assert b"aircraft-delays" in page("/").body
    assert b"aircraft-delays" not in page("/", "stranger").body
    assert page("/views/aircraft-delays", "stranger").status == 404


def test_a_token_that_the_api_server_does_not_know_is_nobodys(guarded: Guarded) -> None:
    changed = guarded.tokens["model"][:-4] + "AAAA"
    answer = guarded.server.ask("POST", "/v1/features", DELAY, {"Authorization": f"Bearer {changed}"})
    assert answer.status == 401


def test_a_role_that_is_taken_away_or_given_counts_without_a_restart(
    guarded: Guarded, control_plane: ControlPlane
) -> None:
    more = ["-n", guarded.namespace, "create", "rolebinding", "more", "--role=reads"]
    control_plane.kubectl(*more, f"--serviceaccount={guarded.namespace}:stranger")
    eventually(lambda: guarded.status("stranger", DELAY) == 200, 120)
    control_plane.kubectl("-n", guarded.namespace, "delete", "rolebinding", "more")
    eventually(lambda: guarded.status("stranger", DELAY) == 403, 120)
    assert guarded.status("model", DELAY) == 200


def test_who_may_create_push_of_a_pipeline_pushes_to_it_and_who_may_read_does_not(
    guarded: Guarded, control_plane: ControlPlane
) -> None:
    in_namespace = ["-n", guarded.namespace, "create"]
    named = ["--verb=create", "--resource=datapipelines.featurestore.dev/push", "--resource-name=flights"]
    control_plane.kubectl(*in_namespace, "role", "pushes", *named)
    account = f"--serviceaccount={guarded.namespace}:pusher"
    control_plane.kubectl(*in_namespace, "serviceaccount", "pusher")
    control_plane.kubectl(*in_namespace, "rolebinding", "pushes", "--role=pushes", account)
    pusher = token(control_plane, guarded.namespace, "pusher")

    def status(token: str, pipeline: str) -> int:
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": "a"}
        return guarded.server.ask("POST", f"/push/{pipeline}", {"rows": [{"a": 1}]}, headers).status

    # Admitted, and then told that this pipeline takes no rows.
    assert status(pusher, "flights") == 422
    assert status(pusher, "others") == status(guarded.tokens["model"], "flights") == 403
