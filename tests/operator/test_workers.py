"""Which worker runs which batch, and when a Job does. Workers are listeners that answer as they are told."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from eventually import eventually
from server import free_port

from featurestore.protocol import WORKER_PORT
from featurestore.reconcile.steps import RunBatch
from featurestore.resources import DataPipeline
from featurestore.resources.data_pipeline import DataPipelineSpec
from featurestore.timestamps import SECOND_US
from featurestore_operator.informer.cache import Cache
from featurestore_operator.jobs.workers import BatchWorkers
from featurestore_operator.kube.api_resources import POD, WORKERS_LABEL
from featurestore_operator.kube.object_key import Key

ANSWER = b"HTTP/1.0 200 OK\r\n\r\n"
SPEC: DataPipelineSpec = DataPipeline.model_validate(
    {
        "metadata": {"name": "a"},
        "spec": {"source": {"uri": "s3://raw/*.csv", "format": "CSV"}, "execution": "Warm"},
    }
).spec


class Listener:
    """Takes calls and holds them until :meth:`answer`."""

    def __init__(self) -> None:
        port = free_port()
        self.address = f"127.{port >> 8}.{port & 255}.8"
        self.calls: list[socket.socket] = []
        self._socket = socket.create_server((self.address, WORKER_PORT))
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                self.calls.append(self._socket.accept()[0])

    def answer(self, answer: bytes) -> None:
        eventually(lambda: self.calls)
        call = self.calls.pop()
        call.recv(65536)
        call.sendall(answer)
        call.close()

    def close(self) -> None:
        self._socket.close()


class Plan:
    """Workers before a cache, and a clock that stands."""

    def __init__(self) -> None:
        self.now_us = 10**15
        self.woken: list[Key] = []
        self.cache = Cache(lambda key, after_s: self.woken.append(key))
        self.workers = BatchWorkers(self.cache, lambda: self.now_us)
        self.listener = Listener()
        self._versions = 0

    def pod(self, name: str = "w-1", ready: str = "True", address: str = "", **more: Any) -> None:
        self._versions += 1
        metadata = {"namespace": "prod", "name": name, "uid": name, "resourceVersion": str(self._versions)}
        labels = {WORKERS_LABEL: SPEC.worker_kind}
        status = {
            "phase": "Running",
            "podIP": address or self.listener.address,
            "conditions": [{"type": "Ready", "status": ready}],
        }
        self.cache.put(POD, {"metadata": {**metadata, "labels": labels, **more}, "status": status})

    def take(self, pipeline: str = "a", number: int = 1) -> str | None:
        return self.workers.take("prod", RunBatch(pipeline, number, "0f"), SPEC)

    def wait(self, pipeline: str = "a") -> None:
        eventually(lambda: self.workers.under_way("prod", pipeline) is None)


@pytest.fixture
def plan() -> Iterator[Plan]:
    made = Plan()
    yield made
    made.listener.close()


def test_without_a_worker_that_is_ready_a_batch_has_a_job_at_once(plan: Plan) -> None:
    assert plan.take() is None
    plan.pod(ready="False")
    plan.pod("w-2", deletionTimestamp="2024-01-01T00:00:00Z")
    assert plan.take() is None
    assert plan.workers.wanted("prod")[SPEC.worker_kind].at_once == 1, "one is wanted"


def test_a_batch_is_asked_for_once_however_often_it_is_looked_at(plan: Plan) -> None:
    plan.pod()
    assert plan.take() == plan.take() == "Worker w-1 runs batch 1"
    assert plan.workers.under_way("prod", "a") == (1, "Worker w-1")
    assert plan.workers.backlog == 1
    plan.listener.answer(ANSWER + b"\n\ndone\n")
    plan.wait()
    assert plan.listener.calls == []
    assert Key("DataPipeline", "prod", "a") in plan.woken
    assert plan.take(number=2) == "Worker w-1 runs batch 2"


@pytest.mark.parametrize("answer", [ANSWER, ANSWER + b"\n", b"HTTP/1.0 503 Busy\r\n\r\n", ANSWER + b"done\n"])
def test_a_batch_that_is_still_due_after_its_worker_ended_has_a_job(plan: Plan, answer: bytes) -> None:
    plan.pod()
    plan.take()
    plan.listener.answer(answer)
    plan.wait()
    assert plan.take() is None
    assert plan.take(number=2) is not None, "the next one may go better"


def test_a_worker_that_does_not_answer_is_not_asked_for_a_while_and_told(plan: Plan) -> None:
    plan.pod(address="127.0.0.99")
    plan.take()
    plan.wait()
    assert plan.take("b") is None
    assert "w-1" in plan.workers.unanswered("prod", ["w-1"])
    plan.now_us += 31 * SECOND_US
    assert plan.workers.unanswered("prod", ["w-1"]) == ""
    assert plan.take("b") == "Worker w-1 runs batch 1"


def test_a_batch_waits_for_two_seconds_for_a_worker_that_is_at_work(plan: Plan) -> None:
    plan.pod()
    plan.take("a")
    assert plan.take("b") == "Batch 1 waits for a worker that is at work"
    assert plan.workers.wanted("prod")[SPEC.worker_kind].at_once == 2, "another one is wanted"
    plan.now_us += 2 * SECOND_US
    assert plan.take("b") is None


def test_the_longest_waiting_is_woken_when_a_worker_is_free(plan: Plan) -> None:
    plan.pod()
    plan.take("a")
    plan.take("c")
    plan.now_us += 1
    plan.take("b")
    plan.woken.clear()
    plan.listener.answer(ANSWER + b"done\n")
    plan.wait()
    eventually(lambda: Key("DataPipeline", "prod", "c") in plan.woken)
    assert Key("DataPipeline", "prod", "b") not in plan.woken
    assert plan.take("c") == "Worker w-1 runs batch 1"


def test_whose_data_is_deleted_has_its_batch_ended_first(plan: Plan) -> None:
    plan.now_us += 60 * SECOND_US
    assert plan.workers.end("prod", "a") == ""
    plan.pod()
    plan.take()
    eventually(lambda: plan.listener.calls)
    assert plan.workers.end("prod", "a") == "w-1"
    [call] = plan.listener.calls
    while call.recv(65536):
        pass
    call.close()
    plan.wait()
    assert plan.workers.end("prod", "a") == ""


def test_a_pipeline_that_is_made_anew_begins_with_a_worker_again(plan: Plan) -> None:
    plan.pod()
    plan.take()
    plan.listener.answer(ANSWER)
    plan.wait()
    plan.workers.forget("prod", "a")
    assert plan.take() is not None


def test_workers_are_idle_once_nothing_was_asked_of_them_for_so_long(plan: Plan) -> None:
    kind, idle_us = SPEC.worker_kind, 600 * SECOND_US
    plan.pod()
    plan.take()
    plan.now_us += idle_us
    assert not plan.workers.is_idle("prod", kind, idle_us), "a batch runs"
    plan.listener.answer(ANSWER + b"done\n")
    plan.wait()
    assert not plan.workers.is_idle("prod", kind, idle_us)
    plan.now_us += idle_us
    assert plan.workers.is_idle("prod", kind, idle_us)
    assert plan.workers.wanted("prod") == {}
