"""``kubectl apply -k operator/deploy`` installs the operator, with no more rights than it needs.

With ``operator/audit/policy.yaml`` the API server's log says who changed what of a feature store.
"""

from __future__ import annotations

import copy
import json
import os
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import manifest
import pytest
import yaml
from cluster.access import KubectlError
from cluster.binaries import MissingError, built
from cluster.control_plane import ControlPlane
from eventually import eventually
from installation import DEPLOY, NAMESPACE, ROOT, Objects, kustomized, objects, of_kind, printed
from unavailable import unavailable

from featurestore_operator.settings import parse

INSTALL = (ROOT / "docs/install.md").read_text()
VIEWS = "featureviews.featurestore.dev"
OPERATOR = f"system:serviceaccount:{NAMESPACE}:featurestore-operator"


def rendered(folder: Path, *components: str) -> Objects:
    try:
        return kustomized(folder, *components)
    except MissingError as missing:
        unavailable(str(missing))


def pod(plane: ControlPlane) -> dict[str, Any]:
    """The Deployment's pod, as its controller would make it."""
    found = plane.kubectl(
        "get", "deployment", "featurestore-operator", f"--namespace={NAMESPACE}", "-o", "json"
    )
    template = json.loads(found)["spec"]["template"]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "tried"}, "spec": template["spec"]}


def tried(plane: ControlPlane, value: dict[str, Any]) -> str:
    return plane.kubectl(
        "create",
        "--dry-run=server",
        f"--namespace={NAMESPACE}",
        "--filename=-",
        stdin=json.dumps(value),
    )


def may(plane: ControlPlane, user: str, *question: str) -> bool:
    try:
        return plane.kubectl("auth", "can-i", f"--as={user}", *question).strip() == "yes"
    except KubectlError:
        return False


def test_it_installs_on_a_new_cluster_and_a_second_time_changes_nothing(installed: ControlPlane) -> None:
    arguments = ("get", "--filename=-", "-o", "json")
    manifests = installed.kubectl("kustomize", DEPLOY)
    before = json.loads(installed.kubectl(*arguments, stdin=manifests))["items"]
    installed.kubectl("apply", "--server-side", f"--kustomize={DEPLOY}")
    after = json.loads(installed.kubectl(*arguments, stdin=manifests))["items"]
    assert len(after) == manifests.count("\n---\n") + 1
    generation = [it["metadata"].get("generation") for it in after]
    assert generation == [it["metadata"].get("generation") for it in before]


def test_the_pod_is_by_the_restricted_pod_security_standard(installed: ControlPlane) -> None:
    assert "pod/tried created" in tried(installed, pod(installed))
    for field in ("allowPrivilegeEscalation", "capabilities"):
        lax = copy.deepcopy(pod(installed))
        del lax["spec"]["containers"][0]["securityContext"][field]
        with pytest.raises(KubectlError, match="violates PodSecurity"):
            tried(installed, lax)


def test_the_pod_cannot_write_to_its_image_and_has_probes(installed: ControlPlane) -> None:
    [container] = pod(installed)["spec"]["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert {"startupProbe", "livenessProbe", "readinessProbe", "resources"} <= set(container)


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("list featureviews.featurestore.dev --all-namespaces", True),
        ("patch featureviews.featurestore.dev --subresource=status --namespace=default", True),
        ("create jobs.batch --namespace=default", True),
        ("get secrets/s3 --namespace=default", True),
        (f"update leases.coordination.k8s.io/featurestore-operator --namespace={NAMESPACE}", True),
        ("patch validatingwebhookconfigurations/featurestore-operator", True),
        ("list secrets --namespace=default", False),
        ("delete secrets/s3 --namespace=default", False),
        ("update secrets/s3 --namespace=default", False),
        ("create pods --namespace=default", False),
        ("create pods --subresource=exec --namespace=default", False),
        ("delete featureviews.featurestore.dev --namespace=default", False),
        (f"update leases.coordination.k8s.io/another --namespace={NAMESPACE}", False),
        ("patch validatingwebhookconfigurations/another", False),
        ("create clusterroles", False),
        ("delete deployments.apps/default-server --namespace=default", True),
        ("patch clusterrolebindings/featurestore-server", True),
        ("bind clusterroles.rbac.authorization.k8s.io/featurestore-server", True),
        ("list featurestorepolicies.featurestore.dev", True),
        ("patch featurestorepolicies.featurestore.dev/teams", False),
        ("create featurestorepolicies.featurestore.dev", False),
        ("patch clusterrolebindings/cluster-admin", False),
        ("bind clusterroles.rbac.authorization.k8s.io/cluster-admin", False),
    ],
)
def test_the_operator_may_do_its_work_and_no_more(
    installed: ControlPlane, question: str, answer: bool
) -> None:
    assert may(installed, OPERATOR, *question.split()) is answer


def test_who_may_view_edit_or_administer_a_namespace_may_do_so_with_our_resources(
    installed: ControlPlane,
) -> None:
    for user in ("view", "edit", "admin"):
        installed.kubectl(
            "create", "rolebinding", user, f"--clusterrole={user}", f"--user={user}", "--namespace=default"
        )

    def allowed(user: str) -> set[str]:
        questions = {
            "read": ("get", "featureviews.featurestore.dev"),
            "write": ("create", "datapipelines.featurestore.dev"),
            "place": ("create", "featurestores.featurestore.dev"),
            "status": ("patch", "featureviews.featurestore.dev", "--subresource=status"),
            "erase": ("create", "erasures.featurestore.dev"),
            "allow": ("create", "featurestorepolicies.featurestore.dev"),
            "allow more": ("patch", "featurestorepolicies.featurestore.dev"),
            "see the webhook's path": ("get", "validatingwebhookconfigurations"),
        }
        return {name for name, it in questions.items() if may(installed, user, *it, "--namespace=default")}

    # A controller of Kubernetes aggregates the roles, in its own time.
    eventually(lambda: allowed("admin") == {"read", "write", "place", "erase"}, 180, each_s=1.0)
    assert allowed("view") == {"read"}
    assert allowed("edit") == {"read", "write"}
    assert allowed("nobody") == set()


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


@pytest.mark.parametrize("components", [(), ("namespaced",)], ids=["cluster", "namespaced"])
def test_every_variable_of_the_deployment_is_an_option_of_the_operator(
    tmp_path: Path, components: tuple[str, ...]
) -> None:
    [deployment] = of_kind(rendered(tmp_path, *components), "Deployment")
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    given = {it["name"]: it.get("value", "given") for it in container["env"]}
    settings = parse([], given)
    defaults = asdict(parse([], {}))
    changed = {name for name, value in asdict(settings).items() if value != defaults[name]}
    options = {name.removeprefix("FEATURESTORE_OPERATOR_").lower() for name in given}
    # What is the default is said all the same of a port, to which probes and the Service go, and of what Helm sets.
    said = {"port", "max_jobs", "max_jobs_per_namespace"}
    assert {"namespaces" if name == "namespace" else name for name in options} == changed | said
    ports = {it["name"]: it["containerPort"] for it in container["ports"]}
    wanted = {
        "http": settings.port,
        "webhook": settings.webhook_port,
        "notifications": settings.notification_port,
    }
    assert ports == {name: port for name, port in wanted.items() if port}
    assert settings.grace_s < deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]


def test_one_namespace_needs_no_right_beyond_it(tmp_path: Path) -> None:
    found = rendered(tmp_path, "namespaced")
    bound = [it["roleRef"] for it in of_kind(found, "RoleBinding", "ClusterRoleBinding")]
    assert {it["kind"] for it in bound} == {"Role"}
    assert not list(of_kind(found, "ValidatingWebhookConfiguration", "ClusterRoleBinding"))
    assert ("Role", NAMESPACE, "featurestore-operator") in found


def test_the_definitions_are_those_of_the_crds() -> None:
    copies = {
        path.name: path.read_text()
        for path in (ROOT / "operator/chart/definitions").glob("*.yaml")
        if path.name != "kustomization.yaml"
    }
    assert copies == {path.name: path.read_text() for path in (ROOT / "crds").glob("*.yaml")}, (
        "run `make crds`"
    )


def test_the_overlay_in_the_documentation_sets_both_images(tmp_path: Path) -> None:
    [overlay] = re.findall(r"```yaml\n# kustomization.yaml\n(.*?)```", INSTALL, re.DOTALL)
    (tmp_path / "kustomization.yaml").write_text(
        overlay.replace("PATH/TO/CHECKOUT", os.path.relpath(ROOT, tmp_path.resolve()))
    )
    try:
        found = objects(printed([built("kubectl"), "kustomize", tmp_path]))
    except MissingError as missing:
        unavailable(str(missing))
    [deployment] = of_kind(found, "Deployment")
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    [job] = [it["value"] for it in container["env"] if it["name"].endswith("JOB_IMAGE")]
    assert (container["image"], job) == (
        "REGISTRY/featurestore-operator:0.1.0",
        "REGISTRY/featurestore-job:0.1.0",
    )


def test_the_documentation_names_every_permission() -> None:
    table = INSTALL[INSTALL.index("## Permissions") : INSTALL.index("It cannot list")]
    of_people = ("featurestore-view", "featurestore-edit", "featurestore-admin", "featurestore-metrics")
    everything = yaml.load_all((DEPLOY / "operator.yaml").read_text(), yaml.CSafeLoader)
    roles = [it for it in everything if "rules" in it and it["metadata"]["name"] not in of_people]
    assert roles
    for role in roles:
        for rule in role["rules"]:
            for resource in rule["resources"]:
                name = resource.removesuffix("/status").removesuffix("s")
                rows = [
                    row
                    for row in table.lower().splitlines()
                    if name in row or ("/" in resource and "status" in row)
                ]
                said = " ".join(row.split("|")[1] for row in rows)
                assert set(rule["verbs"]) <= set(re.findall(r"\w+", said)), resource
