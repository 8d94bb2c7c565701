"""Run the tests in stages, each as a process of its own, and end with a table: stage, tests, minutes.

    python tests/stages.py          what `make test` runs: every test, of what is exhaustive a sample
    python tests/stages.py --all    what `make test-all` runs: everything

Beside the tests that take the processors run those that mostly wait, for pods and for an API server: lanes, each of
them one stage after another. All stages run, whatever became of those before.

A test that fails is tried again, alone and once. If it passes then, it is counted as unsteady and named at the end, so
that one flake costs nobody a run and is still seen. The exit code is 1 if a test failed twice, or if more than a few
failed at first.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

ROOT = Path(__file__).parents[1]
CACHE = ROOT / ".pytest_cache"
NEWEST, LOWEST = ".venv", ".venv-lowest"
LIBRARIES = (
    *(f"arrivals/test_{it}.py" for it in ("listing", "web")),
    "entrypoint/test_job.py::test_one_job_brings_a_file_all_the_way_to_readers",
    *("batch", "client", "expressions", "offline", "online"),
    "end_to_end/test_sql_values.py",
    *("resources", "server/test_reading.py", "steps", "storage", "views", "windows"),
    "cli/test_complete.py::test_the_folder_that_is_named_counts",
    *(f"cli/test_{it}.py" for it in ("init", "output", "start", "terminal", "trouble")),
)
"""Tests that meet libraries of others, whose lowest versions they run with. Where all of a room meets a library in the
same way (typer, pydantic), a few of its tests do."""
OURS = (
    "arrivals/test_listing.py::test_a_listing_longer_than_a_page_is_whole_and_sorted",
    *(f"batch/test_{it}.py" for it in ("kill", "parts", "rebuild", "rebuild_killed")),
    "batch/test_text_file.py",
    *(f"client/test_{it}.py" for it in ("immediate", "service_property")),
    *(
        f"online/test_{it}.py"
        for it in ("consistency", "newest", "offline_equals_online", "publish_parts", "shared", "swaps")
    ),
    "resources/test_a_kind_with_jobs.py",
    "steps/test_sql.py::test_a_query_gives_the_same_rows_order_and_bits_in_every_process_however_many_threads_it_has",
    *(f"views/test_{it}.py" for it in ("build_parts", "following", "interruption", "piece", "rejected")),
)
"""Among them those that are about our own order of steps (kills, rebuilds, who reads what when), or that meet libraries
as others of these tests do: a text's bits are flipped in the reader of ``csv_rows``, services read as ``inference`` does,
and what is rejected or followed is built as ``build`` does. So the whole room of quarantine is not among them."""
STREAMS = (
    *(f"arrivals/test_{it}.py" for it in ("carriers", "source")),
    "docs/test_streams.py",
    *(f"end_to_end/test_{it}.py" for it in ("kafka", "nats", "stream_kills", "streams")),
)
"""Tests that need a broker of Kafka: in one process, since one takes two seconds of each minute though nobody asks it."""
SCALING = ("node/test_scaling.py",)
"""Tests that need what `tests/services scaling` builds, and minutes in which autoscalers look: in `make test-all` only."""
ROOMS = {
    "node": ("cluster", "node"),
    "api_server": ("operator", "cluster", "docs", "install", "kubectl", "server"),
}
"""Where the tests of a mark are, the longest first: to collect the others as well takes seconds of each process."""
ANY_TEST = ("--dist", "worksteal")
WHOLE_FILES = ("--dist", "loadfile", "--no-loadscope-reorder")
"""How processes share the tests of a stage. A file's tests stay together where they share what takes long to start."""
KUBERNETES = tuple(f"operator/test_{it}.py" for it in ("api", "process", "rest", "story"))
"""And those that meet Kubernetes' client."""
AGAIN = 25
"""More tests of a stage than these do not fail by chance, not even if a server does not start."""
GO = {"GOGC": "400"}
"""API servers, S3 and kubectl collect memory less often: a quarter of the time that they take."""
TESTS_FAILED = 1  # Exit code of pytest.


@dataclass(frozen=True)
class Stage:
    """``python``: the environment that runs it. ``environ``: variables that it sets for the tests.

    ``processes``: so many share its tests, in the way of ``shared``; those that fail are tried again by one.
    """

    name: str
    python: str
    arguments: tuple[str, ...]
    environ: dict[str, str] = field(default_factory=dict)
    processes: int = 1
    shared: tuple[str, ...] = ANY_TEST

    @property
    def cache(self) -> Path:
        """Where pytest keeps what failed: stages that run at once must not share it."""
        return CACHE / self.name


@dataclass(frozen=True)
class Outcome:
    """``failed``: tests that failed, twice where they were tried again; at least 1 if a stage ended otherwise
    than well. ``unsteady``: names of those that failed and then passed. ``cpu_s``: seconds of processors that it took,
    with all processes that it waited for, whatever else the machine had to do.
    """

    stage: str
    passed: int
    failed: int
    unsteady: tuple[str, ...]
    seconds: float
    cpu_s: float


class Printer:
    """Prints what a lane says: at once, or all of a stage when it ends, so that no other lane's lines are between."""

    _turn = threading.Lock()

    def __init__(self, at_once: bool) -> None:
        self._at_once = at_once
        self._kept: list[str] = []

    def say(self, line: str) -> None:
        self._kept.append(line)
        if self._at_once:
            self.end()

    def end(self) -> None:
        with self._turn:
            print("".join(self._kept), end="", flush=True)
        self._kept.clear()


def lanes(everything: bool) -> list[list[Stage]]:
    """What runs at the same time: in each lane the stages in the order in which they run."""
    sampled = {"EXAMPLES": "0.12"}
    deep = {"EXHAUSTIVE": "1", "EXAMPLES": "2"} if everything else sampled
    few = {"EXAMPLES": "0.1"}
    with_lowest = (
        *paths(LIBRARIES),
        *(f"--{'deselect' if '::' in it else 'ignore'}={it}" for it in paths(OURS)),
        "transforms/featurestore_transforms",
    )
    with_newest = ("-m", "not node and not api_server")
    but_streams = tuple(f"--ignore={it}" for it in paths(STREAMS))
    but_scaling = () if everything else tuple(f"--ignore={it}" for it in paths(SCALING))
    return [
        [Stage("newest", NEWEST, (*with_newest, *but_streams), deep, 3)],
        [
            Stage("lowest", LOWEST, ("-m", "not slow and not node and not api_server", *with_lowest), few),
            Stage("api-lowest", LOWEST, ("-m", "api_server", *paths(KUBERNETES)), few),
        ],
        # One process, so that there is one node, which the tests share.
        [Stage("node", NEWEST, ("-m", "node", *but_scaling, *paths(ROOMS["node"])), deep)],
        [
            # They mostly wait, so that two API servers, one of each process, take hardly more of the processors than one.
            Stage(
                "api-server", NEWEST, ("-m", "api_server", *paths(ROOMS["api_server"])), deep, 2, WHOLE_FILES
            ),
            Stage("streams", NEWEST, (*with_newest, *paths(STREAMS)), deep),
        ],
    ]


def paths(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"tests/{name}" for name in names)


def run(stage: Stage, printer: Printer) -> Outcome:
    """Run one stage, and again what failed of it if that is little."""
    started = time.monotonic()
    shared = ("-n", str(stage.processes), *stage.shared) if stage.processes > 1 else ()
    code, counted, cpu_s = run_pytest(stage, ("--cache-clear", *shared, *stage.arguments), printer)
    passed, failed = counted.get("passed", 0), failures(code, counted)
    unsteady: tuple[str, ...] = ()
    tried = last_failed(stage)
    if code == TESTS_FAILED and 0 < len(tried) <= AGAIN:
        printer.say(f"\n── {stage.name}: what failed, again\n")
        code, counted, more_s = run_pytest(stage, ("--last-failed", *stage.arguments), printer)
        cpu_s += more_s
        unsteady = tuple(sorted(tried - last_failed(stage)))
        passed, failed = passed + len(unsteady), failures(code, counted)
    printer.end()
    return Outcome(stage.name, passed, failed, unsteady, time.monotonic() - started, cpu_s)


def run_pytest(stage: Stage, arguments: Sequence[str], printer: Printer) -> tuple[int, dict[str, int], float]:
    """Its exit code, what its last line counts, and the seconds of processors that it took."""
    command = [f"{stage.python}/bin/pytest", "-o", f"cache_dir={stage.cache}", *arguments]
    printer.say(f"\n── {stage.name}: {' '.join(command)}\n")
    last = ""
    with subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, **GO, **stage.environ}, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            printer.say(line)
            last = line if re.search(r"\d+ (passed|failed|error|skipped)", line) else last
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, counts(last), used.ru_utime + used.ru_stime


def last_failed(stage: Stage) -> frozenset[str]:
    """Names of the tests that failed when the stage last ran."""
    path = stage.cache / "v/cache/lastfailed"
    return frozenset(json.loads(path.read_text())) if path.exists() else frozenset()


def counts(line: str) -> dict[str, int]:
    """What pytest's last line counts: ``{"passed": 12, "failed": 1}``.

    >>> counts("===== 1 failed, 12 passed, 3 deselected in 4.05s =====")
    {'failed': 1, 'passed': 12, 'deselected': 3}
    """
    return {word: int(number) for number, word in re.findall(r"(\d+) ([a-z]+)", line.partition(" in ")[0])}


def failures(code: int, counted: Mapping[str, int]) -> int:
    """Tests that failed or could not begin; at least one if pytest ended otherwise than well, or without a last line.

    >>> failures(1, {"failed": 1, "errors": 2, "passed": 12}), failures(0, {}), failures(0, {"passed": 12})
    (3, 1, 0)
    """
    found = sum(counted.get(word, 0) for word in ("failed", "error", "errors"))
    return found or int(code != 0 or not counted)


def table(outcomes: Sequence[Outcome], seconds: float) -> str:
    """The stages with their tests, minutes and minutes of processors; in the last line sums, and the minutes of all."""
    rows = [
        ("stage", "tests", "failed", "unsteady", "minutes", "CPU"),
        *(
            (
                *(it.stage, it.passed, it.failed, len(it.unsteady)),
                *(f"{it.seconds / 60:.1f}", f"{it.cpu_s / 60:.1f}"),
            )
            for it in outcomes
        ),
        (
            "all",
            sum(it.passed for it in outcomes),
            sum(it.failed for it in outcomes),
            sum(len(it.unsteady) for it in outcomes),
            f"{seconds / 60:.1f}",
            f"{sum(it.cpu_s for it in outcomes) / 60:.1f}",
        ),
    ]
    return "\n".join(f"{a:<12}{b:>8}{c:>8}{d:>10}{e:>9}{f:>7}" for a, b, c, d, e, f in rows)


def run_lane(lane: Sequence[Stage], printer: Printer) -> list[Outcome]:
    return [run(stage, printer) for stage in lane]


def main(everything: bool) -> int:
    started = time.monotonic()
    side_by_side = lanes(everything)
    with ThreadPoolExecutor(len(side_by_side)) as pool:
        first = [Printer(at_once=number == 0) for number in range(len(side_by_side))]
        outcomes = [*chain(*pool.map(run_lane, side_by_side, first))]
    print(f"\n{table(outcomes, time.monotonic() - started)}\n")
    for it in outcomes:
        for name in it.unsteady:
            print(f"UNSTEADY {it.stage}: {name} failed, and passed when it was tried again: mend it")
    failed = sum(it.failed for it in outcomes)
    print(f"{sum(it.passed for it in outcomes)} passed, {failed} failed")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main("--all" in sys.argv[1:]))
