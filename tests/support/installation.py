"""What is installed, as kubectl and Helm render it; alerts and dashboard."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml
from cluster.binaries import built, version

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "operator" / "deploy"
CHART = ROOT / "operator" / "chart"
AUDIT_POLICY = ROOT / "operator" / "audit" / "policy.yaml"
NAMESPACE = "featurestore-system"
MONITORING = CHART / "monitoring"
GROUPS = yaml.safe_load((MONITORING / "rules.yaml").read_text())["spec"]["groups"]
ALERTS = [rule for group in GROUPS for rule in group["rules"]]
DASHBOARD = json.loads((MONITORING / "dashboard.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]

_APART = ("definitions.yaml", "certificate.yaml", "monitoring.yaml")
"""Templates that are a file or a component of the kustomization by themselves."""
Object = dict[str, Any]
Objects = dict[tuple[str, str, str], Object]
"""By kind, namespace and name."""


def kustomized(folder: Path, *components: str) -> Objects:
    """Objects of ``kubectl kustomize`` with these components. ``folder``: an empty one, for the overlay.

    Raises:
        MissingError: kubectl was not built.
    """
    source = DEPLOY
    if components:
        # Paths in a kustomization are relative.
        base = Path(os.path.relpath(DEPLOY, folder.resolve()))
        overlay = {
            "resources": [str(base)],
            "components": [str(base / "components" / name) for name in components],
        }
        (folder / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
        source = folder
    return objects(printed([built("kubectl"), "kustomize", source]))


def templated(*settings: str) -> Objects:
    """Objects of ``helm template`` with these values.

    Raises:
        MissingError: Helm was not built.
    """
    return objects(printed(_template(*(f"--set={it}" for it in settings))))


def templated_with(values: Path) -> Objects:
    """Objects of ``helm template`` with a file of values.

    Raises:
        MissingError: Helm was not built.
    """
    return objects(printed(_template(f"--values={values}")))


def _template(*options: str) -> list[object]:
    """The command that renders the chart for the version of Kubernetes of the tests."""
    kubernetes = f"--kube-version={version('k8s.io/kubernetes')}"
    return [
        built("helm"),
        "template",
        "featurestore",
        CHART,
        f"--namespace={NAMESPACE}",
        kubernetes,
        *options,
    ]


def rendered_for_kustomize() -> str:
    """``operator/deploy/operator.yaml``: the chart's objects without what only Helm says; the definitions stand apart.

    Raises:
        MissingError: Helm was not built.
    """
    templates = sorted(path.name for path in (CHART / "templates").glob("*.yaml"))
    shown = [f"--show-only=templates/{name}" for name in templates if name not in _APART]
    of_helm = ("# Source:", "app.kubernetes.io/managed-by: Helm", "helm.sh/chart:")
    lines = [it for it in printed(_template(*shown)).splitlines() if not it.strip().startswith(of_helm)]
    return "\n".join(("# Rendered from operator/chart: make crds", *lines, ""))


def objects(text: str) -> Objects:
    """The objects of YAML documents; no two have one name."""
    found: Objects = {}
    # libyaml's: the definitions are 400 kB, and Python's own loader takes seconds for them.
    for one in filter(None, yaml.load_all(text, yaml.CSafeLoader)):
        metadata = one["metadata"]
        key = one["kind"], metadata.get("namespace", ""), metadata["name"]
        assert key not in found, f"{key} is there twice"
        found[key] = one
    return found


def of_kind(found: Objects, *kinds: str) -> Iterable[Object]:
    return [value for (kind, _, _), value in found.items() if kind in kinds]


def printed(command: Sequence[object]) -> str:
    """What the command prints; it must not fail."""
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout


if __name__ == "__main__":
    (DEPLOY / "operator.yaml").write_text(rendered_for_kustomize())
