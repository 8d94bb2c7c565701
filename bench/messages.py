"""Messages of Kafka into a view with windows, on a laptop, one by one and at a steady rate: how long until each is readable."""

from __future__ import annotations

import json
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import featurestore
from bench.events import begun, cpu_s, running
from bench.figure import Figure, percentile

RATE, SECONDS = 5_000, 60
USERS = 1_000
TICK_S, PROBE_S, LOOK_S, DRAINED_S = 0.01, 0.5, 0.02, 300.0
ALONE = 40
"""So many messages are sent first, each when the one before is readable."""
LONE, PROBE = "lone", "probe"
"""Users whose numbers are looked for: of messages that come alone, and of those sent now and then among others."""
RESOURCES = """
kind: FeatureStore
metadata: {name: default}
spec: {offline: {uri: root}, online: %s}
---
kind: DataPipeline
metadata: {name: clicks}
spec:
  source: {kafka: {bootstrapServers: '%s', topic: clicks, format: JSON}}
  trigger: {arrivals: {maxWait: 0s, pollInterval: 1s}}
  columns: [{name: user, type: string}, {name: at, type: timestamp}, {name: n, type: int64}]
---
kind: FeatureView
metadata: {name: users}
spec:
  entity: {name: user, joinKeys: [{name: user, type: string}]}
  source: {pipeline: clicks}
  timestampField: at
  features:
  - {name: n, type: int64, column: n}
  - {name: clicks, type: int64, aggregate: {function: Count, column: n, windows: [1h, 1d]}}
  - {name: total, type: int64, aggregate: {function: Sum, column: n, windows: [1h, 1d]}}
"""


def measure() -> list[Figure]:
    """For each online store, with nothing lost and nothing twice."""
    from kafka_broker import broker
    from storage_server import redis

    figures = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "redis").mkdir()
        with redis(folder / "redis") as url:
            for store, online in (("DuckDB", "{duckdb: {}}"), ("Redis", f"{{redis: {{url: '{url}'}}}}")):
                (folder / f"kafka-{store}").mkdir()
                with broker(folder / f"kafka-{store}") as kafka:
                    figures += _figures(store, folder / store, online, kafka)
    return figures


class _Sender:
    """Sends ``RATE`` messages a second. ``sent``: how many; ``probes_s``: when each probe was."""

    def __init__(self, address: str) -> None:
        from confluent_kafka import Producer

        self._producer = Producer({"bootstrap.servers": address, "linger.ms": 5})
        self.sent, self.probes_s = 0, list[float]()
        self._thread = threading.Thread(target=self._send)

    def start(self) -> None:
        self._thread.start()

    def send_alone(self, n: int) -> None:
        """Of the user LONE, and nothing with it."""
        self._one(LONE, n)
        self._producer.flush()

    @property
    def sends(self) -> bool:
        return self._thread.is_alive()

    def _send(self) -> None:
        start_s = time.perf_counter()
        while (now_s := time.perf_counter() - start_s) < SECONDS:
            if now_s >= len(self.probes_s) * PROBE_S:
                self._one(PROBE, len(self.probes_s))
                self.probes_s.append(time.perf_counter())
            while self.sent < now_s * RATE:
                self._one(f"u{self.sent % USERS}", self.sent)
            self._producer.poll(0)
            time.sleep(TICK_S)
        self._producer.flush()

    def _one(self, user: str, n: int) -> None:
        value = {"user": user, "at": datetime.now(UTC).isoformat(timespec="microseconds"), "n": n}
        self._producer.produce("clicks", json.dumps(value).encode(), key=user)
        self.sent += 1


def _figures(store: str, project: Path, online: str, kafka: Any) -> list[Figure]:
    from kafka_broker import Topic

    Topic(kafka, "clicks").create(2)
    reading, sender = begun(project, RESOURCES % (online, kafka.address)), _Sender(kafka.address)
    with running(project) as runner:
        alone_s = _one_by_one(reading, sender)
        before_s, before = cpu_s(runner), sender.sent
        sender.start()
        fresh_s = list[float]()
        while sender.sends or len(fresh_s) < len(sender.probes_s):
            seen = _newest(reading, PROBE)
            now_s = time.perf_counter()
            fresh_s += [now_s - sent_s for sent_s in sender.probes_s[len(fresh_s) : seen + 1]]
            time.sleep(LOOK_S)
        last_s, counted = sender.probes_s[-1], 0
        while counted < sender.sent and time.perf_counter() < last_s + DRAINED_S:
            counted = _counted(reading)
        drained_s, taken_s = time.perf_counter() - last_s, cpu_s(runner) - before_s
    third = len(fresh_s) // 3
    grown = percentile(fresh_s[-third:], 0.5) / percentile(fresh_s[third:-third], 0.5)
    question, sent = f"{RATE:,} messages a second for {SECONDS} s, windows, {store}", sender.sent - before
    one, p50 = f"a message alone, windows, {store}", percentile(alone_s, 0.5)
    return [
        Figure(one, "p50 from sent to readable", p50, "s", "≤ 0.5 s", p50 <= 0.5),
        Figure(one, "p99", percentile(alone_s, 0.99), "s"),
        Figure(question, "sent", sent / SECONDS, "messages/s"),
        Figure(question, "readable, each once", counted, "messages", "all", counted == sender.sent),
        Figure(question, "p50 from sent to readable", percentile(fresh_s, 0.5), "s"),
        Figure(question, "p99", percentile(fresh_s, 0.99), "s"),
        Figure(question, "p50 of the last third to the one before", grown, "×", "≤ 1.5", grown <= 1.5),
        Figure(question, "all readable after the last probe", drained_s, "s"),
        Figure(question, "CPU of 1,000 messages, runner and worker", 1000 * taken_s / sent, "s"),
    ]


def _one_by_one(reading: featurestore.Store, sender: _Sender) -> list[float]:
    """Seconds from sent to readable of messages that come alone."""
    taken_s = []
    for number in range(ALONE + 1):
        begin_s = time.perf_counter()
        sender.send_alone(number)
        while _newest(reading, LONE) < number:
            time.sleep(0.005)
        if number:  # The first one waits for the worker to start.
            taken_s.append(time.perf_counter() - begin_s)
    return taken_s


def _newest(reading: featurestore.Store, user: str) -> int:
    """Number of the newest message of a user that is readable; -1 for none."""
    try:
        [n] = reading.get_features(["users:n"], [{"user": user}]).to_dict()["n"]
    except featurestore.errors.NotFound:
        return -1
    return -1 if n is None else int(n)


def _counted(reading: featurestore.Store) -> int:
    users = [{"user": LONE}, {"user": PROBE}, *({"user": f"u{n}"} for n in range(USERS))]
    counts = reading.get_features(["users:clicks_1d"], users).to_dict()["clicks_1d"]
    return sum(count or 0 for count in counts)
