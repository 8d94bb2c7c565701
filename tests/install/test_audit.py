"""With ``operator/audit/policy.yaml`` the API server's log says who changed what of a feature store."""

from __future__ import annotations

import json

import manifest
from cluster.access import KubectlError
from cluster.control_plane import ControlPlane
from eventually import eventually

VIEWS = "featureviews.featurestore.dev"


def test_who_changed_a_resource_and_to_what_is_in_the_log_and_what_secrets_hold_is_not(
    installed: ControlPlane,
) -> None:
    here = ("--namespace=default",)
    installed.kubectl("apply", "-f", "-", stdin=manifest.text(manifest.view("default", "delays", "flights")))
    installed.kubectl(
        *here, "create", "secret", "generic", "s3", "--from-literal=AWS_SECRET_ACCESS_KEY=unsaid"
    )
    for role in ("view", "edit"):
        options = (f"--clusterrole=featurestore-{role}", "--user=ann")
        installed.kubectl(*here, "create", "rolebinding", f"ann-{role}s", *options)
    installed.kubectl(*here, "get", "secret", "s3")
    ann, mark = installed.kubeconfig_of("ann"), installed.audit.mark()

    def patched() -> bool:
        patch = ("patch", VIEWS, "delays", "--type=merge", '--patch={"spec":{"ttl":"30d"}}')
        try:
            return bool(installed.kubectl(*here, *patch, kubeconfig=ann))
        except KubectlError:  # The roles are not known yet.
            return False

    eventually(patched)
    [last] = [it for it in installed.audit.writes("ann", mark) if it.code == 200]
    assert (last.verb, last.resource, last.namespace, last.name) == ("patch", VIEWS, "default", "delays")
    log = installed.audit.path.read_text()
    sent = [event for event in map(json.loads, log.splitlines()) if event["user"]["username"] == "ann"][-1]
    assert sent["requestObject"] == {"spec": {"ttl": "30d"}}
    others = {(it.verb, it.resource, it.name) for it in installed.audit.requests("admin")}
    assert {("create", "secrets", "s3"), ("get", "secrets", "s3")} <= others
    assert ("create", "rolebindings.rbac.authorization.k8s.io", "ann-edits") in others
    assert "unsaid" not in log
    assert "dW5zYWlk" not in log  # The same in base64.


def test_what_the_operator_writes_all_day_is_not_in_the_log(installed: ControlPlane) -> None:
    view = manifest.view("default", "quiet", "flights")
    installed.kubectl("apply", "-f", "-", stdin=manifest.text(view))
    mark = installed.audit.mark()
    status = ("--subresource=status", "--type=merge", '--patch={"status":{"rows":1}}')
    installed.kubectl("--namespace=default", "patch", VIEWS, "quiet", *status)
    installed.kubectl("--namespace=default", "get", VIEWS, "quiet")
    installed.kubectl("--namespace=default", "delete", VIEWS, "quiet")
    assert {it.verb for it in installed.audit.requests("admin", mark)} == {"delete"}
