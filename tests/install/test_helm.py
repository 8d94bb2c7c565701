"""The chart and the kustomization that is rendered from it install the same, with each component."""

from __future__ import annotations

import copy
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster.binaries import MissingError, built
from cluster.control_plane import ControlPlane
from examples import exhaustive
from installation import (
    CHART,
    DEPLOY,
    NAMESPACE,
    Object,
    Objects,
    kustomized,
    rendered_for_kustomize,
    templated,
    templated_with,
)
from unavailable import unavailable

from featurestore.resources.kinds import KINDS, POLICY
from featurestore_operator.settings import parse

# What a chart says of itself, and the one thing that is said for Helm alone: definitions outlive the release.
_OF_HELM = ("helm.sh/chart", "app.kubernetes.io/managed-by", "helm.sh/resource-policy")


def alike(found: Objects) -> Objects:
    """As both say it: without the namespace, which Helm makes itself, and without what only Helm says."""
    return {key: _plain(value) for key, value in found.items() if key[0] != "Namespace"}


def _plain(value: Object) -> Object:
    plain = copy.deepcopy(value)
    metadata = plain["metadata"]
    for field in ("labels", "annotations"):
        kept = {name: it for name, it in (metadata.pop(field, None) or {}).items() if name not in _OF_HELM}
        if kept:
            metadata[field] = kept
    return plain


def placed(found: Objects) -> Objects:
    """Helm puts what names no namespace into that of the release."""
    everywhere = ("Cluster", "CustomResourceDefinition", "Validating", "Namespace")
    return {
        (kind, namespace or ("" if kind.startswith(everywhere) else NAMESPACE), name): _in(
            value, "" if kind.startswith(everywhere) else NAMESPACE
        )
        for (kind, namespace, name), value in found.items()
    }


def _in(value: Object, namespace: str) -> Object:
    if namespace:
        value["metadata"]["namespace"] = namespace
    return value


@pytest.mark.parametrize(
    ("components", "values"),
    [
        ((), ()),
        (("cert-manager",), ("certManager.enabled=true",)),
        (("monitoring", "namespaced"), ("monitoring.enabled=true", "scope=Namespace")),
        # Each is in the one before, too.
        *([(("monitoring",), ("monitoring.enabled=true",))] if exhaustive() else []),
        *([(("namespaced",), ("scope=Namespace",))] if exhaustive() else []),
    ],
    ids=lambda given: "-".join(given) or "base",
)
def test_both_install_the_same_objects(
    tmp_path: Path, components: tuple[str, ...], values: tuple[str, ...]
) -> None:
    try:
        ours, theirs = alike(kustomized(tmp_path, *components)), alike(placed(templated(*values)))
    except MissingError as missing:
        unavailable(missing)
    assert set(ours) == set(theirs)
    for key, value in ours.items():
        assert theirs[key] == value, key


def test_the_kustomization_is_rendered_from_the_chart() -> None:
    try:
        rendered = rendered_for_kustomize()
    except MissingError as missing:
        unavailable(missing)
    assert (DEPLOY / "operator.yaml").read_text() == rendered, "run `make crds`"


def test_definitions_and_with_them_all_resources_outlive_the_release() -> None:
    try:
        found = templated()
    except MissingError as missing:
        unavailable(missing)
    kept = {name for (kind, _, name), it in found.items() if _is_kept(it)}
    assert kept == {name for (kind, _, name) in found if kind == "CustomResourceDefinition"}
    assert len(kept) == len(KINDS) + len([POLICY])


def _is_kept(value: dict[str, Any]) -> bool:
    return (value["metadata"].get("annotations") or {}).get("helm.sh/resource-policy") == "keep"


def test_helm_finds_nothing_wrong_with_the_chart() -> None:
    assert linted().returncode == 0


@pytest.mark.parametrize(
    "wrong",
    [
        *(
            "scope=All",
            "replicas=0",
            "images.operator=",
            "unheard=of",
            "jobs.max=0",
            "webhook.failurePolicy=Never",
        ),
        *("metrics.access=Anybody", "log.level=LOUD", "extraEnv[0].value=a", "nodeSelector.pool[0]=a"),
        "networkPolicy.jobsEgress[0].from=a",
    ],
)
def test_a_value_that_means_nothing_is_refused(wrong: str) -> None:
    assert "values don't meet the specifications" in linted(f"--set={wrong}").stdout


def test_each_value_reaches_what_it_is_about(tmp_path: Path) -> None:
    values = {
        "images": {"redis": "mirror/redis:8"},
        "serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "arn:x"}},
        "jobs": {"max": 50, "maxPerNamespace": 5},
        "webhook": {"failurePolicy": "Fail"},
        "log": {"format": "text", "level": "DEBUG"},
        "podLabels": {"azure.workload.identity/use": "true"},
        "podAnnotations": {"sidecar": "false"},
        "nodeSelector": {"pool": "system"},
        "tolerations": [{"key": "system", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "priorityClassName": "system-cluster-critical",
        "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}],
        "metrics": {"access": "Open"},
        "networkPolicy": {
            "metricsFrom": [{"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}],
            "webhookFrom": [{"ipBlock": {"cidr": "10.0.0.1/32"}}],
            "notificationsFrom": [{"ipBlock": {"cidr": "10.0.0.2/32"}}],
            "jobsEgress": [{"to": [{"podSelector": {}}], "ports": [{"port": 53, "protocol": "UDP"}]}],
        },
    }
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(values))
    try:
        found = templated_with(tmp_path / "values.yaml")
    except MissingError as missing:
        unavailable(missing)
    account = found["ServiceAccount", NAMESPACE, "featurestore-operator"]
    assert account["metadata"]["annotations"] == values["serviceAccount"]["annotations"]
    template = found["Deployment", NAMESPACE, "featurestore-operator"]["spec"]["template"]
    assert template["metadata"]["labels"].items() >= values["podLabels"].items()
    assert template["metadata"]["annotations"] == values["podAnnotations"]
    for name in ("nodeSelector", "tolerations", "affinity", "priorityClassName"):
        assert template["spec"][name] == values[name]
    given = {it["name"]: it.get("value", "") for it in template["spec"]["containers"][0]["env"]}
    settings = parse([], given)
    assert (settings.max_jobs, settings.max_jobs_per_namespace) == (50, 5)
    assert (settings.log_format, settings.log_level, settings.redis_image) == (
        "text",
        "DEBUG",
        "mirror/redis:8",
    )
    assert settings.metrics_access == "open"
    assert given["HTTPS_PROXY"] == "http://proxy:3128"
    (hook,) = found["ValidatingWebhookConfiguration", "", "featurestore-operator"]["webhooks"]
    assert hook["failurePolicy"] == "Fail"
    rules = found["NetworkPolicy", NAMESPACE, "featurestore-operator"]["spec"]["ingress"]
    *clients, egress = values["networkPolicy"].values()
    assert [it["from"] for it in rules] == clients
    assert list(settings.job_egress) == egress
    # What the operator does not ask for any more it is not granted either.
    role = found["ClusterRole", "", "featurestore-operator-cluster"]
    assert "tokenreviews" not in str(role)


def test_the_notes_say_how_to_go_on(control_plane: ControlPlane) -> None:
    done = subprocess.run(
        [
            *(built("helm"), "install", "featurestore", CHART, "--dry-run=client", "--take-ownership"),
            *(f"--namespace={NAMESPACE}", f"--kubeconfig={control_plane.kubeconfig}"),
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    notes = done.stdout[done.stdout.index("NOTES:") :]
    assert f"kubectl rollout status -n {NAMESPACE} deployment/featurestore-operator" in notes
    assert "--clusterrole=featurestore-metrics" in notes


def linted(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [built("helm"), "lint", "--strict", CHART, *arguments], capture_output=True, text=True
    )
