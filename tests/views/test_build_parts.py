"""A build whose rows are searched for the one that crashes becomes what it becomes undisturbed, without that row."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest
from examples import sample

from featurestore.arrivals.isolation import Trial
from featurestore.errors import Conflict
from featurestore.failure import Failure
from featurestore.resources import FeatureView
from featurestore.views.build_trials import MOST_ROWS, BuildTrials
from featurestore.views.builds import BuildResult
from featurestore_transforms.views.build import run_build

View = Callable[..., FeatureView]
CRASH = Failure(type="WorkerKilled", problem="died", got="signal SIGSEGV", retryable=True)
STEPS = ["before-build-part", "after-build-part", "after-quarantine-commit", "after-build-commit"]
WORKER = """
import os, signal, sys
from featurestore.protocol import BuildRequest
from featurestore.storage.objects import Storage
from featurestore_transforms.views import build, feature_files

deadly, computed = {int(each) for each in sys.argv[2].split(",") if each}, feature_files.feature_rows
def feature_rows(rows, spec):
    if deadly & set(rows.select("delay").collect()["delay"]):
        os.kill(os.getpid(), signal.SIGSEGV)
    return computed(rows, spec)
feature_files.feature_rows = feature_rows
request = BuildRequest.model_validate_json(sys.argv[1])
build.run_build(Storage(request.root), request, lambda _: None)
"""


def delays(*values: int) -> pl.DataFrame:
    return pl.DataFrame(
        {"tailnum": [f"N{value % 7}" for value in values], "at": "2013-01-01T12:00:00Z", "delay": values}
    )


class Search:
    """Attempts at a build as a runner makes them; each process that meets a ``deadly`` delay ends by SIGSEGV."""

    def __init__(self, lake: Any, view: FeatureView, deadly: set[int]) -> None:
        self.lake, self.view, self.deadly = lake, view, deadly
        self.crashes = 0

    def trials(self) -> BuildTrials:
        return BuildTrials.of(self.lake.storage, "delays", self.lake.digest(self.view))

    def crash(self, crash: Failure = CRASH) -> None:
        """As if an attempt had crashed."""
        found = self.trials().read()
        at = found.isolation
        trial = Trial(first=at.first, stop=at.stop, ended_us=1, crash=crash)
        assert self.trials().append(found.turn, trial)

    def attempt(self, kill_at: str = "") -> int:
        """One attempt in a process of its own; how it ended."""
        turn = self.trials().read().turn
        request = self.lake.request(self.view).model_copy(update={"turn": turn})
        environment = {**os.environ, **({"FEATURESTORE_KILL_AT": kill_at} if kill_at else {})}
        deadly = ",".join(map(str, self.deadly))
        command = [sys.executable, "-c", WORKER, request.model_dump_json(), deadly]
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        code = ended.returncode
        assert code in (0, -signal.SIGSEGV, -signal.SIGKILL), ended.stderr
        if code == -signal.SIGSEGV and not self.trials().read().is_over:
            self.crashes += 1
            self.crash()
        return code

    def here(self) -> Any:
        """One attempt in this process."""
        turn = self.trials().read().turn
        request = self.lake.request(self.view).model_copy(update={"turn": turn})
        return run_build(self.lake.storage, request, lambda _: None)

    def finish(self) -> BuildResult:
        """Attempts in this process until the build is made."""
        while not isinstance(result := self.here(), BuildResult):
            pass
        return result


def held(lake: Any, view: FeatureView) -> list[int]:
    return sorted(lake.features(view)["delay"].to_list())


def refused(lake: Any, view: FeatureView) -> list[tuple[Any, ...]]:
    rows = lake.rejected_rows(view)
    return sorted(rows.select("__batch", "__file", "__row", "rule").rows())


def test_all_rows_but_the_one_that_crashes_are_built(lake: Any, view: View) -> None:
    typed = view()
    lake.accept(typed)
    lake.append(delays(1, 2), delays(5, 1000))
    search = Search(lake, typed, {5})
    while search.attempt() != 0 or held(lake, typed) == []:
        assert search.crashes < 12
    assert held(lake, typed) == [1, 2]
    assert refused(lake, typed) == [(1, 1, 0, "row:killed"), (1, 1, 1, "feature:delay")]
    (reason,) = lake.rejected_rows(typed).filter(rule="row:killed")["reason"]
    assert "this row alone" in reason
    assert "SIGSEGV" in reason
    # What comes later is built as if nothing had been.
    lake.append(delays(8))
    assert lake.build(typed).rows == 3


@pytest.mark.parametrize("crashes", [2, 3])
def test_parts_come_to_what_the_whole_comes_to(lake: Any, view: View, crashes: int) -> None:
    typed = view()
    lake.accept(typed)
    lake.append(delays(1, 1000, 3), delays(4, 2000))
    search = Search(lake, typed, set())
    for _ in range(crashes):
        search.crash()
    result = search.finish()
    assert (result.rows, result.rows_quarantined) == (3, 2)
    assert held(lake, typed) == [1, 3, 4]
    assert refused(lake, typed) == [(1, 0, 1, "feature:delay"), (1, 1, 1, "feature:delay")]
    assert search.trials().read().turn == 0
    assert len([it for it in lake.build_table(typed).history() if "digest" in it]) == 1


def test_a_build_that_is_searched_goes_on_with_the_rows_it_began_with(lake: Any, view: View) -> None:
    typed = view()
    lake.accept(typed)
    lake.append(delays(1, 2, 3, 4))
    search = Search(lake, typed, set())
    for _ in range(2):
        search.crash()
    assert not isinstance(search.here(), BuildResult)
    lake.append(delays(5))
    lake.replace(lambda rows: rows["delay"] == 1, delays(6))
    assert search.finish().source_version == lake.version
    assert held(lake, typed) == [2, 3, 4, 5, 6]


def test_a_search_of_which_a_file_is_gone_begins_again(lake: Any, view: View) -> None:
    typed = view()
    lake.accept(typed)
    lake.append(delays(1, 2, 3, 4))
    search = Search(lake, typed, set())
    for _ in range(2):
        search.crash()
    search.here()
    began_with = lake.table.files()
    lake.compact()
    for file in began_with:
        os.unlink(lake.storage.uri(f"{lake.path}/{file.path}"))
    with pytest.raises(Conflict, match="another attempt"):
        search.here()
    assert search.finish().rows == 4
    assert held(lake, typed) == [1, 2, 3, 4]


def test_a_row_that_was_set_aside_is_gone_from_quarantine_with_the_row(lake: Any, view: View) -> None:
    typed = view()
    lake.accept(typed)
    lake.append(delays(1))
    search = Search(lake, typed, set())
    for _ in range(2):
        search.crash()
    assert search.finish().rows == 0
    assert refused(lake, typed) == [(1, 0, 0, "row:killed")]
    lake.replace(lambda rows: rows["delay"] == 1, delays(2))
    assert lake.build(typed).rows_quarantined == 0
    assert (held(lake, typed), refused(lake, typed)) == ([2], [])


def test_another_definition_takes_the_row_again(lake: Any, view: View) -> None:
    typed = view()
    lake.accept(typed)
    lake.append(delays(1, 2))
    search = Search(lake, typed, set())
    for _ in range(4):
        search.crash()
    search.finish()
    assert held(lake, typed) == [2]
    wider = view({"name": "delay", "type": "int64", "column": "delay"})
    lake.accept(wider)
    lake.build(wider)
    assert held(lake, wider) == [1, 2]


def test_no_more_than_some_rows_are_set_aside(lake: Any, view: View) -> None:
    typed = view()
    lake.accept(typed)
    lake.append(delays(*range(40)))
    search = Search(lake, typed, set())
    for _ in range(2):
        search.crash()
    assert search.attempt("before-build-part") == -signal.SIGKILL
    while not search.trials().read().is_over:
        search.crash()
    assert len(search.trials().read().isolation.killers) == MOST_ROWS
    # Should the rest pass after all, it is built.
    assert search.finish().rows == 40 - MOST_ROWS


def test_a_crash_without_any_row_halves_nothing(lake: Any, view: View) -> None:
    typed = view()
    lake.accept(typed)
    lake.append(delays(1))
    lake.build(typed)
    lake.replace(lambda rows: rows["delay"] == 1)
    search = Search(lake, typed, set())
    for _ in range(2):
        search.crash()
    assert search.finish().rows == 0
    assert refused(lake, typed) == []


@pytest.mark.slow
@pytest.mark.parametrize("step", sample(STEPS, 1))
def test_a_search_that_is_killed_at_any_step_ends_as_an_undisturbed_one(
    lake: Any, view: View, step: str
) -> None:
    typed = view()
    lake.accept(typed)
    lake.append(delays(1, 1000, 3))
    search = Search(lake, typed, set())
    for _ in range(2):
        search.crash()
    killed = []
    while not (built := lake.features(typed)).height:
        isolation = search.trials().read().isolation
        if 0 < isolation.first < isolation.stop == 3:
            search.crash()
            continue
        killed.append(search.attempt(step))
        if search.trials().read().turn == isolation.turn and not lake.features(typed).height:
            search.here()
    assert -signal.SIGKILL in killed
    search.finish()
    assert built["delay"].to_list() == [1]
    assert refused(lake, typed) == [(1, 0, 1, "feature:delay"), (1, 0, 2, "row:killed")]


def test_a_late_attempt_does_nothing(lake: Any, view: View) -> None:
    typed = view()
    lake.accept(typed)
    lake.append(delays(1))
    Search(lake, typed, set()).crash()
    with pytest.raises(Conflict, match="another attempt is due"):
        lake.build(typed)
