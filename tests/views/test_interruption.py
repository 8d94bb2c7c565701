"""Builds that are killed, repeated, raced and starved of their past lose nothing and double nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable

from featurestore.errors import StorageError
from featurestore.protocol import BuildRequest, Progress
from featurestore.resources import FeatureView
from featurestore.storage import paths
from featurestore.storage.delta import Table
from featurestore.views.builds import read_build
from featurestore_transforms.views.build import run_build

View = Callable[..., FeatureView]
WORKER = """
import sys
from featurestore.protocol import BuildRequest
from featurestore.storage.objects import Storage
from featurestore_transforms.views.build import run_build
request = BuildRequest.model_validate_json(sys.argv[1])
run_build(Storage(request.root), request, lambda _: None)
assert "pandas" not in sys.modules, "a second and more of every start"
"""


def delays(*values: int) -> pl.DataFrame:
    return pl.DataFrame(
        {"tailnum": [f"N{value % 7}" for value in values], "at": "2013-01-01T12:00:00Z", "delay": values}
    )


def start(request: BuildRequest, kill_at: str = "") -> subprocess.Popen[bytes]:
    """A build in a process of its own, killed at a named step."""
    environment = {**os.environ, **({"FEATURESTORE_KILL_AT": kill_at} if kill_at else {})}
    return subprocess.Popen([sys.executable, "-c", WORKER, request.model_dump_json()], env=environment)


def kill(request: BuildRequest, step: str) -> None:
    assert start(request, step).wait(600) == -signal.SIGKILL


def holds(lake: Any, view: FeatureView, good: list[int], bad: list[int]) -> bool:
    """True if the build and its quarantine hold exactly these delays."""
    reasons = sorted(lake.rejected_rows(view)["reason"].to_list())
    return sorted(lake.features(view)["delay"].to_list()) == sorted(good) and reasons == sorted(
        f"wanted int8, got {value}" for value in bad
    )


def commits(lake: Any, view: FeatureView) -> list[str]:
    return [commit["source_version"] for commit in lake.build_table(view).history() if "digest" in commit]


@pytest.mark.parametrize("step", ["after-quarantine-commit", "after-build-commit"])
def test_a_killed_build_is_finished_by_the_next(lake: Any, view: View, step: str) -> None:
    typed = view()
    lake.accept(typed)
    lake.append(delays(1, 1000))
    kill(lake.request(typed), step)
    assert read_build(lake.storage, "delays", lake.digest(typed)) is None
    result = lake.build(typed)
    assert (result.rows, result.rows_quarantined) == (1, 1)
    assert holds(lake, typed, [1], [1000])
    assert len(commits(lake, typed)) == 1


@pytest.mark.parametrize("step", ["after-quarantine-commit", "after-build-commit"])
def test_a_killed_build_is_finished_though_the_dataset_went_on(lake: Any, view: View, step: str) -> None:
    typed = view()
    lake.accept(typed)
    lake.append(delays(1, 1000, 2))
    lake.build(typed)
    lake.replace(lambda rows: rows["delay"] == 1000, delays(3, 3000))
    kill(lake.request(typed), step)
    lake.replace(lambda rows: rows["delay"] == 2, delays(4, 4000))
    result = lake.build(typed)
    assert result.source_version == lake.version
    assert holds(lake, typed, [1, 3, 4], [3000, 4000])


def test_a_killed_build_is_finished_though_what_it_began_with_is_cleaned_up(lake: Any, view: View) -> None:
    typed = view()
    lake.accept(typed)
    lake.append(delays(1, 1000))
    kill(lake.request(typed), "after-quarantine-commit")
    began_with = lake.table.files()
    lake.append(delays(2, 2000))
    lake.compact()
    for file in began_with:
        os.unlink(lake.storage.uri(f"{lake.path}/{file.path}"))
    assert lake.build(typed).source_version == lake.version
    assert holds(lake, typed, [1, 2], [1000, 2000])


def test_the_next_request_asks_for_a_version_that_is_still_there(lake: Any, view: View) -> None:
    typed = view()
    lake.accept(typed)
    version = lake.append(delays(1))
    old = lake.table.files()
    lake.compact()
    for file in old:
        os.unlink(lake.storage.uri(f"{lake.path}/{file.path}"))
    with pytest.raises(StorageError, match="Ask for the newest"):
        lake.build(typed, to_version=version)
    assert lake.build(typed).rows == 1


def test_a_data_file_that_cannot_be_read_is_a_failure_and_not_an_empty_one(lake: Any, view: View) -> None:
    typed = view()
    lake.accept(typed)
    lake.append(delays(1))
    [file] = lake.table.files()
    path = Path(lake.storage.uri(f"{lake.path}/{file.path}"))
    data = path.read_bytes()
    for damage in (None, data[:-20]):
        path.unlink(missing_ok=True)
        if damage is not None:
            path.write_bytes(damage)
        with pytest.raises(StorageError, match="dataset"):
            lake.build(typed)
    path.write_bytes(data)
    assert lake.build(typed).rows == 1


@pytest.mark.parametrize("lost", ["data files", "log"])
def test_a_build_that_slept_too_long_is_filled_anew(lake: Any, view: View, lost: str) -> None:
    typed = view()
    lake.accept(typed)
    version = lake.append(delays(1, 1000))
    lake.build(typed)
    old = lake.table.files()
    lake.replace(lambda rows: rows["delay"] == 1, delays(2, 2000))
    lake.compact()
    if lost == "log":
        DeltaTable(lake.storage.uri(lake.path)).create_checkpoint()
        for number in range(version + 1):
            os.unlink(Path(lake.storage.uri(f"{lake.path}/_delta_log/{number:020d}.json")))
    else:
        for file in old:
            os.unlink(lake.storage.uri(f"{lake.path}/{file.path}"))
    result = lake.build(typed)
    assert (result.rows, result.rows_quarantined) == (1, 2)
    assert holds(lake, typed, [2], [1000, 2000])


def test_a_build_with_more_deleted_rows_than_memory_is_filled_anew(lake: Any, view: View) -> None:
    typed = view(resources={"memory": "1Ki"})
    lake.accept(typed)
    lake.append(delays(*range(40), 1000))
    lake.build(typed)
    lake.replace(lambda rows: rows["delay"] < 30, delays(1, 2000))
    lake.build(typed)
    assert holds(lake, typed, [1, *range(30, 40)], [1000, 2000])


def test_a_build_whose_tables_are_lost_is_made_again(lake: Any, view: View) -> None:
    typed = view()
    lake.accept(typed)
    lake.append(delays(1, 1000))
    lake.build(typed)
    lake.storage.delete(paths.features("delays", lake.digest(typed)))
    assert lake.build(typed).rows == 1
    assert holds(lake, typed, [1], [1000])


def test_a_builder_that_is_overtaken_commits_nothing_twice(lake: Any, view: View) -> None:
    typed = view()
    lake.accept(typed)
    lake.append(delays(1, 1000))
    request = lake.request(typed)
    other: list[Any] = []

    def overtake(_: Progress) -> None:
        if not other:
            other.append(None)
            other[0] = run_build(lake.storage, request, lambda _: None)

    assert run_build(lake.storage, request, overtake) == other[0]
    assert holds(lake, typed, [1], [1000])
    assert len(commits(lake, typed)) == 1


@pytest.mark.parametrize("bad", [[], [1000]])
def test_a_builder_that_is_overtaken_by_less_does_the_rest(lake: Any, view: View, bad: list[int]) -> None:
    typed = view()
    lake.accept(typed)
    first = lake.append(delays(1, *bad))
    lake.append(delays(2, 2000))
    overtaken: list[Progress] = []

    def overtake(told: Progress) -> None:
        if not overtaken:
            overtaken.append(told)
            run_build(lake.storage, lake.request(typed, first), lambda _: None)

    result = run_build(lake.storage, lake.request(typed), overtake)
    assert result.source_version == lake.version
    assert holds(lake, typed, [1, 2], [*bad, 2000])
    assert commits(lake, typed) == [str(lake.version), str(first)]


def test_a_compaction_of_the_build_meanwhile_is_no_harm(lake: Any, view: View) -> None:
    typed = view()
    lake.accept(typed)
    lake.append(delays(1, 2))
    lake.build(typed)
    lake.replace(lambda rows: rows["delay"] == 1, delays(3))
    compacted: list[Progress] = []

    def compact(told: Progress) -> None:
        if not compacted:
            compacted.append(told)
            table: Table = lake.build_table(typed)
            [file] = table.files()
            copy = pl.read_parquet(lake.storage.uri(f"{table.path}/{file.path}"))
            copy.write_parquet(lake.storage.uri(f"{table.path}/copy.parquet"))
            twin = type(file)("copy.parquet", file.size_bytes, file.rows, {"numRecords": file.rows})
            table.commit(app_id="compaction", number=1, add=[twin], remove=[file], metadata={})

    result = run_build(lake.storage, lake.request(typed), compact)
    assert holds(lake, typed, [2, 3], [])
    assert result.watermark_us == lake.features(typed)["event_timestamp"].max().timestamp() * 1_000_000


@pytest.mark.new_process
def test_two_builders_at_once_build_once(lake: Any, view: View) -> None:
    typed = view()
    lake.accept(typed)
    for day in range(3):
        lake.append(delays(*range(day, 120), 1000 + day))
    builders = [start(lake.request(typed)) for _ in range(2)]
    assert [builder.wait(600) for builder in builders] == [0, 0]
    assert holds(lake, typed, [*range(120), *range(1, 120), *range(2, 120)], [1000, 1001, 1002])
    assert len(commits(lake, typed)) == 1
