"""Workers that stay, beside an operator and the controllers of Kubernetes, on a node without containers."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from cluster.control_plane import ControlPlane
from cluster.fixtures import namespace_of
from cluster_story import Story, story
from conditions import Object
from eventually import eventually
from operating import samples

from featurestore_operator.kube.api_resources import EVENT, POD

pytestmark = pytest.mark.slow
NAME = "app.kubernetes.io/name"
HELD = """
import time
from pathlib import Path

def step(frame):
    Path("begun").touch()
    while Path("wait").exists():
        time.sleep(0.01)
    return frame
"""


@pytest.fixture(scope="module")
def warm(controllers: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """A store, a pipeline that wants workers, a view, an operator, and a worker: the first file was taken by a Job."""
    folder = tmp_path_factory.mktemp("warm")
    with namespace_of(controllers) as namespace, story(controllers, namespace, folder) as begun:
        begun.apply(begun.store(), begun.pipeline(execution="Warm"), begun.view())
        begun.next()
        begun.start()
        begun.settle()
        assert begun.batches() == [1], "no worker was there"
        wait_until_ready(begun)
        yield begun


def condition(story: Story) -> Object:
    stated = story.get("featurestore", "default").get("status", {}).get("conditions", ())
    found: Object = next((it for it in stated if it["type"] == "Workers"), {})
    return found


def workers(story: Story) -> list[str]:
    """Names of the pods."""
    pods = story.api.list(POD, story.namespace, {NAME: "featurestore-worker"})
    return [it["metadata"]["name"] for it in pods if "deletionTimestamp" not in it["metadata"]]


def events(story: Story) -> dict[str, Object]:
    """Those about the store, by their reason."""
    listed = story.api.list(EVENT, story.namespace)
    return {it["reason"]: it for it in listed if it["involvedObject"]["kind"] == "FeatureStore"}


def wait_until_ready(story: Story) -> None:
    eventually(lambda: condition(story).get("status") == "True", 120, story.told)


def test_batches_that_come_while_a_worker_is_there_need_no_job(warm: Story) -> None:
    for _ in range(2):
        warm.next()
        warm.settle()
    assert warm.batches() == [1]
    assert len(workers(warm)) == 1
    assert samples(warm.operators[-1].get("/metrics")[1], "workers_backlog") == [0]


def test_a_batch_of_a_worker_whose_operator_is_killed_ends_and_is_there_once_after_the_next_has_begun(
    warm: Story,
) -> None:
    folder, [pod] = warm.node.folder, workers(warm)
    (folder / "held.py").write_text(HELD)
    (folder / "wait").touch()
    warm.apply(warm.pipeline(execution="Warm", transforms=[{"python": {"callable": "held:step"}}]))
    warm.next()
    eventually((folder / "begun").exists, 120, warm.told)
    warm.operators[-1].server.kill()
    log = folder / f"{pod}.log"
    eventually(lambda: "who asked for it is gone" in log.read_text(), 60, log.read_text)
    (folder / "wait").unlink()
    warm.start()
    warm.settle()
    assert log.read_text().count("who asked for it is gone") == 1


def test_a_batch_whose_worker_hangs_has_a_job_and_the_store_tells_so(warm: Story) -> None:
    process = warm.node.process(*workers(warm))
    process.send_signal(signal.SIGSTOP)
    warm.next()
    warm.settle()
    assert warm.batches() == [1, warm.files]
    eventually(lambda: condition(warm).get("reason") == "WorkersUnavailable", 60, warm.told)
    assert "Batches have Jobs meanwhile." in condition(warm)["message"]
    # As a kubelet does with a container that no longer answers.
    process.kill()
    wait_until_ready(warm)
    assert events(warm)["WorkersUnavailable"]["type"] == "Warning"


def test_a_worker_that_cannot_start_is_told_with_what_kubernetes_says(warm: Story) -> None:
    missing = [{"secretRef": {"name": "missing"}}]
    warm.apply(warm.pipeline(execution="Warm", job={"template": {"envFrom": missing}}))
    warm.next()
    eventually(lambda: "CreateContainerConfigError" in condition(warm).get("message", ""), 120, warm.told)
    assert condition(warm)["reason"] == "WorkersUnavailable"

    def message() -> str:
        return str(events(warm).get("WorkersUnavailable", {}).get("message", ""))

    eventually(lambda: "CreateContainerConfigError" in message(), 60, message)
    warm.apply(warm.pipeline(execution="Warm"))
    warm.settle()


def test_workers_of_which_nothing_is_asked_end_and_leave_nothing(warm: Story) -> None:
    warm.apply(warm.store(workers={"idleTimeout": "1s"}))
    eventually(lambda: not workers(warm), 120, warm.told)
    eventually(lambda: not condition(warm), 60, warm.told)
    selected = ("-n", warm.namespace, "-l", f"{NAME}=featurestore-worker", "-o", "name")
    assert warm.plane.kubectl("get", "deployments,networkpolicies", *selected).strip() == ""
    warm.next()
    warm.settle()
