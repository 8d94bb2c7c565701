"""Rows that are read from the moment that they are pushed, while whoever takes, keeps or publishes them is killed."""

from __future__ import annotations

import http.client
import random
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import redis
import storage_server
from accepted import accept
from eventually import eventually
from examples import exhaustive
from feature_server import FeatureServer, featurestore, serving_features
from server import Server

from featurestore.client.connection import Store, connect
from featurestore.storage.delta import Table
from featurestore.storage.objects import Storage

KILLS = 120 if exhaustive() else 3
"""In `make test` each of the three is killed once."""
START = datetime(2024, 1, 1, tzinfo=UTC)
USERS = "abcde"
RUN = (sys.executable, "-m", "featurestore.cli")
RESOURCES = """
kind: FeatureStore
metadata: {name: default}
spec: {offline: {uri: root}, online: {redis: {url: %s}}}
---
kind: DataPipeline
metadata: {name: clicks}
spec:
  source:
    uri: "pushed/*.arrow"
    format: Arrow
    push: {schema: [{name: user, type: string}, {name: at, type: timestamp}, {name: n, type: int64}]}
  trigger: {arrivals: {pollInterval: 1s, maxWait: 0s}}
---
kind: FeatureView
metadata: {name: users}
spec:
  entity: {name: user, joinKeys: [{name: user, type: string}]}
  source: {pipeline: clicks}
  timestampField: at
  features: [{name: n, type: int64}, {name: half, type: float64, expression: "n / 2"}]
  online: {write: Immediate}
"""


class Pushing:
    """Somebody who pushes one row after the other, numbered from 1 to ``sent``.

    ``answered``: numbers of those that are durable; ``early``: of those the ones that are read already. ``wrong``: answers
    that no kill explains.
    """

    def __init__(self, server: FeatureServer) -> None:
        self.sent, self.answered, self.early = 0, set[int](), set[int]()
        self.wrong: list[bytes] = []
        self._server, self._stop = server, threading.Event()
        self._thread = threading.Thread(target=self._run)

    def push(self, number: int) -> bool:
        """Whether it was answered that the row is durable."""
        at = START + timedelta(seconds=number)
        row = {"user": USERS[number % len(USERS)], "at": at.isoformat(), "n": number}
        try:
            answer = self._server.ask(
                "POST", "/push/clicks", {"rows": [row]}, {"Idempotency-Key": f"{number}"}
            )
        except (OSError, http.client.HTTPException):
            return False
        if answer.status != 200:
            self.wrong += [answer.body] if answer.status < 500 else []
            return False
        self.answered.add(number)
        if answer.json["online"] == {"users": ""}:
            self.early.add(number)
        return True

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.02):
            self.sent += 1
            # Half of what was not answered is sent again, as the same push; of the rest nobody knows.
            while not self.push(self.sent) and self.sent % 2 and not self._stop.wait(0.1):
                pass


@contextmanager
def pushed_to(server: FeatureServer) -> Iterator[Pushing]:
    pushing = Pushing(server)
    pushing.start()
    try:
        yield pushing
    finally:
        pushing.stop()


def durable(folder: Path) -> list[int]:
    """Numbers of the rows in the dataset."""
    table = Table.open(Storage(str(folder / "root")), "datasets/clicks")
    assert table is not None
    numbers: list[int] = pl.read_parquet(table.uris())["n"].sort().to_list()
    return numbers


def online(store: Store) -> dict[str, list[Any]]:
    return store.get_features(["users:n", "users:half"], {"user": [*USERS]}).to_dict()


def joined(store: Store) -> dict[str, list[Any]]:
    now = {"user": [*USERS], "at": [datetime.now(UTC)] * len(USERS)}
    return store.get_features(["users:n", "users:half"], now, timestamp_column="at").to_dict()


@pytest.mark.slow
def test_after_kills_of_server_redis_and_runner_no_answered_row_is_lost_and_online_is_what_the_join_says(
    tmp_path: Path,
) -> None:
    chance = random.Random(20241127)
    project, store_folder = tmp_path / "project", tmp_path / "redis"
    for folder in (project, store_folder):
        folder.mkdir()
    with storage_server.redis_process(store_folder) as (values, url):
        (project / "store.yaml").write_text(RESOURCES % url)
        accept(project)
        runner = Server([*RUN, "-C", project, "run"], tmp_path / "runner.log", lambda: True)
        with serving_features(project, tmp_path / "server.log", "--push", "--timeout", "120") as server:
            victims = [server.process, values, runner]
            runner.start()
            with pushed_to(server) as pushing:
                eventually(lambda: pushing.early, 120)
                for number in range(KILLS):
                    before = len(pushing.answered)
                    eventually(lambda before=before: len(pushing.answered) > before + 2, 120)  # type: ignore[misc]
                    time.sleep(chance.uniform(0, 0.4))
                    victim = victims[number % len(victims)]
                    victim.kill()
                    victim.start()
            runner.stop()
            assert pushing.push(pushing.sent + 1)
            featurestore(project, "run", "--once")
        assert pushing.wrong == []
        rows = durable(project)
        assert len(rows) == len(set(rows)), "a row is there twice"
        assert pushing.answered <= set(rows) <= set(range(1, pushing.sent + 2))
        store = connect(project)
        found = online(store)
        assert found == {name: joined(store)[name] for name in found}
        assert max(found["n"]) == pushing.sent + 1
        with redis.Redis.from_url(url) as client:
            assert list(client.scan_iter(b"fs-early*")) == []
