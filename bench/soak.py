"""Does it hold for half an hour? A laptop and a cluster take the same files and messages, while parts of them fail.

Real are: S3, Kafka, Redis, the API server with its controllers, the operator, `featurestore run`, `featurestore serve`. Pods
are processes of this machine. The laptop runs batches in the runner's worker, the cluster in a worker that stays
(``execution: Warm``).

Files are put to S3, which tells of them by Kafka; messages are sent to a topic. Of both there is a view with windows, published
to Redis. A reader reads all values all the time, the laptop's over HTTP as well, and holds each to what was sent. Meanwhile the
workers are killed, S3 answers 503, the broker is killed. At the end all that was sent must be read, in the tables once, and no
process may grow once it has warmed up (:func:`bench.resident_memory.growth` says how that is judged).

    python -m bench.soak --minutes 30
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import featurestore
from bench.checking_reader import (
    ROOT,
    CheckingReader,
    differences,
    differences_at_the_end,
    differences_of_the_join,
)
from bench.http_store import HttpStore
from bench.object_proxy import ObjectProxy, object_proxy
from bench.resident_memory import ResidentMemory, child
from bench.row_sender import RAW, RowSender
from bench.sent_rows import HOP_S, SOURCES, WINDOW_S
from bench.verdict import SoakVerdict, summary
from featurestore.arrivals.ledger import Ledger
from featurestore.errors import StorageError
from featurestore.storage.objects import Storage

EVERY_S = 2.0
"""So often an arrival is sent: little, so that the machine can do other things as well."""
DRAINED_S = 300.0
"""So long after the last arrival all must be read, on a machine that has much else to do."""
SAMPLE_S, TOLD_S = 5.0, 60.0
SIDES = ("laptop", "cluster")
OVER_HTTP = "server"
READ = (*SIDES, OVER_HTTP)
"""What is read from: each side's online store, and the laptop's feature server."""
PROCESSES = {
    "runner": ("laptop",),
    "worker": ("laptop",),
    OVER_HTTP: ("laptop",),
    "operator": ("cluster",),
    "warm worker": ("cluster",),
    "reader": SIDES,
}
"""Whose memory is watched, and the sides whose batches it has to do with."""
HINTS = "s3-events"
LAST_LINES = 15
"""So much of a log is shown where not all was read."""


@dataclass
class Soak:
    """All that runs. ``told``: is given each line of the table."""

    stack: ExitStack
    plane: Any
    folder: Path
    told: Callable[[str], None]
    pids: dict[str, Callable[[], int | None]] = field(default_factory=dict)
    proxies: dict[str, ObjectProxy] = field(default_factory=dict)
    logs: list[Path] = field(default_factory=list)
    happens: set[str] = field(default_factory=set)
    _ended: list[Future[None]] = field(default_factory=list)
    _ledgers: dict[str, dict[str, Ledger]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._outages = self.stack.enter_context(ThreadPoolExecutor(1, thread_name_prefix="outages"))

    def run(self, arrivals: int, every_s: float, outage_s: float) -> SoakVerdict:
        """Send so many arrivals; at a fifth the workers are killed, later S3 refuses for ``outage_s``, last the broker is killed.

        The workers first: those that take their place live long enough for their memory to be judged.
        """
        from feature_server import serving_features
        from kafka_broker import broker
        from server import free_port
        from storage_server import redis, s3

        kafka, s3_folder, port = (
            self.stack.enter_context(broker(_made(self.folder / "kafka"))),
            self.folder / "s3",
            free_port(),
        )
        for topic in (HINTS, *SOURCES):
            _topic(kafka, topic)
        for bucket in (RAW, ROOT):
            _made(s3_folder / bucket)
        direct = self.stack.enter_context(
            s3(s3_folder, port=port, events_to=f"kafka://{kafka.address}/{HINTS}")
        )
        for side in SIDES:
            self.proxies[side] = self.stack.enter_context(object_proxy(port, RAW))
        environs = {
            side: {**direct, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.proxies[side].port}"}
            for side in SIDES
        }
        self.stack.enter_context(_environment(environs["laptop"]))
        url = self.stack.enter_context(redis(_made(self.folder / "redis")))
        sender = RowSender(direct, kafka.address)
        sender.send(0)
        self._laptop(kafka.address, f"{url}/0")
        self._cluster(kafka.address, f"{url}/1", environs["cluster"])
        project, log = self.folder / "project", self.folder / "server.log"
        server = self.stack.enter_context(serving_features(project, log))
        self.pids[OVER_HTTP] = lambda: server.process.pid
        self.pids["reader"] = os.getpid
        self.logs.append(log)
        stores = {side: featurestore.connect(f"s3://{ROOT}/{side}") for side in SIDES}
        self._ledgers = {
            side: {source: Ledger(Storage(f"s3://{ROOT}/{side}", direct), source) for source in SOURCES}
            for side in SIDES
        }
        reader = CheckingReader(sender.sent, {**stores, OVER_HTTP: HttpStore(server)})
        memory, stop = ResidentMemory(), threading.Event()
        threads = [
            threading.Thread(target=reader.run, args=(stop,), name="reader", daemon=True),
            threading.Thread(
                target=self._watch, args=(stop, memory, reader, sender), name="watch", daemon=True
            ),
        ]
        for thread in threads:
            thread.start()
        happens = {
            arrivals // 5: ("workers killed", self._kill_workers, lambda: None),
            2 * arrivals // 5: ("S3 answers 503", self._refuse, self._accept),
            3 * arrivals // 5: ("broker killed", kafka.server.kill, kafka.server.start),
        }
        for number in range(1, arrivals + 1):
            begin_s = time.monotonic()
            sender.send(number)
            if number in happens:
                self._happen(*happens[number], outage_s)
            time.sleep(max(0.0, every_s - (time.monotonic() - begin_s)))
        for ended in self._ended:
            ended.result()
        sender.flush()
        verdict = self._drain(reader, sender, stores)
        stop.set()
        for thread in threads:
            thread.join()
        verdict.growth = {name: memory.growth(name) for name in PROCESSES}
        verdict.peak_mib = {name: memory.peak_mib(name) for name in PROCESSES}
        verdict.batches = {side: self._batches(side) for side in SIDES}
        verdict.faults += [fault for name in PROCESSES if (fault := memory.fault(name))]
        return verdict

    def _laptop(self, brokers: str, redis_url: str) -> None:
        project = _made(self.folder / "project")
        resources = [
            _of(
                "FeatureStore",
                "default",
                {"offline": {"uri": f"s3://{ROOT}/laptop"}, "online": {"redis": {"url": redis_url}}},
            ),
            *(_of("DataPipeline", name, spec) for name, spec in _pipelines(brokers, {}).items()),
            *(_of("FeatureView", name, _view(name)) for name in SOURCES),
        ]
        (project / "store.yaml").write_text("\n---\n".join(json.dumps(resource) for resource in resources))
        cli = [sys.executable, "-m", "featurestore.cli"]
        subprocess.run([*cli, "apply", "-f", "."], cwd=project, check=True, stdout=subprocess.DEVNULL)
        log = self.folder / "runner.log"
        runner = self.stack.enter_context(_running([*cli, "run"], project, log))
        self.logs.append(log)
        self.pids["runner"] = lambda: runner
        self.pids["worker"] = lambda: child(runner)

    def _cluster(self, brokers: str, redis_url: str, environ: dict[str, str]) -> None:
        from cluster.fixtures import namespace_of
        from cluster_story import story
        from eventually import eventually

        namespace = self.stack.enter_context(namespace_of(self.plane))
        cluster = self.stack.enter_context(story(self.plane, namespace, _made(self.folder / "cluster")))
        data = {key: base64.b64encode(value.encode()).decode() for key, value in environ.items()}
        cluster.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s3"}, "data": data})
        secret = {"secretRef": {"name": "s3"}}
        offline, online = {"uri": f"s3://{ROOT}/cluster", **secret}, {"redis": {"url": redis_url}}
        cluster.apply(
            cluster.store(offline=offline, online=online),
            *(
                cluster.pipeline(name, execution="Warm", **spec)
                for name, spec in _pipelines(brokers, secret).items()
            ),
            *(cluster.view(name, name, **_view(name)) for name in SOURCES),
        )
        operator = cluster.start()
        eventually(cluster.settled, 300, cluster.told)
        self.logs.append(operator.server.log)
        self.pids["operator"] = lambda: operator.server.pid
        self.pids["warm worker"] = lambda: next(iter(cluster.node.pids), None)
        self._pods = cluster.node

    def _happen(
        self, what: str, begin: Callable[[], object], end: Callable[[], object], outage_s: float
    ) -> None:
        """By the one thread that lives to the end: a server that is started ends with the thread that started it."""

        def happen() -> None:
            self.happens.add(what)
            begin()
            time.sleep(outage_s)
            end()
            self.happens.discard(what)

        self._ended.append(self._outages.submit(happen))

    def _refuse(self) -> None:
        for proxy in self.proxies.values():
            proxy.is_refusing = True

    def _accept(self) -> None:
        for proxy in self.proxies.values():
            proxy.is_refusing = False

    def _kill_workers(self) -> None:
        for pid in (self.pids["worker"](), *self._pods.pids):
            if pid is not None:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def _watch(
        self, stop: threading.Event, memory: ResidentMemory, reader: CheckingReader, sender: RowSender
    ) -> None:
        """Look at memory all the time, and tell each minute how things stand."""
        began_s, minute = time.monotonic(), 0
        happened: set[str] = set()
        self.told(
            _line(
                "minute",
                "arrivals",
                *(f"lag {side}" for side in READ),
                *(f"listings {side}" for side in SIDES),
                *(f"batches {side}" for side in SIDES),
                "values read",
                "wrong",
                "reads failed",
                *(f"{name} MiB" for name in PROCESSES),
                "load",
                "",
            )
        )
        self.told(_line(*("---" for _ in range(13 + len(PROCESSES)))))
        batches = dict.fromkeys(SIDES, 0)
        while not stop.wait(SAMPLE_S):
            now_s = time.monotonic() - began_s
            with suppress(StorageError):
                batches = {side: self._batches(side) for side in SIDES}
            done = {name: sum(batches[side] for side in sides) for name, sides in PROCESSES.items()}
            memory.sample(now_s, {name: pid() for name, pid in self.pids.items()}, done)
            happened |= self.happens
            if now_s >= (minute + 1) * TOLD_S:
                minute += 1
                lags = (
                    " / ".join(f"{reader.lag_s(side, source):.0f}" for source in SOURCES) for side in READ
                )
                sizes = (memory.latest_mib(name) for name in PROCESSES)
                self.told(
                    _line(
                        minute,
                        sender.arrivals,
                        *(f"{lag} s" for lag in lags),
                        *(self.proxies[side].listings for side in SIDES),
                        *batches.values(),
                        f"{reader.values:,}",
                        len(reader.faults),
                        reader.failed,
                        *("-" if size is None else f"{size:.0f}" for size in sizes),
                        f"{os.getloadavg()[0]:.0f}",
                        ", ".join(sorted(happened)),
                    )
                )
                happened = set(self.happens)

    def _batches(self, side: str) -> int:
        """How many have been committed, of all its pipelines."""
        return sum(ledger.committed_batch() for ledger in self._ledgers[side].values())

    def _last_words(self, reader: CheckingReader) -> Iterator[str]:
        """How far each pipeline is, and what was logged last."""
        for side, ledgers in self._ledgers.items():
            for source, ledger in ledgers.items():
                yield (
                    f"{side}, {source}: a row waits for {reader.lag_s(side, source):.0f} s; "
                    f"{ledger.committed_batch()} of {ledger.last_batch()} batches are committed"
                )
        for log in self.logs:
            yield f"{log.name}:"
            yield from log.read_text(errors="replace").splitlines()[-LAST_LINES:]

    def _drain(
        self, reader: CheckingReader, sender: RowSender, stores: Mapping[str, featurestore.Store]
    ) -> SoakVerdict:
        """Wait until all is read, and compare tables and joins with what was sent."""
        began_s = time.monotonic()
        while (lag_s := max(reader.lag_s(side, source) for side in READ for source in SOURCES)) > 0:
            if time.monotonic() - began_s > DRAINED_S:
                break
            time.sleep(0.5)
        verdict = SoakVerdict(list(reader.faults), sender.rows, reader.reads, reader.values, reader.failed)
        verdict.listings = {side: proxy.listings for side, proxy in self.proxies.items()}
        if lag_s > 0:
            verdict.faults.append(f"{DRAINED_S:g} s after the last arrival a row waits for {lag_s:.0f} s")
            verdict.last_words += self._last_words(reader)
            return verdict
        verdict.drained_s = time.monotonic() - began_s
        for source, sent in sender.sent.items():
            for side, store in reader.stores.items():
                verdict.faults += differences_at_the_end(store, side, source, sent)
            for side, store in stores.items():
                verdict.faults += [f"{side}, {source}: {fault}" for fault in differences(side, source, sent)]
                verdict.faults += differences_of_the_join(store, side, source, sent)
        return verdict


def soak(
    plane: Any, folder: Path, arrivals: int, every_s: float, outage_s: float, told: Callable[[str], None]
) -> SoakVerdict:
    """What so many arrivals came to. ``plane``: an API server with the controllers of Kubernetes, which knows our kinds."""
    with ExitStack() as stack:
        return Soak(stack, plane, folder, told).run(arrivals, every_s, outage_s)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=30, help="how long arrivals are sent")
    minutes: float = parser.parse_args(arguments).minutes
    from cluster.control_plane import control_plane
    from cluster.fixtures import apply_crds

    with (
        tempfile.TemporaryDirectory(prefix="soak-") as name,
        control_plane(_made(Path(name) / "plane")) as plane,
    ):
        apply_crds(plane)
        with plane.controllers():
            arrivals = max(5, round(minutes * 60 / EVERY_S))
            verdict = soak(plane, Path(name), arrivals, EVERY_S, min(60.0, minutes * 6), _print)
    for text in summary(verdict):
        _print(text)
    return int(bool(verdict.faults))


def _pipelines(brokers: str, secret: dict[str, Any]) -> dict[str, dict[str, Any]]:
    columns = [
        {"name": "k", "type": "string"},
        {"name": "ts", "type": "timestamp"},
        {"name": "n", "type": "int64"},
    ]
    hints = {"kafka": {"bootstrapServers": brokers, "topic": HINTS}}
    arrivals = {"maxWait": "5s"}
    return {
        "orders": {
            "source": {"uri": f"s3://{RAW}/orders/*.parquet", "format": "Parquet", **secret},
            "trigger": {"arrivals": {**arrivals, "pollInterval": "1m"}, "notifications": hints},
            "columns": columns,
        },
        "clicks": {
            "source": {"kafka": {"bootstrapServers": brokers, "topic": "clicks", "format": "JSON"}},
            "trigger": {"arrivals": {**arrivals, "pollInterval": "5s"}},
            "columns": columns,
        },
    }


def _view(pipeline: str) -> dict[str, Any]:
    def aggregate(name: str, function: str, window: str, **more: str) -> dict[str, Any]:
        return {
            "name": name,
            "type": "int64",
            "aggregate": {"function": function, "column": "n", "windows": [window], **more},
        }

    return {
        "entity": {"name": "key", "joinKeys": [{"name": "k", "type": "string"}]},
        "source": {"pipeline": pipeline},
        "timestampField": "ts",
        "features": [
            {"name": "n", "type": "int64", "column": "n"},
            aggregate("rows", "Count", "1d"),
            aggregate("total", "Sum", "1d"),
            aggregate("recent", "Count", f"{WINDOW_S // 60}m", hop=f"{HOP_S}s"),
        ],
    }


def _of(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"kind": kind, "metadata": {"name": name}, "spec": spec}


def _topic(kafka: Any, name: str) -> None:
    from kafka_broker import Topic

    topic = Topic(kafka, name)
    topic.create(2)


@contextmanager
def _environment(environ: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in environ}
    os.environ.update(environ)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _running(command: list[str], folder: Path, log: Path) -> Iterator[int]:
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output)
    try:
        yield process.pid
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(120)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _line(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def _print(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
