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
NAMESPACE = "featurestore-system"
MONITORING = CHART / "monitoring"
GROUPS = yaml.safe_load((MONITORING / "rules.yaml").read_text())["spec"]["groups"]
ALERTS = [rule for group in GROUPS for rule in group["rules"]]
DASHBOARD = json.loads((MONITORING / "dashboard.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]

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
    values = [f"--set={it}" for it in settings]
    command = [
        built("helm"),
        "template",
        "featurestore",
        CHART,
        f"--namespace={NAMESPACE}",
        f"--kube-version={version('k8s.io/kubernetes')}",
        *values,
    ]
    return objects(printed(command))


def objects(text: str) -> Objects:
    """The objects of YAML documents; no two have one name."""
    found: Objects = {}
    for one in filter(None, yaml.safe_load_all(text)):
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
