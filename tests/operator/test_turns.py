"""Where more is due than Jobs may run at once, namespaces take turns, and whoever waits is told and woken."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import manifest
import pytest
import storage_server
from cluster.control_plane import ControlPlane
from crowd import LOOK_US, Crowd
from tenants import Tenants

from featurestore.reconcile.steps import EngineStep, RunBatch, RunPiece
from featurestore.resources.job_spec import Priority
from featurestore_operator.informer.cache import Cache
from featurestore_operator.jobs.turns import HELD_US, Queued, Turns
from featurestore_operator.kube import access
from featurestore_operator.kube.api import Api
from featurestore_operator.kube.api_resources import JOB, POD
from featurestore_operator.kube.object_key import Key
from featurestore_operator.metrics import Metrics

MOST = 2


@pytest.fixture
def crowd(control_plane: ControlPlane, tmp_path: Path) -> Iterator[Crowd]:
    api = Api(access.configuration(str(control_plane.kubeconfig)), Metrics())
    yield Crowd(api, tmp_path, MOST)
    api.close()


def test_no_more_jobs_run_than_may_and_the_end_of_one_wakes_the_next(crowd: Crowd, namespace: str) -> None:
    names = ("a", "b", "c", "d")
    crowd.pipelines(namespace, *names)
    said = {name: crowd.look(namespace, name) for name in names}
    assert crowd.jobs(namespace) == ["a", "b"]
    assert [said[name]["Ready"]["reason"] for name in names] == ["BatchPending"] * 2 + ["WaitingForTurn"] * 2
    assert "none is before it, and 2 of 2 Jobs" in said["c"]["Ready"]["message"]
    assert "1 is before it" in said["d"]["Ready"]["message"]
    assert said["d"]["Progressing"]["reason"] == "WaitingForTurn"
    crowd.woken.clear()
    crowd.end(namespace, "a")
    waiting = [it.name for it in crowd.woken if it.name in ("c", "d")]
    assert waiting == ["c"]
    assert crowd.look(namespace, "c")["Ready"]["reason"] == "BatchPending"
    assert crowd.jobs(namespace) == ["a", "b", "c"]
    assert "none is before it" in crowd.look(namespace, "d")["Ready"]["message"]


def test_a_policy_says_how_many_jobs_a_namespace_may_have(
    control_plane: ControlPlane, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with storage_server.buckets(tmp_path / "s3", "features") as credentials:
        for name, value in credentials.items():
            monkeypatch.setenv(name, value)
        raw = tmp_path / "s3" / "features" / "raw"
        raw.mkdir()
        (raw / "a.parquet").write_bytes(b"")
        them = Tenants(control_plane)
        only = {"names": [namespace]}
        them.allow(f"own-{namespace}", only, uriPrefixes=["s3://features/"], maxJobs=1)
        them.store(namespace, f"s3://features/{namespace}")
        for name in ("p", "q"):
            them.pipeline(namespace, "s3://features/raw/*.parquet", name=name)
        them.looked_at(namespace, "DataPipeline")
        said = them.looked_at(namespace, "DataPipeline", "q")["Ready"]
        assert said["reason"] == "WaitingForTurn"
        assert f"1 of 1 Jobs of namespace {namespace!r}" in said["message"]
        them.allow(f"more-{namespace}", only, maxJobs=2)
        assert them.looked_at(namespace, "DataPipeline", "q")["Ready"]["reason"] == "BatchPending"
        assert len(them.jobs(namespace)) == 2
        them.close()


class Line:
    """Turns over a cache of Jobs that nobody runs, two at once. ``woken``: keys since it was emptied."""

    def __init__(self) -> None:
        self.now_us, self.version = 1_700_000_000_000_000, 0
        self.woken: list[Key] = []
        self.cache = Cache(lambda key, after_s: self.woken.append(key))
        self.turns = Turns(self.cache, MOST, lambda: self.now_us)

    def ask(
        self,
        namespace: str,
        name: str,
        work: EngineStep | None = None,
        limit: int = MOST,
        priority: Priority = Priority.NORMAL,
    ) -> Queued | None:
        """A look at a pipeline; its Job is created if it is its turn."""
        self.now_us += 1
        key = Key("DataPipeline", namespace, name)
        with self.turns.turn(key, work or RunBatch(name, 1, "0f"), limit, priority) as queued:
            if queued is None:
                self.put(manifest.job(namespace, name, name))
        self.turns.looked(key)
        return queued

    def put(self, item: dict[str, Any], **status: Any) -> None:
        self.version += 1
        item["metadata"] |= {"uid": item["metadata"]["name"], "resourceVersion": str(self.version)}
        self.cache.put(JOB if item["kind"] == "Job" else POD, item | {"status": status})

    def end(self, namespace: str, name: str) -> None:
        self.woken.clear()
        ended = [{"type": "Complete", "status": "True"}]
        self.put(manifest.job(namespace, name, name), conditions=ended)

    def next(self) -> list[str]:
        """Whose turn it is, among those that have no Job."""
        return [it.name for it in self.woken if it.name.startswith("w")]


@pytest.fixture
def line() -> Line:
    made = Line()
    assert made.ask("a", "1") is None
    assert made.ask("a", "2") is None
    return made


def test_the_namespace_with_fewest_jobs_comes_first_however_many_wait_before_it(line: Line) -> None:
    for number in range(30):
        assert line.ask("a", f"w{number}") is not None
    queued = line.ask("b", "wb")
    assert queued is not None
    assert "none is before it" in queued.sentence
    line.end("a", "1")
    assert line.next() == ["wb"]
    assert line.ask("a", "w0") is not None
    assert line.ask("b", "wb") is None


def test_live_data_goes_before_a_rebuild_which_is_not_passed_over_for_ever(line: Line) -> None:
    assert line.ask("a", "wr", RunPiece("wr", 1, 1)) is not None
    assert line.ask("a", "wl") is not None
    line.end("a", "1")
    assert line.next() == ["wl"]
    assert line.ask("a", "wl") is None
    line.now_us += RunPiece.yields_us
    assert line.ask("a", "wm") is not None
    line.end("a", "2")
    assert line.next() == ["wr"]


def test_what_has_priority_goes_first_within_its_namespace_and_passes_nobody_over_for_ever(
    line: Line,
) -> None:
    assert line.ask("a", "w-low", priority=Priority.LOW) is not None
    assert line.ask("a", "w-normal") is not None
    assert line.ask("a", "w-high", priority=Priority.HIGH) is not None
    assert line.ask("b", "w-other", priority=Priority.LOW) is not None
    # That of the namespace with the fewest Jobs, whatever its priority.
    line.end("a", "1")
    assert line.next() == ["w-other"]
    assert line.ask("b", "w-other", priority=Priority.LOW) is None
    for name, priority in ("w-high", Priority.HIGH), ("w-normal", Priority.NORMAL):
        line.end("a", "2")
        assert line.next() == [name]
        assert line.ask("a", name, priority=priority) is None
        line.put(manifest.job("a", "2", "2"))
        line.end("a", name)
    line.now_us += 2 * Priority.LOW.yields_us
    assert line.ask("a", "w-late", priority=Priority.HIGH) is not None
    line.end("a", "2")
    assert line.next() == ["w-low"]


def test_one_that_no_longer_wants_its_turn_holds_up_nobody(line: Line) -> None:
    line.ask("a", "w1")
    line.ask("a", "w2")
    line.end("a", "1")
    assert line.next() == ["w1"]
    line.turns.looked(Key("DataPipeline", "a", "w1"))
    assert line.next() == ["w1", "w2"]


def test_a_namespace_that_does_not_come_when_it_is_its_turn_is_passed_over(line: Line) -> None:
    line.ask("b", "w1")
    line.ask("c", "w2")
    line.end("a", "1")
    assert line.next() == ["w1"]
    assert line.ask("c", "w2") is not None
    line.now_us += HELD_US
    assert line.ask("c", "w2") is None
    line.end("a", "2")
    assert line.ask("b", "w1") is None


def test_a_job_that_cannot_start_keeps_no_other_namespace_from_running(line: Line) -> None:
    for name in ("1", "2"):
        pod = manifest.pod("a", name, name)
        pod["metadata"]["labels"]["batch.kubernetes.io/job-name"] = name
        waiting = {"reason": "ImagePullBackOff", "message": "no such image"}
        line.put(pod, phase="Pending", containerStatuses=[{"name": "job", "state": {"waiting": waiting}}])
    line.now_us += LOOK_US
    assert line.ask("a", "w1") is not None
    assert line.ask("b", "w2") is None


def test_what_could_not_be_created_takes_no_place(line: Line) -> None:
    line.end("a", "1")
    line.ask("b", "3")
    line.ask("b", "w2")
    line.end("b", "3")
    with (
        pytest.raises(KeyError),
        line.turns.turn(Key("DataPipeline", "c", "x"), RunBatch("x", 1, "0f"), MOST),
    ):
        raise KeyError
    assert line.next() == ["w2"]
    assert line.ask("b", "w2") is None
