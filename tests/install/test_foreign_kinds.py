"""The Prometheus Operator, cert-manager and KServe take what is written for them, by their own definitions."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster.access import KubectlError
from cluster.binaries import MissingError, foreign_definitions
from cluster.control_plane import ControlPlane
from cluster.fixtures import apply_crds
from installation import kustomized, of_kind, templated
from own_environment import ROOT, section
from unavailable import unavailable

from featurestore.resources import FeatureStore
from featurestore.resources.serving import Serving
from featurestore_operator.jobs.job_manifest import JobContext
from featurestore_operator.namespaces.managed_server import server_objects

KINDS = ("ServiceMonitor", "PrometheusRule", "Certificate", "Issuer")
STRICTLY = ("apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-")


@pytest.fixture(scope="module")
def defined(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """The API server, which serves the kinds of others."""
    try:
        theirs = foreign_definitions()
    except MissingError as missing:
        unavailable(missing)
    folder = tmp_path_factory.mktemp("definitions")
    for file in theirs.glob("*.yaml"):
        definition = yaml.load(file.read_text(), yaml.CSafeLoader)
        # A template of their chart, and more than an annotation of `kubectl apply` may hold.
        definition["metadata"] = {"name": definition["metadata"]["name"]}
        (folder / file.name).write_text(json.dumps(definition))
    apply_crds(control_plane, folder)
    yield control_plane
    control_plane.kubectl("delete", f"--filename={folder}")


def test_what_is_installed_for_others_is_as_their_definitions_have_it(
    defined: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    try:
        ours = {
            "chart": templated("monitoring.enabled=true", "certManager.enabled=true"),
            "kustomization": kustomized(tmp_path, "monitoring", "cert-manager"),
        }
    except MissingError as missing:
        unavailable(missing)
    for source, objects in ours.items():
        made = of_kind(objects, *KINDS)
        assert {it["kind"] for it in made} == set(KINDS), source
        for it in made:
            it["metadata"]["namespace"] = namespace
            assert "dry run" in defined.kubectl(*STRICTLY, stdin=json.dumps(it)), source


def test_the_page_s_service_monitor_is_as_the_prometheus_operator_defines_it_and_finds_servers(
    defined: ControlPlane, namespace: str
) -> None:
    page = section((ROOT / "docs/serving.md").read_text(), "In a cluster")
    [text] = re.findall(r"^```yaml\n(apiVersion: monitoring\..*?)^```$", page, re.MULTILINE | re.DOTALL)
    monitor: dict[str, Any] = yaml.safe_load(text)
    monitor["metadata"]["namespace"] = namespace
    assert "dry run" in defined.kubectl(*STRICTLY, stdin=json.dumps(monitor))
    store = {"metadata": {"name": "default"}, "spec": {"offline": {"uri": "s3://features"}}}
    place = JobContext(namespace, "s3://features", "jobs:1", "jobs")
    service, *_ = server_objects(FeatureStore.model_validate(store), Serving(), {"uid": "u"}, place, [])
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["spec"]["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"]


def test_the_page_s_inference_service_is_as_kserve_defines_it(defined: ControlPlane, namespace: str) -> None:
    page = section((ROOT / "docs/training-platforms.md").read_text(), "KServe")
    [text] = re.findall(r"^```yaml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    service: dict[str, Any] = yaml.safe_load(text)
    service["metadata"]["namespace"] = namespace
    defined.kubectl("apply", "--server-side", "--validate=strict", "-f", "-", stdin=json.dumps(service))
    kept = json.loads(
        defined.kubectl("get", "inferenceservice", "delays", f"--namespace={namespace}", "-o", "json")
    )
    assert kept["spec"]["transformer"]["containers"] == service["spec"]["transformer"]["containers"]
    # Their definition knows the fields of a container: a wrong one would have been told.
    service["spec"]["transformer"]["containers"][0]["arguments"] = []
    with pytest.raises(KubectlError, match="arguments"):
        defined.kubectl(*STRICTLY, stdin=json.dumps(service))
