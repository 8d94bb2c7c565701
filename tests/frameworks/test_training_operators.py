"""Examples of the page, run by the real controllers: processes with what these write into pods read each row once."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from cluster.binaries import MissingError
from cluster.control_plane import ControlPlane
from cluster.training_controllers import environ_of, secrets_of, training_controllers
from eventually import eventually
from framework_set import Made
from training_page import EXAMPLES, Object, program
from unavailable import unavailable

WITHIN_S = 600.0
PROCESSES = {
    "PyTorchJob": ("training.kubeflow.org/job-name", 3),
    "TFJob": ("training.kubeflow.org/job-name", 3),
    "TrainJob": ("jobset.sigs.k8s.io/jobset-name", 2),
}
"""Label of the pods of a job, and how many there are."""


@pytest.fixture(scope="module")
def operators(controllers: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    try:
        with training_controllers(controllers, tmp_path_factory.mktemp("controllers")):
            yield controllers
    except MissingError as missing:
        unavailable(missing)


def applied(plane: ControlPlane, namespace: str, kind: str, store: str) -> None:
    """The example as it stands on the page, but for the store."""
    plane.kubectl(
        *("create", "secret", "generic", "s3", f"--namespace={namespace}"),
        "--from-literal=AWS_ENDPOINT_URL=http://storage",
    )
    text = json.dumps(EXAMPLES[kind]).replace("s3://features/prod", store)
    assert store in text
    plane.kubectl("apply", "--server-side", f"--namespace={namespace}", "--filename=-", stdin=text)


def pods(plane: ControlPlane, namespace: str, label: str) -> list[Object]:
    selector = f"--selector={label}=delays"
    found = plane.kubectl("get", "pods", f"--namespace={namespace}", selector, "--output=json")
    items: list[Object] = json.loads(found)["items"]
    return sorted(items, key=lambda it: str(it["metadata"]["name"]))


def ran(environ: Mapping[str, str], folder: Path, kill_after: int | None = None) -> list[float]:
    """Labels that the program of the page reads with this environment and no other.

    ``kill_after``: it is killed when it has kept its place so many times.
    """
    folder.mkdir(exist_ok=True)
    left = -1 if kill_after is None else kill_after
    head = f"import os\nleft = {left}\ndef kept():\n    global left\n    left -= 1\n    if not left: os.kill(os.getpid(), 9)\n"
    done = subprocess.run(
        [sys.executable, "-c", head + program(str(folder), "kept()")],
        env=dict(environ),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )
    wanted = 0 if kill_after is None else -signal.SIGKILL
    assert done.returncode == wanted, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
    return [label for line in done.stdout.splitlines() for label in json.loads(line)]


@pytest.mark.parametrize("kind", PROCESSES)
def test_processes_of_a_job_read_each_row_once_and_one_that_is_killed_goes_on(
    operators: ControlPlane, namespace: str, made: Made, tmp_path: Path, kind: str
) -> None:
    applied(operators, namespace, kind, made.store)
    label, count = PROCESSES[kind]
    eventually(lambda: len(pods(operators, namespace, label)) == count, WITHIN_S)
    secrets = secrets_of(operators, namespace)
    environs = [environ_of(pod, secrets) for pod in pods(operators, namespace, label)]
    assert all(environ["FEATURESTORE_URI"] == made.store for environ in environs)
    with ThreadPoolExecutor(2) as threads:
        whole = [
            threads.submit(ran, environ, tmp_path / str(number)) for number, environ in enumerate(environs)
        ]
        shares = [each.result() for each in whole]
    assert all(shares)
    assert sorted(label for share in shares for label in share) == made.labels
    killed = tmp_path / "killed"
    begun = ran(environs[-1], killed, kill_after=2)
    assert 0 < len(begun) < len(shares[-1])
    assert begun + ran(environs[-1], killed) == shares[-1]


def test_a_rayjob_has_a_cluster_whose_pods_have_the_image_and_the_store(
    operators: ControlPlane, namespace: str, made: Made
) -> None:
    applied(operators, namespace, "RayJob", made.store)
    found = partial(ray_pods, operators, namespace)
    eventually(
        lambda: {kind: len(each) for kind, each in found().items()} == {"head": 1, "worker": 2}, WITHIN_S
    )
    secrets = secrets_of(operators, namespace)
    for kind, each in found().items():
        for pod in each:
            [container] = pod["spec"]["containers"]
            assert container["image"] == "training"
            assert "ray start" in " ".join((*container["command"], *container["args"]))
            assert ("--head" in " ".join(container["args"])) == (kind == "head")
            literal = {it["name"]: it["value"] for it in container["env"] if "value" in it}
            assert literal["FEATURESTORE_URI"] == made.store
            assert [it["secretRef"]["name"] for it in container["envFrom"]] == list(secrets)
    services = operators.kubectl("get", "services", f"--namespace={namespace}", "--output=name")
    assert "-head-svc" in services


def ray_pods(plane: ControlPlane, namespace: str) -> dict[str, list[Object]]:
    found: dict[str, list[Object]] = {}
    for pod in json.loads(plane.kubectl("get", "pods", f"--namespace={namespace}", "--output=json"))["items"]:
        found.setdefault(pod["metadata"]["labels"]["ray.io/node-type"], []).append(pod)
    return found
