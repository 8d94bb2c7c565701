"""A runner on a folder of its own. Its worker does no work, but records what work would record."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from featurestore.arrivals.ledger import Ledger
from featurestore.reconcile.steps import Step
from featurestore.registry.project import Project, open_project
from featurestore.resources import DataPipeline, FeatureView
from featurestore.runner.journal import Event
from featurestore.runner.runner import Runner
from featurestore.runner.source_watcher import SourceWatcher
from featurestore.runner.worker import Worker

ENGINE = Path(__file__).with_name("engine.py")
STORE = "kind: FeatureStore\nmetadata: {name: default}\nspec: {offline: {uri: store}}\n"
LONG_AGO_S = 1_700_000_000


class Heard:
    """A listener that remembers, and may do something when it hears of an event."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.events: list[Event] = []
        self.at: dict[str, Callable[[], None]] = {}

    def begin(self, step: Step) -> None:
        self.steps.append(step)
        self.at.get(type(step).__name__, lambda: None)()

    def progress(self, step: Step, progress: dict[str, Any]) -> None:
        assert progress == {"rows": 1}

    def happened(self, event: Event) -> None:
        self.events.append(event)
        self.at.get(event.what, lambda: None)()

    def whats(self) -> list[str]:
        return [event.what for event in self.events]


class Place:
    """A project, and what people do to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "store.yaml").write_text(STORE)
        self.project: Project = open_project(folder, {}, folder)
        self.heard = Heard()
        self._closing: list[Callable[[], None]] = []

    def pipeline(self, name: str = "flights", **spec: Any) -> None:
        source = {"uri": f"raw/{name}/*.csv", "format": "CSV"}
        arrivals = {"arrivals": {"maxWait": "0s"}}
        wanted = {"source": source, "trigger": arrivals, **spec}
        self.project.registry.accept(
            DataPipeline.model_validate({"metadata": {"name": name}, "spec": wanted})
        )

    def view(self, name: str = "delays", **spec: Any) -> None:
        wanted = {
            "entity": {"name": "aircraft", "joinKeys": [{"name": "tailnum", "type": "string"}]},
            "source": {"pipeline": "flights"},
            "timestampField": "at",
            "features": [{"name": "delay", "type": "float64", "column": "delay"}],
            "online": {"enabled": "Never"},
            **spec,
        }
        self.project.registry.accept(FeatureView.model_validate({"metadata": {"name": name}, "spec": wanted}))

    def drop(self, *names: str, pipeline: str = "flights") -> None:
        folder = self.folder / "raw" / pipeline
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            (folder / f".{name}").write_text("a\n1\n")
            os.utime(folder / f".{name}", (LONG_AGO_S, LONG_AGO_S))
            (folder / f".{name}").rename(folder / name)

    def fail(self, failure: dict[str, Any], times: int = 1) -> None:
        (self.folder / "fail").write_text(json.dumps({"failure": failure, "times": times}))

    def runner(self) -> Runner:
        worker, watcher = Worker(self.folder, [sys.executable, str(ENGINE)]), SourceWatcher(str(self.folder))
        self._closing += [watcher.close, worker.close]
        return Runner(self.project, worker, watcher, self.heard, lambda: time.time_ns() // 1000)

    def ledger(self, pipeline: str = "flights") -> Ledger:
        return Ledger(self.project.storage, pipeline)

    def taken(self, pipeline: str = "flights") -> list[str]:
        ledger = self.ledger(pipeline)
        manifests = [ledger.manifest(number) for number in range(1, ledger.last_batch() + 1)]
        return [Path(entry.arrival.uri).name for manifest in manifests for entry in manifest.entries]

    def process(self, **environment: str) -> subprocess.Popen[str]:
        """A runner that drains in a process of its own."""
        code = (
            "import sys, time\nfrom pathlib import Path\n"
            "from featurestore.registry.project import open_project\n"
            "from featurestore.runner.source_watcher import SourceWatcher\n"
            "from featurestore.runner.runner import Runner\n"
            "from featurestore.runner.worker import Worker\n"
            "class Deaf:\n"
            "    def begin(self, step): pass\n"
            "    def progress(self, step, progress): pass\n"
            "    def happened(self, event): pass\n"
            "folder = Path(sys.argv[1])\n"
            "worker = Worker(folder, [sys.executable, sys.argv[2]])\n"
            "project = open_project(folder, {}, folder)\n"
            "runner = Runner(project, worker, SourceWatcher(str(folder)), Deaf(), lambda: time.time_ns() // 1000)\n"
            "runner.run(draining=True)\n"
            "worker.close()\n"
        )
        return subprocess.Popen(
            [sys.executable, "-c", code, str(self.folder), str(ENGINE)],
            env={**os.environ, **environment},
            stderr=subprocess.PIPE,
            text=True,
        )

    def close(self) -> None:
        for close in self._closing:
            close()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    place.close()
