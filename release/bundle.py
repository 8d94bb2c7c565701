"""The bundle for the Operator Lifecycle Manager: made of the chart and of the definitions, so that it says what they say.

https://olm.operatorframework.io/docs/tasks/creating-operator-manifests/. Two things differ from the chart, as OLM has them
so: it makes the ServiceAccount and its roles itself, of what the ClusterServiceVersion says; and it would give a webhook a
certificate and a path of its own, so that there is none: what it would have refused, conditions tell.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from featurestore.resources.kinds import API_VERSION, GROUP, KINDS, POLICY, VERSION, ResourceKind
from release import images

Object = dict[str, Any]
PACKAGE, CHANNEL = "featurestore-operator", "alpha"
OPERATOR = "featurestore-operator"
CHART = images.ROOT / "operator" / "chart"
EXAMPLES = images.ROOT / "fixtures" / "specs" / "valid"
LABELS = {
    "operators.operatorframework.io.bundle.mediatype.v1": "registry+v1",
    "operators.operatorframework.io.bundle.manifests.v1": "manifests/",
    "operators.operatorframework.io.bundle.metadata.v1": "metadata/",
    "operators.operatorframework.io.bundle.package.v1": PACKAGE,
    "operators.operatorframework.io.bundle.channels.v1": CHANNEL,
    "operators.operatorframework.io.bundle.channel.default.v1": CHANNEL,
}
_WEBHOOK = "webhook"
_OF_OLM = (
    "Namespace",
    "ServiceAccount",
    "Deployment",
    "CustomResourceDefinition",
    "ValidatingWebhookConfiguration",
)
"""What OLM makes by itself, what is written otherwise below, and what there is none of."""
_OF_HELM = ("helm.sh/chart", "app.kubernetes.io/managed-by", "helm.sh/resource-policy")
_DESCRIPTION = """\
Drop files in a folder or a bucket; read correct features, in training and in inference. A DataPipeline turns arriving files
into checked datasets, a FeatureView turns a dataset into features of an entity: in Delta Lake for training, in DuckDB or
Redis for inference. Each file takes effect exactly once, whatever is killed on the way.
"""


def write(rendered: str, into: Path, pushed: Mapping[str, str]) -> None:
    """Write ``manifests/``, ``metadata/`` and the bundle's ``Dockerfile``. ``rendered``: what ``helm template`` prints of the
    chart with the values of ``pushed``, which names the images by target.
    """
    found: list[Object] = [it for it in yaml.load_all(rendered, yaml.CSafeLoader) if it]
    manifests, metadata = into / "manifests", into / "metadata"
    for folder in (manifests, metadata):
        folder.mkdir(parents=True)
    for path in sorted((CHART / "definitions").glob("*.yaml")):
        if path.name != "kustomization.yaml":
            (manifests / f"{path.stem}.crd.yaml").write_text(path.read_text())
    for it in found:
        if it["kind"] not in _OF_OLM and not _is_of_account(it) and not _is_of_webhook(it):
            name = f"{it['metadata']['name']}.{it['kind'].lower()}.yaml"
            (manifests / name).write_text(_dump(_plain(it)))
    version = cluster_service_version(found, pushed)
    (manifests / f"{PACKAGE}.clusterserviceversion.yaml").write_text(_dump(version))
    (metadata / "annotations.yaml").write_text(_dump({"annotations": LABELS}))
    labels = "".join(f"LABEL {name}={value}\n" for name, value in LABELS.items())
    (into / "Dockerfile").write_text(
        f"FROM scratch\n{labels}COPY manifests /manifests/\nCOPY metadata /metadata/\n"
    )


def cluster_service_version(found: Sequence[Object], pushed: Mapping[str, str]) -> Object:
    """What OLM installs, of the objects that the chart makes."""
    (deployment,) = [it for it in found if it["kind"] == "Deployment"]
    version = images.version()
    examples = [it for kind in [*KINDS.values(), POLICY] if (it := example(kind))]
    return {
        "apiVersion": "operators.coreos.com/v1alpha1",
        "kind": "ClusterServiceVersion",
        "metadata": {
            "name": f"{PACKAGE}.v{version}",
            "namespace": "placeholder",
            "annotations": {
                "alm-examples": json.dumps(examples, indent=2),
                "capabilities": "Full Lifecycle",
                "categories": "AI/Machine Learning, Big Data",
                "containerImage": pushed["operator"],
            },
        },
        "spec": {
            "displayName": "Feature Store",
            "description": _DESCRIPTION,
            "version": version,
            "maturity": "alpha",
            "minKubeVersion": yaml.safe_load((CHART / "Chart.yaml").read_text())["kubeVersion"]
            .strip(">=")
            .removesuffix("-0"),
            "keywords": ["feature store", "machine learning", "delta lake"],
            "provider": {"name": "The featurestore authors"},
            "installModes": [
                {"type": mode, "supported": mode == "AllNamespaces"}
                for mode in ("OwnNamespace", "SingleNamespace", "MultiNamespace", "AllNamespaces")
            ],
            "install": {
                "strategy": "deployment",
                "spec": {
                    "deployments": [{"name": OPERATOR, "spec": _without_webhook(deployment["spec"])}],
                    "clusterPermissions": _permissions(found, "ClusterRole"),
                    "permissions": _permissions(found, "Role"),
                },
            },
            "customresourcedefinitions": {"owned": [_owned(kind) for kind in [*KINDS.values(), POLICY]]},
            "relatedImages": [{"name": target, "image": pushed[target]} for target in images.IN_CHART],
        },
    }


def example(kind: ResourceKind) -> Object | None:
    """A resource of a kind that a form begins with: one of the specs that tests take for valid."""
    for path in sorted(EXAMPLES.glob("*.yaml")):
        for it in yaml.safe_load_all(path.read_text()):
            if it["kind"] == kind.name:
                return {"apiVersion": API_VERSION, **it}
    return None


def _owned(kind: ResourceKind) -> Object:
    definition = yaml.load((CHART / "definitions" / f"{kind.plural}.yaml").read_text(), yaml.CSafeLoader)
    (version,) = [it for it in definition["spec"]["versions"] if it["name"] == VERSION]
    return {
        "name": f"{kind.plural}.{GROUP}",
        "version": VERSION,
        "kind": kind.name,
        "displayName": kind.name,
        "description": version["schema"]["openAPIV3Schema"]["description"],
    }


def _permissions(found: Sequence[Object], kind: str) -> list[Object]:
    """What bindings of such roles give to the operator's account, without what only the webhook needs."""
    bound = {it["roleRef"]["name"] for it in found if it["kind"] == f"{kind}Binding" and _is_of_account(it)}
    roles = [it for it in found if it["kind"] == kind and it["metadata"]["name"] in bound]
    rules = [rule for role in roles for rule in role["rules"]]
    return [{"serviceAccountName": OPERATOR, "rules": [it for it in rules if not _is_for_webhook(it)]}]


def _is_for_webhook(rule: Object) -> bool:
    named = f"{OPERATOR}-{_WEBHOOK}" in rule.get("resourceNames", ())
    return named or "admissionregistration.k8s.io" in rule.get("apiGroups", ())


def _is_of_account(it: Object) -> bool:
    """A role of the operator's account, or its binding: OLM makes them of the ClusterServiceVersion."""
    return bool(
        it["kind"].startswith(("Role", "ClusterRole")) and it["metadata"]["name"].startswith(OPERATOR)
    )


def _is_of_webhook(it: Object) -> bool:
    return bool(it["metadata"]["name"] == f"{OPERATOR}-{_WEBHOOK}")


def _without_webhook(deployment: Object) -> Object:
    spec = copy.deepcopy(deployment)
    for container in spec["template"]["spec"]["containers"]:
        container["env"] = [it for it in container["env"] if "WEBHOOK" not in it["name"]]
        container["ports"] = [it for it in container["ports"] if it["name"] != _WEBHOOK]
    return spec


def _plain(it: Object) -> Object:
    """An object without what only Helm says, and without a namespace, which is where OLM puts the operator."""
    plain = copy.deepcopy(it)
    metadata = plain["metadata"]
    metadata.pop("namespace", None)
    metadata["labels"] = {name: text for name, text in metadata["labels"].items() if name not in _OF_HELM}
    if it["kind"] == "NetworkPolicy":
        rules = plain["spec"]["ingress"]
        plain["spec"]["ingress"] = [
            it for it in rules if all(port["port"] != _WEBHOOK for port in it["ports"])
        ]
    return plain


def _dump(it: Object) -> str:
    return yaml.safe_dump(it, sort_keys=False, allow_unicode=True, width=120)
