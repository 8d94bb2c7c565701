"""The port for probes and metrics."""

from __future__ import annotations

import gzip
import threading
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import pytest
from prometheus_client import CollectorRegistry, Gauge, Metric

from featurestore_operator.endpoint import Endpoint

ANSWER_S = 60.0


class Slow:
    """Metrics that are not there yet."""

    def __init__(self) -> None:
        self.asked, self.told = threading.Event(), threading.Event()

    def collect(self) -> Iterable[Metric]:
        self.asked.set()
        assert self.told.wait(ANSWER_S)
        return []


@contextmanager
def serving(endpoint: Endpoint) -> Iterator[Endpoint]:
    endpoint.start()
    try:
        yield endpoint
    finally:
        endpoint.stop()


def get(endpoint: Endpoint, path: str, **headers: str) -> tuple[int, bytes]:
    request = urllib.request.Request(f"http://127.0.0.1:{endpoint.port}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=ANSWER_S) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read()


def test_probes_say_what_is_wrong() -> None:
    wrong: list[str] = []
    with serving(Endpoint(0, lambda: None, lambda: wrong[0] if wrong else None, CollectorRegistry())) as made:
        assert get(made, "/readyz") == (200, b"ok")
        wrong.append("the first listing is not complete")
        assert get(made, "/readyz") == (503, b"the first listing is not complete")
        assert get(made, "/healthz") == (200, b"ok")
        assert get(made, "/")[0] == 404


def test_probes_are_answered_while_metrics_are_collected() -> None:
    registry, slow = CollectorRegistry(auto_describe=False), Slow()
    with serving(Endpoint(0, lambda: None, lambda: None, registry)) as made:
        registry.register(slow)
        answers: list[tuple[int, bytes]] = []
        asking = threading.Thread(target=lambda: answers.append(get(made, "/metrics")))
        asking.start()
        try:
            assert slow.asked.wait(ANSWER_S)
            assert get(made, "/healthz") == (200, b"ok")
            assert not answers
        finally:
            slow.told.set()
            asking.join()
        assert answers == [(200, b"")]


@pytest.mark.parametrize("packed", [False, True])
def test_metrics_are_packed_for_those_who_take_them_so(packed: bool) -> None:
    registry = CollectorRegistry()
    Gauge("things", "Things.", registry=registry).set(3)
    with serving(Endpoint(0, lambda: None, lambda: None, registry)) as made:
        status, body = get(made, "/metrics", **({"Accept-Encoding": "gzip"} if packed else {}))
    assert status == 200
    assert b"\nthings 3.0\n" in (gzip.decompress(body) if packed else body)


def test_one_that_never_started_ends() -> None:
    Endpoint(0, lambda: None, lambda: None, CollectorRegistry()).stop()
