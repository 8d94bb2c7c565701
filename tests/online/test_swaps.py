"""Generation after generation is published while processes and threads read: no answer is mixed, torn or older than one
before, none fails, and nothing of what was read stays behind."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from eventually import eventually
from examples import exhaustive
from feature_server import FeatureServer, serving_features
from swap_watch import (
    FEATURES,
    TOTAL,
    HttpReader,
    SwapWatch,
    is_changed,
    key,
    mapped_generations,
    memory_bytes,
    open_files,
    values,
    watching,
)

from featurestore.timestamps import SECOND_US, current_us
from featurestore.views.builds import ActiveBuild, promote

MakeView = Callable[..., Any]
MakeRow = Callable[..., Any]
SUPPORT = Path(__file__).parents[1] / "support"
READER = f"""
import json, sys
sys.path.insert(0, {str(SUPPORT)!r})
from swap_watch import watch_in_process
watch_in_process(sys.argv[1], *json.loads(sys.argv[2]))
"""
WAIT_S = 600
SETTLED = 2
"""Generations after which readers have opened all that they need."""
GROWTH_BYTES = 100 << 20
"""Less than a leak of what was published, and more than what allocators keep."""


class ReadingProcess:
    """A process that reads until it is closed, and says when asked what it saw."""

    def __init__(self, root: str, *how: Any) -> None:
        command = [sys.executable, "-c", READER, root, json.dumps(how)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def seen(self) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        told: dict[str, Any] = json.loads(self._process.stdout.readline())
        return told

    def close(self) -> None:
        self._process.communicate(timeout=WAIT_S)
        assert self._process.returncode == 0


class Swaps:
    """A view of so many entities, of which one generation after the other is published."""

    def __init__(self, things: Any, make_row: MakeRow, count: int, changes_all: bool) -> None:
        self.things, self.count, self.changes_all = things, count, changes_all
        self.newest = 0
        self._make_row, self._began_us = make_row, current_us() - 60 * SECOND_US

    def publish(self) -> None:
        self.newest += 1
        told = values(self.newest)
        told = {
            "__in_total": told["number"],
            **{name: told[name] for name in ("number", "half", "text", "several")},
        }
        changed = [n for n in range(self.count) if self.changes_all or is_changed(n, self.newest)]
        event_us = self._began_us + self.newest
        rows = (
            self._make_row((key(n),), event_us, told, at=(self.newest, 0, place))
            for place, n in enumerate(changed)
        )
        assert self.things.add(*rows) == self.newest, "the generation is the version of the table"
        self.things.publish(current_us())


@contextmanager
def reading_on(swaps: Swaps, is_whole: bool, server: FeatureServer) -> Iterator[Callable[[], list[Any]]]:
    """Processes and connections that read meanwhile. Gives what each has seen so far, once it saw the newest."""
    how = (is_whole, swaps.changes_all)
    with ExitStack() as closing:
        processes = [
            ReadingProcess(swaps.things.storage.root, *how, swaps.count) for _ in range(1 + exhaustive())
        ]
        for process in processes:
            closing.callback(process.close)
        readers = {watch: HttpReader(server.port, watch) for watch in (SwapWatch(*how) for _ in range(3))}
        for reader in readers.values():
            closing.callback(reader.close)
        closing.enter_context(watching({watch: each.read for watch, each in readers.items()}, swaps.count))

        def seen() -> list[Any]:
            told: list[Any] = []

            def all_read_the_newest() -> bool:
                told[:] = [
                    *(process.seen() for process in processes),
                    *(
                        {"newest": watch.newest, "wrong": watch.wrong, "reads": [watch.reads]}
                        for watch in readers
                    ),
                ]
                assert [each["wrong"] for each in told] == [[]] * len(told)
                return all(each["newest"] == swaps.newest and min(each["reads"]) for each in told)

            eventually(all_read_the_newest, WAIT_S, lambda: told)
            return told

        yield seen


def workers(server: FeatureServer) -> list[int]:
    """The processes that answer: those that the server started, or itself."""
    pid = server.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children] or [pid]


@pytest.mark.slow
@pytest.mark.new_process
@pytest.mark.parametrize("online_url", ["duckdb", "redis"], indirect=True)
@pytest.mark.parametrize("count", [300, 60_000] if exhaustive() else [300])
def test_readers_see_whole_generations_in_their_order_while_they_are_swapped(
    online_url: str | None, count: int, view_in: MakeView, row: MakeRow, tmp_path: Path
) -> None:
    is_embedded, changes_all = online_url is None, count < 1000
    things = view_in(online_url, [*FEATURES, TOTAL] if changes_all else FEATURES)
    swaps = Swaps(things, row, count, changes_all)
    swaps.publish()
    promote(things.storage, things.name, ActiveBuild(things.digest, things.spec_digest))
    root = Path(things.storage.root)
    # Only what is embedded is shared by workers.
    number = "2" if is_embedded or exhaustive() else "1"
    with (
        serving_features(root, tmp_path / "log", "--workers", number) as server,
        reading_on(swaps, is_embedded, server) as seen,
    ):
        while swaps.newest < SETTLED:
            seen()
            swaps.publish()
        before, pids = seen(), workers(server)
        files, memory = list(map(open_files, pids)), list(map(memory_bytes, pids))
        while swaps.newest < (150 if exhaustive() else 6):
            swaps.publish()
            if swaps.newest % 3 == 0:
                seen()
        after = seen()

        def only_the_newest_is_mapped() -> bool:
            server.read([things.name], {"k": [key(0)]})  # By a new connection, which any worker may take.
            return all(len(mapped_generations(pid)) == is_embedded for pid in pids)

        eventually(only_the_newest_is_mapped, WAIT_S, lambda: list(map(mapped_generations, pids)))
        if is_embedded:
            assert [each["generations"] for each in after if "generations" in each] == [
                [swaps.newest] for each in after if "generations" in each
            ]
        assert workers(server) == pids
        for pid, before_files, before_bytes in zip(pids, files, memory, strict=True):
            eventually(lambda pid=pid, most=before_files + 4: open_files(pid) <= most, WAIT_S)
            assert memory_bytes(pid) < before_bytes + GROWTH_BYTES
        for one, other in zip(before, after, strict=True):
            assert other.get("open_files", 0) <= one.get("open_files", 0) + 4
            assert other.get("memory_bytes", 0) <= one.get("memory_bytes", 0) + GROWTH_BYTES
        assert "ERROR" not in server.log.read_text()
