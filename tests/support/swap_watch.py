"""Readers that look at each answer while generations are swapped: it is whole, of one generation, and no older than before.

In generation ``g`` the features of an entity say of which generation they are: ``g``, or of the entities that only every
tenth generation changes, the last such one.
"""

from __future__ import annotations

import asyncio
import gc
import http.client
import io
import json
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any

import pyarrow as pa
from examples import exhaustive

VIEW = "things"
KINDS = {"number": "int64", "half": "float64", "text": "string", "several": "list<int64>"}
FEATURES: list[dict[str, Any]] = [
    {"name": name, "type": kind, "column": name} for name, kind in KINDS.items()
]
TOTAL: dict[str, Any] = {
    "name": "total",
    "type": "int64",
    "aggregate": {"function": "Sum", "column": "number", "windows": ["1h"]},
}
"""Of all generations: it needs that each changes all entities."""
SELDOM = 10
BETWEEN_S = 0.02 if exhaustive() else 0.1
"""A client that reads without a pause takes a processor for itself, and finds no more."""


def values(generation: int) -> dict[str, Any]:
    """What a generation says of an entity that it changes."""
    return {
        "number": generation,
        "half": generation / 2,
        "text": f"of {generation}",
        "several": [generation] * (1 + generation % 3),
        "total_1h": generation * (generation + 1) // 2,
    }


def is_changed(entity: int, generation: int) -> bool:
    return generation == 1 or entity % SELDOM == 0 or generation % SELDOM == 0


def of(entity: int, generation: int, changes_all: bool) -> int:
    """The generation that an entity's values are of."""
    while not (changes_all or is_changed(entity, generation)):
        generation -= 1
    return generation


class SwapWatch:
    """What one reader has seen. ``is_whole``: whether all of an answer is of the generation that it names, not later.

    ``wrong``: answers that may not be, and errors. ``newest``: the generation of the last answer.
    """

    def __init__(self, is_whole: bool, changes_all: bool) -> None:
        self.reads, self.newest, self.wrong = 0, 0, []  # type: ignore[var-annotated]
        self._is_whole, self._changes_all = is_whole, changes_all
        self._seen: dict[int, int] = {}

    def look(self, entities: Sequence[int], columns: Mapping[str, Sequence[Any]], commit: int) -> None:
        """Take an answer for these entities."""
        if commit < self.newest:
            self._tell(f"commit {commit} after {self.newest}")
        for place, entity in enumerate(entities):
            row = {name: column[place] for name, column in columns.items()}
            generation, least = row["number"], of(entity, commit, self._changes_all)
            wanted = {name: value for name, value in values(generation or 0).items() if name in row}
            if row != wanted:
                self._tell(f"torn: {row}")
            elif generation < least or (self._is_whole and generation != least):
                self._tell(f"{entity} of {generation} and not {least} at commit {commit}")
            elif generation < self._seen.get(entity, 0):
                self._tell(f"{entity} of {generation} after {self._seen[entity]}")
            else:
                self._seen[entity] = generation
        self.reads += 1
        self.newest = max(self.newest, commit)

    def begin_anew(self) -> None:
        """Another worker answers from now on, which may be a moment behind."""
        self.newest = 0
        self._seen.clear()

    def run(
        self,
        read: Callable[[Sequence[int]], tuple[Mapping[str, Sequence[Any]], int]],
        count: int,
        ended: threading.Event,
    ) -> None:
        """Look at what is read of few entities and of many, until told to end."""
        for first, size in zip(cycle(range(0, count, 7)), cycle((1, 3, 40, 400)), strict=False):
            entities = [(first + n * 11) % count for n in range(size)]
            try:
                self.look(entities, *read(entities))
            except Exception as error:  # noqa: BLE001 - whatever a reader is told, it was told while all is well
                self._tell(repr(error))
            if ended.wait(BETWEEN_S):
                return

    def _tell(self, what: str) -> None:
        if len(self.wrong) < 5:
            self.wrong.append(what)


def key(entity: int) -> str:
    return f"k{entity}"


class HttpReader:
    """A connection that is kept, so that one worker answers, until a server ends it: with JSON and with Arrow in turn."""

    def __init__(self, port: int, watch: SwapWatch) -> None:
        self._watch, self._is_ended = watch, False
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
        self._accepted = cycle(("application/json", "application/vnd.apache.arrow.stream"))

    def read(self, entities: Sequence[int]) -> tuple[Mapping[str, Sequence[Any]], int]:
        body = json.dumps({"features": [VIEW], "entities": {"k": list(map(key, entities))}})
        accepted = next(self._accepted)
        if self._is_ended:
            self._watch.begin_anew()
        self._connection.request("POST", "/v1/features", body, {"Accept": accepted})
        answer = self._connection.getresponse()
        content = answer.read()
        self._is_ended = answer.getheader("connection") == "close"
        if answer.status != 200:
            raise OSError(f"{answer.status}: {content!r}")
        if accepted == "application/json":
            told = json.loads(content)
            return told["features"], told["commits"][VIEW]
        table = pa.ipc.open_stream(io.BytesIO(content)).read_all()
        return table.to_pydict(), json.loads(table.schema.metadata[b"commits"])[VIEW]

    def close(self) -> None:
        self._connection.close()


@contextmanager
def watching(watches: Mapping[SwapWatch, Callable[..., Any]], count: int) -> Iterator[None]:
    """Each watch reads in a thread of its own meanwhile."""
    ended = threading.Event()
    threads = [
        threading.Thread(target=watch.run, args=(read, count, ended)) for watch, read in watches.items()
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def open_files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def mapped_generations(pid: int) -> set[str]:
    """Files of generations in the memory of a process, those that are deleted too."""
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    return {line.split(maxsplit=5)[5] for line in lines if ".arrow" in line or ".duckdb" in line}


def memory_bytes(pid: int) -> int:
    """What a process has in memory that no other has."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) * 1024


def watch_in_process(root: str, is_whole: bool, changes_all: bool, count: int) -> None:
    """Read by a prepared reader from three threads and from a loop.

    Prints a line of JSON for each line of standard input, and when that ends, ends.
    """
    from featurestore.client.connection import connect
    from featurestore.online.duckdb.loaded import LoadedGeneration

    store = connect(root)
    reader = store.reader(VIEW)
    loop = asyncio.Runner()

    def answered(answer: Any) -> tuple[Mapping[str, Sequence[Any]], int]:
        return answer.to_dict(), answer.commits[VIEW]

    def read(entities: Sequence[int]) -> Any:
        return answered(reader.read({"k": list(map(key, entities))}))

    def awaited(entities: Sequence[int]) -> Any:
        return answered(loop.run(reader.read_async([{"k": key(entity)} for entity in entities])))

    def got(entities: Sequence[int]) -> Any:
        result = store.get_features(VIEW, {"k": list(map(key, entities))})
        return result.answer.to_dict(), result.commits[VIEW]

    watches = {SwapWatch(is_whole, changes_all): each for each in (read, read, awaited, got)}
    with watching(watches, count):
        for _ in sys.stdin:
            gc.collect()
            loaded = [it for it in gc.get_objects() if type(it) is LoadedGeneration]
            told = {
                "reads": [watch.reads for watch in watches],
                "newest": min(watch.newest for watch in watches),
                "wrong": [what for watch in watches for what in watch.wrong],
                "open_files": open_files(os.getpid()),
                "generations": sorted(it.generation.version for it in loaded),
                "memory_bytes": memory_bytes(os.getpid()),
            }
            del loaded
            print(json.dumps(told), flush=True)
    loop.run(reader.aclose())
    loop.close()
