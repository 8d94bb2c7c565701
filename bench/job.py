"""Where the seconds of a Job's process go: one small batch of flights and its view, on S3, from start to exit.

The process is a pod's: the same command, credentials in its environment, nothing warm but the files of the system's
cache. What it does when is read off its log, which has a line for each step.
"""

from __future__ import annotations

import io
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from bench.controller import ROOT
from bench.delay import Delay, delayed
from bench.figure import Figure
from featurestore.arrivals.backlog import Backlog
from featurestore.arrivals.ledger import Ledger
from featurestore.arrivals.source_kinds import open_source
from featurestore.cli.template import PIPELINE, VIEW
from featurestore.protocol import JobRequest
from featurestore.reconcile.steps import RunBatch
from featurestore.registry.registry import Registry
from featurestore.resources import DataPipeline, FeatureStore, FeatureView
from featurestore.storage.objects import Storage
from featurestore.timestamps import current_us

RUNS = 7
BUCKET = "s3://bench"
GOAL_CPU_S = 1.25
"""Half of what it was."""
STAGES = {
    "run batch": "start: interpreter and imports",
    "batch ": "batch: file to commit",
    "build ": "views read, build planned",
    "online": "view built and published",
    "done": "retired and told",
}


@dataclass
class _Run:
    """One process: when each line was logged, seconds since its start, and what it asked of S3."""

    stages: dict[str, float] = field(default_factory=dict)
    wall_s: float = 0.0
    cpu_s: float = 0.0
    requests: list[str] = field(default_factory=list)


def measure() -> list[Figure]:
    """Medians, with DuckDB generations and with Redis."""
    sys.path.insert(0, str(ROOT / "tests" / "support"))
    from storage_server import redis

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "redis").mkdir()
        figures = _figures("DuckDB", folder / "duckdb", {"duckdb": {}})
        with redis(folder / "redis") as url:
            figures += _figures("Redis", folder / "s3", {"redis": {"url": f"{url}/0"}})
    return figures


def _figures(store: str, folder: Path, online: dict[str, object]) -> list[Figure]:
    with _site(folder, online) as site:
        site.run(1)  # it makes the tables
        runs = [site.run(number) for number in range(2, RUNS + 2)]
    question = f"a Job's process, {store}"
    median = statistics.median
    figures = [
        Figure(question, stage, median(run.stages[stage] for run in runs), "s") for stage in runs[0].stages
    ]
    cpu_s = median(run.cpu_s for run in runs)
    verbs = Counter(line.partition(" ")[0] for line in runs[-1].requests)
    return [
        *figures,
        Figure(question, "all", median(run.wall_s for run in runs), "s"),
        Figure(question, "all: CPU", cpu_s, "s", f"≤ {GOAL_CPU_S:g} s", cpu_s <= GOAL_CPU_S),
        *(Figure(question, f"requests to S3: {verb}", number, "") for verb, number in sorted(verbs.items())),
    ]


@dataclass
class _Site:
    environment: dict[str, str]
    folder: Path
    delay: Delay

    def __post_init__(self) -> None:
        # Tests have pandas and images do not: Arrow would load it.
        self.absent = self.folder / "absent"
        self.absent.mkdir()
        (self.absent / "pandas.py").write_text("raise ImportError('it is not in the image of Jobs')\n")
        self.storage = Storage(f"{BUCKET}/root", self.environment)
        self.registry = Registry(self.storage)

    def accept(self, online: dict[str, object]) -> None:
        offline = {"offline": {"uri": self.storage.root}, "online": online}
        self.registry.accept(FeatureStore.model_validate({"metadata": {"name": "default"}, "spec": offline}))
        pipeline = yaml.safe_load(PIPELINE)
        pipeline["spec"]["source"]["uri"] = f"{BUCKET}/raw/*.parquet"
        self.registry.accept(DataPipeline.model_validate(pipeline))
        self.registry.accept(FeatureView.model_validate(yaml.safe_load(VIEW)))

    def close(self, number: int) -> JobRequest:
        """The request of a batch with the flights of one day."""
        import flights

        content = io.BytesIO()
        flights.day(number).to_parquet(content)
        Storage(f"{BUCKET}/raw", self.environment).replace(f"{number}.parquet", content.getvalue())
        accepted = self.registry.current(DataPipeline, "flights")
        assert accepted is not None
        ledger, spec = Ledger(self.storage, "flights"), accepted.resource.spec
        backlog = Backlog(ledger, open_source(spec.source, "/", self.environment), spec.trigger)
        backlog.look(current_us())
        backlog.close(ledger.last_batch() + 1, accepted.digest, current_us())
        step = RunBatch("flights", number, accepted.digest)
        return JobRequest(
            pipeline="flights",
            task=step.description,
            request=step.request(self.storage.root),
            time_limit_s=3600,
        )

    def run(self, number: int) -> _Run:
        request, run = self.close(number), _Run()
        asked = len(self.delay.lines)
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.time()
        ended = subprocess.run(
            [sys.executable, "-m", "featurestore_transforms", "--job", request.model_dump_json()],
            env={**os.environ, **self.environment, "PYTHONPATH": str(self.absent)},
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=True,
        )
        run.wall_s = time.time() - start
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        run.cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        run.requests = self.delay.lines[asked:]
        if os.environ.get("BENCH_LOG"):
            print(ended.stderr, *run.requests, sep="\n")
        last = 0.0
        for line in ended.stderr.splitlines():
            at = _at(line) - start
            for mark, stage in STAGES.items():
                if mark in line[13:] and stage not in run.stages:
                    run.stages[stage], last = at - last, at
                    break
        run.stages["interpreter's end"] = run.wall_s - last
        result = Ledger(self.storage, "flights").result(number)
        if result is None or not result.rows_committed:
            raise AssertionError(ended.stderr)
        return run


@contextmanager
def _site(folder: Path, online: dict[str, object]) -> Iterator[_Site]:
    from storage_server import s3

    (folder / "bench" / "raw").mkdir(parents=True)
    with (
        s3(folder) as environment,
        delayed(urlsplit(environment["AWS_ENDPOINT_URL"]).port or 0, 0.0) as delay,
    ):
        environment = {**environment, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{delay.port}"}
        site = _Site(environment, folder, delay)
        site.accept(online)
        yield site


def _at(line: str) -> float:
    """Unix time of a line of the log, which has the time of day in UTC."""
    told = datetime.strptime(line[:12], "%H:%M:%S.%f")
    return datetime.combine(datetime.now(UTC).date(), told.time(), UTC).timestamp()
