"""A view that is rebuilt: made anew beside what serves, promoted at once, and the same as in a fresh store."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from examples import sample
from laptop import Laptop, view_of

from featurestore.cli.describe import describe
from featurestore.cli.get import get
from featurestore.cli.output import OutputFormat
from featurestore.cli.rebuild_view import rebuild_view
from featurestore.resources import FeatureView
from featurestore.storage import paths
from featurestore.storage.delta import Table
from featurestore.views.builds import read_active_build, read_build, record_build, wanted_build
from featurestore.views.rebuilds import last_rebuild, request_rebuild

START = datetime(2024, 3, 30, 9, tzinfo=UTC)
STEPS = (
    *("after-quarantine-commit", "after-build-commit", "during-publish"),
    *("after-publish", "before-promote", "after-promote"),
)
PIPELINE = {
    "kind": "DataPipeline",
    "metadata": {"name": "p"},
    "spec": {"source": {"uri": "raw/*.parquet", "format": "Parquet"}},
}
VIEW = view_of("v")


def row(key: str | None, value: int) -> dict[str, Any]:
    return {"k": key, "ts": START - timedelta(hours=9 - value), "v": value, "w": None}


def made(folder: Path) -> Laptop:
    """Three files, each a batch of its own; one has a row without a key."""
    laptop = Laptop(folder, START)
    laptop.apply(PIPELINE, VIEW)
    for number in range(1, 4):
        laptop.drop(f"{number}.parquet", (row("a", number), row("b", number), row(None, number)))
        laptop.run()
    return laptop


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Laptop:
    """What tests copy."""
    return made(tmp_path_factory.mktemp("first") / "project")


@pytest.fixture
def laptop(first: Laptop, tmp_path: Path) -> Laptop:
    return first.copied(tmp_path / "project")


def spoil(laptop: Laptop) -> None:
    """What serves has other values than its dataset, offline and online, as after a fault of the software."""
    served = read_active_build(laptop.storage, "view")
    assert served is not None
    table = Table.open(laptop.storage, paths.features("view", served.digest))
    assert table is not None
    for uri in table.uris():
        spoiled = pl.read_parquet(uri).with_columns(pl.col("v") + 100)
        spoiled.write_parquet(uri)
    laptop.storage.delete(paths.online("view"))
    laptop.run()


def request(laptop: Laptop) -> str:
    return rebuild_view(laptop.project, "view", None, laptop.clock(), record=True)


def found(laptop: Laptop) -> tuple[Any, ...]:
    """What readers find, online and at a time."""
    store, names = laptop.store(laptop.now), ["view:v", "view:n_1d"]
    online = store.get_features(names, entities={"k": ["a", "b"]}).to_dict()
    frame = pl.DataFrame({"k": ["a", "b"], "event_timestamp": [laptop.now] * 2})
    offline = store.get_features(names, frame).to_dict()
    return tuple((tuple(each["v"]), tuple(each["n_1d"])) for each in (online, offline))


def stored(laptop: Laptop) -> tuple[list[Any], list[Any]]:
    """The rows of the build that serves, and those in its quarantine."""
    served = read_active_build(laptop.storage, "view")
    assert served is not None
    tables = (paths.features("view", served.digest), paths.rejected_rows("view", served.digest))
    kept, rejected = (sorted(map(_identified, laptop.table(path))) for path in tables)
    return kept, rejected


def _identified(row: dict[str, Any]) -> tuple[Any, ...]:
    return (*(row[name] for name in ("__batch", "__file", "__row")), row.get("v"), row.get("rule"))


def test_a_rebuild_makes_right_what_was_wrong_offline_and_online(laptop: Laptop) -> None:
    right, rows = found(laptop), stored(laptop)
    spoil(laptop)
    assert found(laptop) != right
    request(laptop)
    laptop.run()
    assert found(laptop) == right == (((3, 3), (6, 6)),) * 2
    assert stored(laptop) == rows
    assert len(rows[1]) == 3


def test_what_served_before_is_retired_and_new_files_go_to_the_new_build(laptop: Laptop) -> None:
    before = read_active_build(laptop.storage, "view")
    assert before is not None
    request(laptop)
    laptop.run()
    after = read_active_build(laptop.storage, "view")
    assert after is not None
    assert laptop.storage.names(paths.online("view")) == [after.digest] != [before.digest]
    laptop.drop("4.parquet", (row("a", 4),))
    laptop.run()
    assert read_active_build(laptop.storage, "view") == after
    assert found(laptop) == (((4, 3), (10, 6)),) * 2


@pytest.mark.parametrize("step", sample(STEPS, 3))
def test_killed_at_any_step_readers_find_all_of_one_build_and_the_next_start_goes_on(
    laptop: Laptop, step: str
) -> None:
    right, rows = found(laptop), stored(laptop)
    spoil(laptop)
    wrong = found(laptop)
    request(laptop)
    with laptop.killed_at(step):
        laptop.run()
        pytest.fail(f"{step} was not reached")
    assert found(laptop) == (right if step == "after-promote" else wrong)
    laptop.run()
    assert found(laptop) == right
    assert stored(laptop) == rows


def test_a_definition_that_changes_while_it_is_rebuilt_is_built_once_more_and_alone_is_read(
    laptop: Laptop,
) -> None:
    request(laptop)
    with laptop.killed_at("after-build-commit"):
        laptop.run()
    laptop.apply({**VIEW, "spec": {**VIEW["spec"], "filter": "v > 1"}})
    laptop.run()
    assert len(stored(laptop)[0]) == 4
    laptop.apply(VIEW)
    laptop.run()
    accepted = laptop.project.registry.all(FeatureView)["view"]
    served = read_active_build(laptop.storage, "view")
    assert served is not None
    assert served.digest == wanted_build(laptop.storage, accepted, laptop.ledger("p").uid())
    assert served.digest.endswith("-1")
    assert len(stored(laptop)[0]) == 6


def test_each_new_request_is_one_rebuild_and_one_that_was_made_before_is_none(laptop: Laptop) -> None:
    storage = laptop.storage
    made = [request_rebuild(storage, "view", value, n).number for n, value in enumerate("aabbab")]
    assert made == [1, 1, 2, 2, 2, 2]
    last = last_rebuild(storage, "view")
    assert last is not None
    assert (last.number, last.request, last.requested_us) == (2, "b", 2)


def test_a_damaged_request_counts_all_the_same(laptop: Laptop) -> None:
    request(laptop)
    laptop.storage.replace(paths.view_rebuild("view", 1), b"{")
    laptop.run()
    served = read_active_build(laptop.storage, "view")
    assert served is not None
    assert served.digest.endswith("-1")
    request(laptop)
    laptop.run()
    served = read_active_build(laptop.storage, "view")
    assert served is not None
    assert served.digest.endswith("-2")


def test_a_view_that_is_deleted_with_its_data_forgets_its_rebuilds(laptop: Laptop) -> None:
    request(laptop)
    laptop.run()
    laptop.project.registry.remove(FeatureView, "view")
    laptop.project.registry.delete_data(FeatureView, "view")
    laptop.apply(VIEW)
    laptop.run()
    assert last_rebuild(laptop.storage, "view") is None
    assert found(laptop) == (((3, 3), (6, 6)),) * 2


def test_the_plan_says_rows_bytes_and_minutes_and_changes_nothing(laptop: Laptop) -> None:
    served = read_active_build(laptop.storage, "view")
    assert served is not None
    build = read_build(laptop.storage, "view", served.digest)
    result = laptop.ledger("p").last_result()
    assert build is not None
    assert result is not None
    assert build.rows_read == 3
    assert build.took_us > 0
    record_build(laptop.storage, build.model_copy(update={"took_us": 60_000_000}))
    said = rebuild_view(laptop.project, "view", None, laptop.clock(), record=False)
    # Nine rows at the pace of three a minute.
    assert "reads 9 rows, " in said
    assert "about 3 minutes" in said
    plan = json.loads(rebuild_view(laptop.project, "view", OutputFormat.JSON, 0, record=False))
    assert plan == {
        "kind": "FeatureView",
        "name": "view",
        "commit": result.dataset_version,
        "rowsToRead": 9,
        "bytesToRead": result.dataset_bytes,
        "seconds": 180.0,
        "underWay": False,
    }
    assert last_rebuild(laptop.storage, "view") is None


def test_one_that_is_under_way_is_told_and_not_begun_again(laptop: Laptop) -> None:
    assert "`featurestore run` does it" in request(laptop)
    with laptop.killed_at("after-build-commit"):
        laptop.run()
    assert "not begun again" in request(laptop)
    last = last_rebuild(laptop.storage, "view")
    assert last is not None
    assert last.number == 1
    laptop.run()
    assert "`featurestore run` does it" in request(laptop)


def test_get_and_describe_tell_how_far_it_has_come(laptop: Laptop) -> None:
    def shown(form: OutputFormat | None = None) -> str:
        return get(laptop.project, "views", "view", form, laptop.clock())

    assert "REBUILD" not in shown()
    request(laptop)
    assert shown().splitlines()[0].endswith("REBUILD")
    assert shown().endswith("holds nothing yet")
    with laptop.killed_at("before-promote"):
        laptop.run()
    commit = laptop.ledger("p").last_result().dataset_version  # type: ignore[union-attr]
    assert shown().endswith(f"holds commit {commit}, 6 rows")
    under_way = json.loads(shown(OutputFormat.JSON))["status"]["rebuild"]
    assert (under_way["commit"], under_way["rows"], "promoted" in under_way) == (commit, 6, False)
    laptop.run()
    done = json.loads(shown(OutputFormat.JSON))["status"]
    assert done["rebuild"]["promoted"] == done["rebuild"]["request"]
    assert done["rebuild"]["build"] == done["serving"]["build"]
    [condition] = [it for it in done["conditions"] if it["type"] == "Rebuilt"]
    assert condition["status"] == "True"
    page = describe(laptop.project, "view", "view", None, laptop.clock())
    assert re.search(r"^Rebuild: +1, asked for at .*: done$", page, re.MULTILINE)
