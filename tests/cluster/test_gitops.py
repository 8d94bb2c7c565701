"""``kubectl wait``, kstatus (its library) and Argo CD (our health check, in its interpreter) agree on how a resource stands.

Statuses are written by the operator's writer before a real API server.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import manifest
import pytest
from cluster.access import KubectlError
from cluster.binaries import MissingError, built
from cluster.control_plane import ControlPlane
from cluster.fixtures import namespace_of
from unavailable import unavailable

from featurestore.reconcile.conditions import Condition, false, true
from featurestore.reconcile.reasons import Reason
from featurestore.resources.kinds import KINDS
from featurestore_operator.controllers.status_writer import StatusWriter
from featurestore_operator.kube import access
from featurestore_operator.kube.api import Api
from featurestore_operator.kube.api_resources import DATA_PIPELINE
from featurestore_operator.metrics import Metrics

ARGOCD = Path(__file__).parents[2] / "operator" / "argocd"
IDLE = false("Progressing", Reason.IDLE, "Nothing to do.")
SAID: dict[str, tuple[Condition, ...]] = {
    "unseen": (),
    "ready": (true("Ready", Reason.UP_TO_DATE, "All is there."), IDLE),
    "takes-a-batch": (
        true("Ready", Reason.UP_TO_DATE, "All is there."),
        true("Progressing", Reason.RUNNING, "Job p-2 is running"),
    ),
    "late": (false("Ready", Reason.BATCH_PENDING, "Batch 2 has waited for 11 minutes."),),
    "retries": (
        false("Ready", Reason.RETRYING, "It is retried."),
        true("Degraded", Reason.RETRYING, "It failed."),
    ),
    "failed": (
        false("Ready", Reason.FAILED, "No module my_package."),
        true("Degraded", Reason.FAILED, "It failed."),
    ),
    "invalid": (false("Ready", Reason.SPEC_INVALID, "There is no column x."),),
    "not-allowed": (false("Ready", Reason.NOT_ALLOWED, "No policy allows it."),),
    "suspended": (false("Ready", Reason.SUSPENDED, "Suspended."),),
    "mended": (true("Ready", Reason.UP_TO_DATE, "All is there."), IDLE),
    "changed-since": (true("Ready", Reason.UP_TO_DATE, "All is there."), IDLE),
}


class Verdict(NamedTuple):
    kubectl_goes_on: bool
    kstatus: str
    argocd: str


@pytest.fixture(scope="module")
def verdicts(control_plane: ControlPlane) -> Iterator[dict[str, Verdict]]:
    """Of each state, by one call of each tool."""
    try:
        program = built("gitops")
    except MissingError as missing:
        unavailable(missing)
    api = Api(access.configuration(str(control_plane.kubeconfig)), Metrics())
    writer = StatusWriter(api, lambda: 1_700_000_000_000_000, "it")
    with namespace_of(control_plane) as namespace:
        for name, conditions in SAID.items():
            found = api.create(DATA_PIPELINE, manifest.pipeline(namespace, name))
            if name == "mended":
                writer.write(found, SAID["failed"], {})
                found = api.get(DATA_PIPELINE, namespace, name)
            if conditions:
                writer.write(found, conditions, {})
        api.patch(DATA_PIPELINE, namespace, "changed-since", {"spec": {"description": "another"}})
        listed = control_plane.kubectl("get", "datapipelines", "-o", "json", "-n", namespace)
        command = [program, ARGOCD / "health.lua"]
        answered = subprocess.run(command, input=listed, capture_output=True, text=True, check=True).stdout
        went_on = {name for name in SAID if waited(control_plane, namespace, name)}
        names = [it["metadata"]["name"] for it in json.loads(listed)["items"]]
        yield {
            name: Verdict(name in went_on, said["kstatus"], said["argocd"])
            for name, said in zip(names, map(json.loads, answered.splitlines()), strict=True)
        }
    api.close()


def waited(plane: ControlPlane, namespace: str, name: str) -> bool:
    """Whether ``kubectl wait`` goes on at once."""
    options = ("--for=condition=Ready", "--timeout=0", "-n", namespace)
    try:
        plane.kubectl("wait", f"datapipeline/{name}", *options)
    except KubectlError:
        return False
    return True


@pytest.mark.parametrize("state", ["ready", "takes-a-batch", "mended"])
def test_what_is_ready_is_so_for_all_also_while_a_batch_is_taken(
    verdicts: dict[str, Verdict], state: str
) -> None:
    assert verdicts[state] == (True, "Current", "Healthy")


@pytest.mark.parametrize("state", ["unseen", "late", "retries", "changed-since"])
def test_what_goes_on_by_itself_is_waited_for_by_all(verdicts: dict[str, Verdict], state: str) -> None:
    assert verdicts[state] == (False, "InProgress", "Progressing")


@pytest.mark.parametrize("state", ["failed", "invalid", "not-allowed"])
def test_what_somebody_has_to_mend_has_failed_for_all(verdicts: dict[str, Verdict], state: str) -> None:
    assert verdicts[state] == (False, "Failed", "Degraded")


def test_what_is_suspended_is_neither_ready_nor_failed(verdicts: dict[str, Verdict]) -> None:
    assert verdicts["suspended"] == (False, "InProgress", "Suspended")


def test_the_health_check_is_given_to_argo_cd_for_every_kind_that_has_a_status(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    (tmp_path / "argocd").symlink_to(ARGOCD)
    (tmp_path / "config.yaml").write_text(
        json.dumps(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "argocd-cm"}, "data": {"url": "x"}}
        )
    )
    overlay = {
        "generatorOptions": {"disableNameSuffixHash": True},
        "configMapGenerator": [{"name": "argocd-cm", "literals": ["url=x"]}],
        "components": ["argocd"],
    }
    (tmp_path / "kustomization.yaml").write_text(json.dumps(overlay))
    rendered = (
        control_plane.kubectl("kustomize", tmp_path, "-o", str(tmp_path / "out.yaml"))
        or (tmp_path / "out.yaml").read_text()
    )
    for kind in KINDS.values():
        assert f"resource.customizations.health.featurestore.dev_{kind.name}: |" in rendered
