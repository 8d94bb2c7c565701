"""A pipeline of the messages of a topic, on a laptop whose runner can be killed."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from event_specs import NAME, SMALL, START
from laptop import Laptop

from featurestore.arrivals.backlog import Backlog
from featurestore.arrivals.ledger import Ledger
from featurestore.arrivals.source_kinds import open_source
from featurestore.quarantine import entries
from featurestore.resources import DataPipeline
from featurestore.storage import paths


class Written(Protocol):
    """A topic or another stream that a test writes to."""

    def send(self, *values: Any, **more: Any) -> None: ...

    def delete(self) -> None: ...

    def delete_first(self, count: int) -> None: ...

    def source(self, **more: Any) -> dict[str, Any]: ...


W = TypeVar("W", bound=Written)


class Events(Generic[W]):
    """A pipeline of the messages of a topic, or of another stream."""

    def __init__(self, folder: Path, topic: W) -> None:
        self.laptop = Laptop(folder, START)
        self.topic = topic

    def apply(self, stream: dict[str, Any] | None = None, **spec: Any) -> Events[W]:
        arrivals = {"pollInterval": "1s", "maxWait": "0s"}
        source = self.topic.source(**(stream or {}))
        full = {"source": source, "trigger": {"arrivals": arrivals}, "expectations": [SMALL], **spec}
        self.laptop.apply({"kind": "DataPipeline", "metadata": {"name": NAME}, "spec": full})
        return self

    def run(self) -> None:
        self.laptop.run()

    def backlog(self) -> Backlog:
        """What waits, as a process of its own sees it that looks now."""
        spec = self.laptop.project.registry.all(DataPipeline)[NAME].resource.spec
        backlog = Backlog(Ledger(self.laptop.storage, NAME), open_source(spec.source), spec.trigger)
        backlog.look(self.laptop.clock())
        return backlog

    @property
    def digest(self) -> str:
        return self.laptop.project.registry.all(DataPipeline)[NAME].digest

    @property
    def ledger(self) -> Ledger:
        return self.laptop.ledger(NAME)

    @property
    def positions(self) -> list[dict[int, str]]:
        """Of each batch, partition to what was taken of it, or was found to be gone."""
        manifests = (self.ledger.manifest(n + 1) for n in range(self.ledger.last_batch()))
        return [
            {int(entry.arrival.uri.rpartition("/")[2]): entry.arrival.version for entry in manifest.entries}
            for manifest in manifests
        ]

    @property
    def rows(self) -> list[dict[str, Any]]:
        return sorted(self.laptop.table(paths.dataset(NAME)), key=lambda row: row["n"])

    @property
    def numbers(self) -> list[int]:
        """What is in the dataset."""
        return [row["n"] for row in self.rows]

    @property
    def open(self) -> list[tuple[int, str, int | None]]:
        """Batch, rule and number of rows of what is in quarantine and waits to be run again."""
        found = entries.entries(self.laptop.storage, "pipelines", NAME)
        return [(item.batch, item.rule, item.rows) for item in found if item.replayed_in is None]

    @property
    def records(self) -> list[tuple[str, int | None, str, str]]:
        """Partition, offset, rule and reason of each record in quarantine."""
        found = self.laptop.table(paths.quarantine("pipelines", NAME))
        return sorted((row["uri"][-2:], row["__row"], row["rule"], row["reason"] or "") for row in found)


def event(n: int, level: str = "info") -> dict[str, Any]:
    return {"at": f"2024-01-01T00:00:{n % 60:02d}Z", "level": level, "n": n}


def taken(events: Events[Any]) -> list[list[str]]:
    """Of each batch, the versions of a table that it took, without ids, and what was not taken of them."""
    manifests = (events.ledger.manifest(n + 1) for n in range(events.ledger.last_batch()))
    return [
        [
            entry.arrival.version.partition("@")[0]
            + ("" if entry.action == "Take" else f" {entry.rule or entry.action}")
            for entry in manifest.entries
        ]
        for manifest in manifests
    ]
