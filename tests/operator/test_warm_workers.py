"""Workers that stay, beside an operator and the controllers of Kubernetes, on a node without containers."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import polars as pl
import pytest
from cluster.control_plane import ControlPlane
from cluster.fixtures import namespace_of
from cluster_story import Story, story
from conditions import Object
from eventually import eventually
from operating import samples

from featurestore.storage import paths
from featurestore.storage.delta import Table
from featurestore.storage.objects import Storage
from featurestore_operator.jobs.workers import is_ready
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


def ready(story: Story) -> list[str]:
    """Names of the pods that can be asked."""
    pods = story.api.list(POD, story.namespace, {NAME: "featurestore-worker"})
    return sorted(it["metadata"]["name"] for it in pods if is_ready(it))


def at_work(story: Story) -> list[str]:
    """Names of the pods that run a batch."""
    logs = {pod: (story.node.folder / f"{pod}.log").read_text() for pod in ready(story)}
    return [pod for pod, log in logs.items() if log.count(": begins\n") > log.count(" after ")]


def arrive_at_both(story: Story, number: int) -> None:
    """The next file of ``events``, and one of ``others`` with one row."""
    story.next()
    row = {"k": ["a"], "ts": ["2024-01-01T00:00:00"], "v": [number]}
    story.drop(f"{number}.parquet", row, "others")


def values(story: Story, pipeline: str) -> list[int]:
    """Of all rows of a dataset."""
    table = Table.open(Storage(story.root), paths.dataset(pipeline))
    if table is None or not table.uris():
        return []
    found: list[int] = pl.read_parquet(table.uris())["v"].sort().to_list()
    return found


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


def test_of_two_operators_and_two_workers_one_of_each_is_killed_and_each_row_is_there_once(
    warm: Story,
) -> None:
    """Without leader election both operators ask for every batch: one of them a worker, the other in the end a Job."""
    folder, first = warm.node.folder, warm.operators[-1]
    (folder / "held.py").write_text(HELD)
    held = {"execution": "Warm", "transforms": [{"python": {"callable": "held:step"}}]}
    (folder / "wait").touch()
    warm.apply(*(warm.pipeline(name, **held) for name in ("events", "others")))
    # As many workers as there are batches at once are wanted. While the second one starts, its batch has a Job.
    arrive_at_both(warm, 1)
    eventually(lambda: len(ready(warm)) == 2, 240, warm.told)
    (folder / "wait").unlink()
    warm.settle(180)
    eventually(lambda: values(warm, "others") == [1], 180, warm.told)

    (folder / "wait").touch()
    warm.start(user="second")
    arrive_at_both(warm, 2)
    eventually(lambda: at_work(warm), 180, warm.told)
    [worker, *_] = at_work(warm)
    first.server.kill()
    warm.node.process(worker).kill()
    (folder / "wait").unlink()
    warm.settle(180)
    eventually(lambda: len(values(warm, "others")) >= 2, 180, warm.told)
    assert values(warm, "others") == [1, 2]
    assert values(warm, "events") == [*range(1, warm.files + 1)]
    started = [pod for pod in warm.node.ran if "-worker-" in pod]
    assert len(started) <= 8, f"the operators do not agree how many are wanted: {started}"
    warm.delete("datapipeline", "others")


def test_a_worker_that_cannot_start_is_told_with_what_kubernetes_says(warm: Story) -> None:
    missing = [{"secretRef": {"name": "missing"}}]
    warm.apply(warm.pipeline(execution="Warm", job={"template": {"envFrom": missing}}))
    warm.next()
    eventually(lambda: "CreateContainerConfigError" in condition(warm).get("message", ""), 120, warm.told)
    assert condition(warm)["reason"] == "WorkersUnavailable"

    def message() -> str:
        return str(events(warm).get("WorkersUnavailable", {}).get("message", ""))

    # An Event is of the first that was said of a fault: here also that nothing schedules pods.
    eventually(lambda: message().startswith("No worker is ready. Pod "), 60, message)
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
