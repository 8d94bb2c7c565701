"""A server that starts, is killed, is ended and reads newer data: no wrong value, and no failure that is not told."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from eventually import eventually
from feature_server import FeatureServer, featurestore, make_project, rows, serving_features

BODY = json.dumps({"features": ["aircraft-delays:delay"], "entities": {"tailnum": ["E1", "E2"]}})

BETWEEN_S = 0.005
"""A client that reads without a pause takes a processor for itself, and finds no more."""


class Client:
    """A program with a connection that it keeps, as long as it may. ``ports``: where it turns, one after the other."""

    def __init__(self, *ports: int) -> None:
        self._ports = list(ports)
        self._connection: http.client.HTTPConnection | None = None

    def read(self) -> Any:
        """The values; raises OSError or HTTPException if the connection fails."""
        if self._connection is None:
            self._connection = http.client.HTTPConnection("127.0.0.1", self._ports[0], timeout=120)
        self._connection.request("POST", "/v1/features", BODY)
        answer = self._connection.getresponse()
        content = answer.read()
        assert answer.status == 200, content
        if answer.getheader("connection") == "close":
            self.close()
            self._ports = [*self._ports[1:], self._ports[0]]
        return json.loads(content)["features"]["delay"]

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Load:
    """Clients that read again and again. ``said``: what each read gave; ``failed``: what none may see."""

    def __init__(self, read: Callable[[], Any], close: Callable[[], None]) -> None:
        self.said: list[Any] = []
        self.failed: list[Exception] = []
        self._read, self._close, self._ended = read, close, threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *of: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(BETWEEN_S):
            try:
                self.said.append(self._read())
            except Exception as error:  # noqa: BLE001
                self.failed.append(error)
        self._close()

    def more(self, reads: int = 20) -> None:
        """Return when it has read so often from now on."""
        wanted = len(self.said) + reads
        eventually(lambda: len(self.said) >= wanted or bool(self.failed), 120)


def load(*ports: int) -> Load:
    client = Client(*ports)
    return Load(client.read, client.close)


def test_a_server_that_is_ended_answers_all_that_it_was_asked(project: Path, tmp_path: Path) -> None:
    with (
        serving_features(project, tmp_path / "1", "--drain", "600") as one,
        # An answer that ends its connection would send a client back to the one that has ended.
        serving_features(project, tmp_path / "2", "--keepalive-requests", "1000000000") as other,
        load(one.port, other.port) as first,
        load(one.port, other.port) as second,
    ):
        for each in (first, second):
            each.more()
        os.kill(one.process.pid, signal.SIGTERM)
        eventually(lambda: one.ask("GET", "/readyz").status == 503, 60)
        for each in (first, second):
            each.more(50)
        one.process.stop()
        for each in (first, second):
            each.more()
            assert each.failed == []
            assert set(map(tuple, each.said)) == {(1, 2)}


def test_answers_end_connections_now_and_then_so_that_clients_meet_servers_that_are_new(
    project: Path, tmp_path: Path
) -> None:
    with (
        serving_features(project, tmp_path / "log", "--keepalive-requests", "10") as server,
        closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)) as connection,
    ):
        ended = 0
        for _ in range(200):
            # It opens another connection by itself.
            connection.request("POST", "/v1/features", BODY)
            answer = connection.getresponse()
            assert json.loads(answer.read())["features"]["delay"] == [1, 2]
            ended += answer.getheader("connection") == "close"
    assert 2 <= ended <= 80, "about 20"


def test_a_worker_that_is_killed_is_replaced_and_the_others_answer(project: Path, tmp_path: Path) -> None:
    with serving_features(project, tmp_path / "log", "--workers", "2") as server:
        workers = children(server.process.pid)
        assert len(workers) == 2
        os.kill(workers[0], signal.SIGKILL)
        answered = 0

        def asked_and_replaced() -> bool:
            nonlocal answered
            try:
                assert server.read(["aircraft-delays:delay"], {"tailnum": ["E1"]})["features"]["delay"] == [1]
                answered += 1
            except (OSError, http.client.HTTPException):
                pass  # It was the killed one's connection, and is told so.
            now = children(server.process.pid)
            return answered > 20 and len(now) == 2 and workers[0] not in now

        eventually(asked_and_replaced, 120)


def children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.slow
def test_newer_data_is_served_while_it_is_read_and_never_a_value_of_neither(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project", count=3)
    with serving_features(project, tmp_path / "log") as server, load(server.port) as reads:
        reads.more()
        for generation in (1, 2):
            newer = rows(3).with_columns(
                (pl.col("delay") + 10 * generation).alias("delay"),
                pl.col("at") + pl.duration(days=generation),
            )
            newer.write_parquet(project / "raw" / f"{generation + 1}.parquet")
            featurestore(project, "run", "--once")
            eventually(lambda wanted=10 * generation: reads.said[-1][0] == 1 + wanted, 120)
        assert reads.failed == []
        seen = list(map(tuple, reads.said))
        assert set(seen) == {(1, 2), (11, 12), (21, 22)}
        assert seen == sorted(seen)


REQUESTS = 'featurestore_server_request_seconds_count{route="read_features",status="200"}'


def test_what_is_measured_is_about_all_workers_and_its_labels_are_few(project: Path, tmp_path: Path) -> None:
    with serving_features(project, tmp_path / "log", "--workers", "2") as server:
        for n in range(30):
            server.read(["aircraft-delays:delay", "aircraft-delays:note"], {"tailnum": ["N1", f"X{n}"]})
            server.ask("GET", f"/nothing/{n}")
        # A worker counts a request once it has answered it, and the other one may be asked meanwhile.
        eventually(lambda: measured(server)[REQUESTS] >= 30, why=lambda: measured(server)[REQUESTS])
        counted = measured(server)
        assert counted[REQUESTS] == 30
        assert counted['featurestore_server_values_total{status="PRESENT"}'] >= 60
        assert counted['featurestore_server_values_total{status="NOT_FOUND"}'] >= 60
        assert counted["featurestore_server_request_entities_sum"] >= 60
        assert counted['featurestore_server_view_freshness_seconds{view="aircraft-delays"}'] > 0
        assert not [name for name in counted if "/nothing" in name or "N1" in name]


def measured(server: FeatureServer) -> dict[str, float]:
    lines = server.ask("GET", "/metrics").body.decode().splitlines()
    return {
        name: float(value)
        for name, value in (re.split(r" (?=[^ ]+$)", line) for line in lines if line[:1] != "#")
    }


def test_an_address_that_others_reach_is_warned_of(project: Path, tmp_path: Path) -> None:
    with serving_features(project, tmp_path / "log", "--host", "0.0.0.0") as server:
        assert "WARNING" in server.log.read_text()


def test_nothing_of_a_request_is_logged(project: Path, tmp_path: Path) -> None:
    with serving_features(project, tmp_path / "log") as server:
        server.read(["aircraft-delays:delay"], {"tailnum": ["N1"]})
        server.ask("POST", "/v1/features", b"{")
    assert len((tmp_path / "log").read_text().splitlines()) == 1
