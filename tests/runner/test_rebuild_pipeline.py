"""A runner takes history again to readers, offline and online, as one: killed, raced, given up or undisturbed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from examples import sample
from laptop import Laptop, view_of

from featurestore.cli.delete import delete
from featurestore.cli.describe import describe
from featurestore.cli.get import get
from featurestore.quarantine.tally import open_of_pipeline
from featurestore.rebuild.history_plan import begin, plan_history
from featurestore.reconcile.conditions import read_status
from featurestore.storage import paths

START = datetime(2024, 3, 30, 9, tzinfo=UTC)
KEYS = ["a", "b", "c", "d"]
OLD = [{"derive": {"columns": {"u": "v + 1"}}}]
NEW = [{"derive": {"columns": {"u": "v * 10"}}}, {"filter": {"where": "w < 9"}}]
FAILPOINTS = [
    *("before-piece", "after-piece", "after-decision", "after-rebuild-quarantine", "after-rebuild-dataset"),
    *("after-rebuild-schema", "after-rebuild", "after-build-commit", "during-publish", "after-publish"),
    *("before-promote", "after-promote", "after-quarantine-commit", "after-dataset-commit", "after-result"),
]


def pipeline(transforms: list[Any], **spec: Any) -> dict[str, Any]:
    return {
        "kind": "DataPipeline",
        "metadata": {"name": "p"},
        "spec": {
            "source": {"uri": "raw/*.csv", "format": "CSV"},
            "trigger": {"arrivals": {"maxFiles": 1}},
            "transforms": transforms,
            "expectations": [{"name": "small", "that": "u < 90"}],
            **spec,
        },
    }


VIEW = view_of("u")


def rows(*numbers: int) -> tuple[dict[str, Any], ...]:
    return tuple(
        {"k": KEYS[n % 4], "ts": START - timedelta(minutes=90 - n), "v": n, "w": float(n % 10)}
        for n in numbers
    )


def filled(folder: Path, transforms: list[Any]) -> Laptop:
    laptop = Laptop(folder, START)
    laptop.apply(pipeline(transforms), VIEW)
    for n in range(3):
        laptop.drop(f"{n}.csv", rows(*range(n, 12, 3)))
    laptop.run()
    return laptop


def arrive(laptop: Laptop) -> None:
    laptop.drop("3.csv", rows(2, 5, 13))


def start(laptop: Laptop) -> None:
    laptop.apply(pipeline(NEW))
    plan = plan_history(laptop.storage, "p", now_us=laptop.clock(), base=str(laptop.folder))
    begin(laptop.storage, plan)


def reads(laptop: Laptop) -> Any:
    """What readers get, offline at two times and online."""
    store = laptop.store(START + timedelta(hours=1))
    features = ["view:u", "view:n_1d"]
    times = [START - timedelta(minutes=85), START]
    labels = [{"k": key, "t": t} for t in times for key in KEYS]
    offline = store.get_features(features, labels, timestamp_column="t").to_dict()
    return offline, store.get_features(features, [{"k": key} for key in KEYS]).to_dict()


def state(laptop: Laptop) -> Any:
    order = ("__batch", "__file", "__row")
    tables = [
        sorted(laptop.table(path), key=lambda row: [row[name] or 0 for name in order])
        for path in (
            paths.dataset("p"),
            paths.quarantine("pipelines", "p"),
            paths.features("view", laptop.build("view")),
        )
    ]
    kept = [
        [{name: value for name, value in row.items() if name not in _TIMES} for row in table]
        for table in tables
    ]
    ledger = laptop.ledger("p")
    return kept, reads(laptop), open_of_pipeline(ledger, ledger.last_result())


_TIMES = ("quarantined_at", "version", "created_timestamp", "__created")


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """What a fresh store holds that is fed with the same files under the new spec: without the last file, and with it."""
    laptop = filled(tmp_path_factory.mktemp("fresh") / "p", NEW)
    before = state(laptop)
    arrive(laptop)
    laptop.run()
    return before, state(laptop)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Laptop:
    """What is to be run again, which tests copy."""
    return filled(tmp_path_factory.mktemp("old") / "p", OLD)


@pytest.fixture(scope="module")
def continued(first: Laptop, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """What readers get when history is as it was: without the last file, and with it."""
    laptop = first.copied(tmp_path_factory.mktemp("continued") / "p")
    before = reads(laptop)
    laptop.apply(pipeline(NEW))
    arrive(laptop)
    laptop.run()
    return before, reads(laptop)


def test_readers_get_what_a_fresh_store_gives(first: Laptop, tmp_path: Path, fresh: Any) -> None:
    laptop = first.copied(tmp_path / "p")
    before = laptop.build("view")
    start(laptop)
    arrive(laptop)
    laptop.run()
    assert state(laptop) == fresh[1]
    assert laptop.build("view") != before
    status = read_status(laptop.storage, "views", "view")
    assert status is not None
    assert all(it.status == "True" for it in status.conditions if it.type in ("Ready", "OnlineSynced"))


@pytest.mark.parametrize("step", sample(FAILPOINTS, 4))
def test_a_runner_that_is_killed_anywhere_ends_as_an_undisturbed_one(
    first: Laptop, tmp_path: Path, fresh: Any, continued: Any, step: str
) -> None:
    laptop = first.copied(tmp_path / "p")
    start(laptop)
    arrive(laptop)
    for times in range(1, 3):
        with laptop.killed_at(step, times):
            laptop.run()
        offline, online = reads(laptop)
        # All of the one history or all of the other.
        assert offline in [each[0] for each in (*continued, fresh[0][1], fresh[1][1])]
        assert online in [each[1] for each in (*continued, fresh[0][1], fresh[1][1])]
    laptop.run()
    assert state(laptop) == fresh[1]


def test_readers_never_see_a_part_of_what_is_rebuilt(
    first: Laptop, tmp_path: Path, fresh: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    laptop = first.copied(tmp_path / "p")
    old = reads(laptop)
    seen: list[Any] = []
    start(laptop)
    monkeypatch.setattr("laptop._Silent.begin", lambda self, step: seen.append(reads(laptop)))
    laptop.run()
    assert len(seen) > 5
    assert [each for each in seen if each not in (old, fresh[0][1])] == []
    assert reads(laptop) == fresh[0][1] != old


def test_progress_is_told_where_people_look(first: Laptop, tmp_path: Path) -> None:
    laptop = first.copied(tmp_path / "p")
    start(laptop)
    with laptop.killed_at("before-piece", 2):
        laptop.run()
    status = read_status(laptop.storage, "pipelines", "p")
    assert status is not None
    told = {condition.type: condition for condition in status.conditions}
    assert told["Ready"].status == "True"
    assert "Rebuilding history: rebuild 1: 1 of 3 pieces" in told["Ready"].message
    assert "rebuild 1: 1 of 3 pieces" in describe(laptop.project, "pipeline", "p", None, laptop.clock())
    assert "1 of 3" in get(laptop.project, "pipelines", None, None, laptop.clock())


def test_a_pipeline_that_is_deleted_during_a_rebuild_leaves_nothing(
    first: Laptop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    laptop = first.copied(tmp_path / "p")
    delete(laptop.project, "view", "view", data=True)
    start(laptop)

    def gone(step: str) -> None:
        if step == "before-piece":
            delete(laptop.project, "pipeline", "p", data=True)

    monkeypatch.setattr("featurestore_transforms.batch.rebuilding.hit", gone)
    laptop.run()
    assert laptop.storage.names("ledger") == []
    found = [laptop.storage.names(path) for path in paths.data("pipelines", "p")]
    assert [name for names in found for name in names if name.endswith(".parquet")] == []


def test_a_build_of_the_history_before_takes_no_row_of_the_one_after(first: Laptop, tmp_path: Path) -> None:
    laptop = first.copied(tmp_path / "p")
    before = laptop.build("view")
    held = laptop.table(paths.features("view", before))
    start(laptop)
    laptop.run()
    assert laptop.table(paths.features("view", before)) == held


def test_a_time_range_takes_the_batches_that_were_closed_in_it_and_views_follow(
    first: Laptop, tmp_path: Path
) -> None:
    laptop = first.copied(tmp_path / "p")
    closed_us = [laptop.ledger("p").manifest(n).created_us for n in (1, 2, 3)]
    assert closed_us == sorted(set(closed_us))
    laptop.apply(pipeline([{"derive": {"columns": {"u": "v * 10"}}}]))
    plan = plan_history(
        laptop.storage,
        "p",
        now_us=laptop.clock(),
        base=str(laptop.folder),
        from_us=closed_us[1],
        to_us=closed_us[2],
    )
    assert plan.rebuild.pieces == ((2, 2),)
    begin(laptop.storage, plan)
    arrive(laptop)
    laptop.run()
    found = sorted((row["__batch"], row["v"], row["u"]) for row in laptop.table(paths.dataset("p")))
    old = [(n, v, v + 1) for n, first in ((1, 0), (3, 2)) for v in range(first, 12, 3)]
    new = [(2, v, v * 10) for v in (1, 4, 7)] + [(4, v, v * 10) for v in (2, 5)]
    assert found == sorted(old + new)
    followed = laptop.table(paths.features("view", laptop.build("view")))
    assert sorted(row["u"] for row in followed) == sorted(u for _, _, u in found)
