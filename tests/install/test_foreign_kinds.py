"""The Prometheus Operator and cert-manager take what is installed for them, by their own definitions."""

from __future__ import annotations

import json
from pathlib import Path

import yaml
from cluster.binaries import MissingError, foreign_definitions
from cluster.control_plane import ControlPlane
from cluster.fixtures import apply_crds
from installation import kustomized, of_kind, templated
from unavailable import unavailable

KINDS = ("ServiceMonitor", "PrometheusRule", "Certificate", "Issuer")


def test_what_is_installed_for_others_is_as_their_definitions_have_it(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    try:
        theirs = foreign_definitions()
        ours = {
            "chart": templated("monitoring.enabled=true", "certManager.enabled=true"),
            "kustomization": kustomized(tmp_path, "monitoring", "cert-manager"),
        }
    except MissingError as missing:
        unavailable(missing)
    folder = tmp_path / "definitions"
    folder.mkdir()
    for file in theirs.glob("*.yaml"):
        found = yaml.safe_load(file.read_text())
        # A template of their chart, and more than an annotation of `kubectl apply` may hold.
        found["metadata"] = {"name": found["metadata"]["name"]}
        (folder / file.name).write_text(json.dumps(found))
    apply_crds(control_plane, folder)
    try:
        for source, objects in ours.items():
            made = of_kind(objects, *KINDS)
            assert {it["kind"] for it in made} == set(KINDS), source
            for it in made:
                it["metadata"]["namespace"] = namespace
                command = ("apply", "--dry-run=server", "--validate=strict", "-f", "-")
                assert "dry run" in control_plane.kubectl(*command, stdin=json.dumps(it)), source
    finally:
        control_plane.kubectl("delete", f"--filename={folder}")
