"""A store on a laptop whose clock the test turns, and whose runner can be killed at any named step.

All parts are the real ones; only the worker runs in this process, so that hundreds of stories fit into a minute.
A kill is an exception that nothing catches: what the runner and the worker knew is gone, as after ``kill -9``.
"""

from __future__ import annotations

import copy
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Self

import polars as pl
import pytest
from oracle import EPOCH, MICROSECOND, Row

from featurestore import failpoint
from featurestore.arrivals.ledger import Ledger
from featurestore.client.connection import Store
from featurestore.online.publish import run_publish
from featurestore.protocol import EngineResult, PublishRequest, Request
from featurestore.registry.project import open_project
from featurestore.resources import FeatureView
from featurestore.resources.kinds import KINDS
from featurestore.resources.outputs import build_digest
from featurestore.runner.guard import NO_LIMITS, Limits
from featurestore.runner.runner import Runner
from featurestore.storage import paths
from featurestore.storage.delta import Table
from featurestore.storage.objects import Storage
from featurestore_transforms.entrypoint import engine

SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "k": pl.String,
    "ts": pl.Datetime("us", "UTC"),
    "v": pl.Int64,
    "w": pl.Float64,
}
STORE = "kind: FeatureStore\nmetadata: {name: default}\nspec: {offline: {uri: root}}\n"


class Killed(BaseException):
    """The process was killed."""


def view_of(column: str) -> dict[str, Any]:
    """The view ``view`` of the pipeline ``p``: a column as it is, and its sum ``n`` of a day."""
    return {
        "kind": "FeatureView",
        "metadata": {"name": "view"},
        "spec": {
            "entity": {"name": "e", "joinKeys": [{"name": "k", "type": "string"}]},
            "source": {"pipeline": "p"},
            "timestampField": "ts",
            # Tests of that say otherwise: it takes a third of a round.
            "online": {"sampleEntities": 0},
            "features": [
                {"name": column, "type": "int64", "column": column},
                {
                    "name": "n",
                    "type": "int64",
                    "aggregate": {"function": "Sum", "column": column, "windows": ["1d"]},
                },
            ],
        },
    }


class Clock:
    """UTC microseconds; each look takes a millisecond."""

    def __init__(self, start: datetime) -> None:
        self.now_us = (start - EPOCH) // MICROSECOND

    def __call__(self) -> int:
        self.now_us += 1000
        return self.now_us


class _Here:
    """The worker, in this process."""

    def __init__(self, storage: Storage, clock: Clock) -> None:
        self._storage, self._clock = storage, clock

    def run(
        self, request: Request, progress: Callable[[dict[str, Any]], None], limits: Limits = NO_LIMITS
    ) -> EngineResult:
        def report(_: object) -> None:
            progress({})

        if isinstance(request, PublishRequest):
            return run_publish(self._storage, request, self._clock())
        return engine.run(self._storage, request, report)


class _NoWaiting:
    """Waiting takes no time: the clock is turned on."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def attend(self, sources: object, carriers: object = None) -> None: ...

    def ring(self) -> None: ...

    def heard(self) -> dict[str, set[str]]:
        return {}

    def wait(self, seconds: float) -> dict[str, set[str]]:
        self._clock.now_us += int(max(seconds, 0.001) * 1_000_000)
        return {}


class _Silent:
    def begin(self, step: object) -> None: ...

    def progress(self, step: object, progress: object) -> None: ...

    def happened(self, event: object) -> None: ...


class Laptop:
    """A project in ``folder``, at the time ``start``."""

    def __init__(self, folder: Path, start: datetime) -> None:
        self.clock = Clock(start)
        self.folder = folder
        (folder / "raw").mkdir(parents=True)
        (folder / "store.yaml").write_text(STORE)
        self.project = open_project(folder, {}, folder)
        self.storage = self.project.storage
        self._dropped = 0

    def copied(self, folder: Path) -> Self:
        """Another with the same files and the same time, in a folder that is not there yet: cheaper than the same story."""
        other = copy.copy(self)
        other.clock = copy.copy(self.clock)
        other.folder = Path(shutil.copytree(self.folder, folder))
        other.project = open_project(folder, {}, folder)
        other.storage = other.project.storage
        return other

    def apply(self, *resources: Mapping[str, Any]) -> None:
        for resource in resources:
            model = KINDS[resource["kind"]].model
            self.project.registry.accept(model.model_validate(dict(resource)))
        self.project.registry.accept(self.project.store)

    def drop(self, name: str, rows: tuple[Row, ...]) -> tuple[str, str]:
        """Put or overwrite a file; its relative URI and version. Each is an hour old, and a microsecond younger."""
        path = self.folder / "raw" / name
        write(path, rows)
        self._dropped += 1
        modified_ns = (self.clock() - 3_600_000_000 + self._dropped) * 1000
        os.utime(path, ns=(modified_ns, modified_ns))
        return f"raw/{name}", f"{modified_ns}-{path.stat().st_size}"

    def remove(self, name: str) -> None:
        (self.folder / "raw" / name).unlink(missing_ok=True)

    def run(self) -> None:
        """A new runner works until nothing is left to be done."""
        worker: Any = _Here(self.storage, self.clock)
        watcher: Any = _NoWaiting(self.clock)
        Runner(self.project, worker, watcher, _Silent(), self.clock).run(draining=True)

    @contextmanager
    def killed_at(self, step: str, times: int = 1) -> Iterator[None]:
        """What runs inside is killed when it reaches the step; nothing happens if it never does."""

        def kill(*_: object) -> None:
            raise Killed

        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("FEATURESTORE_KILL_AT", f"{step}#{times}")
            patch.setattr(failpoint, "_reached", type(failpoint._reached)())
            patch.setattr("featurestore.failpoint.os.kill", kill)
            try:
                yield
            except Killed:
                return

    def ledger(self, pipeline: str) -> Ledger:
        return Ledger(self.storage, pipeline)

    def table(self, path: str) -> list[Row]:
        """All rows of a Delta table; [] if it is not there."""
        table = Table.open(self.storage, path)
        if table is None or not table.uris():
            return []
        return pl.read_parquet(table.uris(), glob=False, missing_columns="insert").to_dicts()

    def kept_rows(self, pipeline: str) -> list[list[list[tuple[str, str]]]]:
        """Those of a pipeline's dataset and of its quarantine as sorted texts, but for the time when they were refused."""
        return [
            sorted(
                sorted((name, str(value)) for name, value in row.items() if name != "quarantined_at")
                for row in self.table(table)
            )
            for table in (paths.dataset(pipeline), paths.quarantine("pipelines", pipeline))
        ]

    def build(self, view: str) -> str:
        """Digest of the build that the view is to be read from."""
        accepted = self.project.registry.all(FeatureView)[view].resource.spec
        return build_digest(accepted, self.ledger(accepted.source.pipeline).dataset_id())

    def store(self, at: datetime) -> Store:
        """The client, as a reader has it at that time."""
        now_us = (at - EPOCH) // MICROSECOND
        return Store(self.project, clock_us=lambda: now_us)

    @property
    def now(self) -> datetime:
        return EPOCH + timedelta(microseconds=self.clock.now_us)


def write(path: Path, rows: tuple[Row, ...]) -> None:
    """The rows in the format that the name ends with."""
    frame = pl.DataFrame(list(rows), schema=SCHEMA)
    match path.suffix:
        case ".parquet":
            frame.write_parquet(path)
        case ".arrow":
            frame.write_ipc(path)
        case ".csv":
            frame.write_csv(path, datetime_format="%Y-%m-%dT%H:%M:%S%.6fZ")
        case ".json":
            lines = [{**row, "ts": row["ts"] and row["ts"].isoformat()} for row in rows]
            path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        case other:
            raise ValueError(other)
