"""What was published is read both ways: a value that others changed is told, by its place, until it is right again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
import redis
from laptop import Laptop, view_of
from training import NOON, PIPELINE, rows

from featurestore.online import read_both_ways
from featurestore.online.consistency import Consistency, read_consistency, record_consistency
from featurestore.reconcile.conditions import Condition, read_status
from featurestore.registry.project import open_project
from featurestore.storage import paths

Change = Callable[[Laptop], None]
Begin = Callable[..., Laptop]


@pytest.fixture
def begin_embedded(tmp_path: Path) -> Begin:
    def begin(sample: int = 1000) -> Laptop:
        return _begin(Laptop(tmp_path, NOON + timedelta(days=10)), sample)

    return begin


@pytest.fixture
def begin_redis(tmp_path: Path, redis_url: str) -> Begin:
    def begin(sample: int = 1000) -> Laptop:
        laptop = Laptop(tmp_path, NOON + timedelta(days=10))
        online = f"{{redis: {{url: {redis_url}}}}}"
        store = f"kind: FeatureStore\nmetadata: {{name: default}}\nspec: {{offline: {{uri: root}}, online: {online}}}\n"
        (tmp_path / "store.yaml").write_text(store)
        laptop.project = open_project(tmp_path, {}, tmp_path)
        laptop.storage = laptop.project.storage
        return _begin(laptop, sample)

    return begin


def _begin(laptop: Laptop, sample: int) -> Laptop:
    laptop.apply(PIPELINE, view(sample))
    laptop.drop("0.parquet", rows(300))
    laptop.run()
    return laptop


def view(sample: int) -> dict[str, Any]:
    made = view_of("v")
    made["spec"]["online"] = {"sampleEntities": sample}
    return made


def found(laptop: Laptop) -> Consistency | None:
    return read_consistency(laptop.storage, "view", laptop.build("view"))


def told(laptop: Laptop) -> Condition | None:
    status = read_status(laptop.storage, "views", "view")
    assert status is not None
    return status.condition("Consistent")


def publish_again(laptop: Laptop, number: int) -> None:
    """A row of an entity that nobody else has: the others are published as they are."""
    [row] = rows(1)
    laptop.drop(f"{number}.parquet", ({**row, "k": "another"},))
    laptop.run()


def change_redis(laptop: Laptop, url: str, values: dict[bytes, bytes]) -> None:
    with redis.Redis.from_url(url) as client:
        client.mset(values)


def entities_of(url: str) -> dict[bytes, bytes]:
    """Keys and values of the entities of rows."""
    with redis.Redis.from_url(url) as client:
        names = [name for name in client.scan_iter() if name.endswith((b"e1", b"e2", b"e3"))]
        return {name: client.get(name) for name in names}


def test_what_was_published_is_consistent(begin_embedded: Begin) -> None:
    laptop = begin_embedded()
    condition = told(laptop)
    assert condition is not None
    assert (condition.status.value, condition.reason) == ("True", "UpToDate"), condition
    seen = found(laptop)
    assert seen is not None
    assert seen.entities > 5


def test_the_sample_bounds_how_many_are_read(begin_embedded: Begin) -> None:
    seen = found(begin_embedded(3))
    assert seen is not None
    assert 1 <= seen.entities <= 3


def test_nothing_is_read_if_none_are_wanted(begin_embedded: Begin) -> None:
    laptop = begin_embedded(0)
    assert found(laptop) is None
    assert told(laptop) is None


def test_what_was_found_before_is_not_looked_at_once_none_are_wanted(begin_embedded: Begin) -> None:
    laptop = begin_embedded()
    laptop.storage.replace(paths.consistency("view", laptop.build("view")), b"{")
    laptop.apply(view(0))
    laptop.run()
    status = read_status(laptop.storage, "views", "view")
    assert status is not None
    assert status.condition("Consistent") is None
    ready = status.condition("Ready")
    assert ready is not None
    assert ready.status.value == "True", ready


def test_an_older_value_in_redis_is_told_until_it_is_set_right(begin_redis: Begin, redis_url: str) -> None:
    laptop = begin_redis()
    old = entities_of(redis_url)
    assert old
    laptop.drop(
        "1.parquet",
        tuple({**row, "ts": row["ts"] + timedelta(days=1), "v": 987_654_321} for row in rows(300)),
    )
    laptop.run()
    right = entities_of(redis_url)
    key = next(name for name in sorted(old) if old[name] != right[name])
    change_redis(laptop, redis_url, {key: old[key]})
    publish_again(laptop, 2)
    condition = told(laptop)
    assert condition is not None
    assert (condition.status.value, condition.reason) == ("False", "Differs")
    assert "1 differs online" in condition.message
    assert "row " in condition.message
    assert ".parquet" in condition.message
    assert "v of the entity of row" in condition.message
    assert "987654321" not in condition.message
    assert key.decode(errors="replace")[-2:] not in condition.message.split()
    change_redis(laptop, redis_url, {key: right[key]})
    publish_again(laptop, 3)
    condition = told(laptop)
    assert condition is not None
    assert condition.status.value == "True", condition


def test_a_damaged_and_a_lost_value_in_redis_differ(begin_redis: Begin, redis_url: str) -> None:
    laptop = begin_redis()
    first, second, *_ = sorted(entities_of(redis_url))
    change_redis(laptop, redis_url, {first: b"not ours"})
    with redis.Redis.from_url(redis_url) as client:
        client.delete(second)
    publish_again(laptop, 1)
    seen = found(laptop)
    assert seen is not None
    assert seen.differing == 2, seen


def test_a_changed_number_in_the_embedded_generation_is_told_until_all_is_published_anew(
    begin_embedded: Begin,
) -> None:
    laptop = begin_embedded()
    [file] = (laptop.folder / "root" / "online").rglob("*.duckdb")
    with duckdb.connect(str(file)) as engine:
        engine.execute("UPDATE section_0 SET c5 = 987654321 WHERE rowid = (SELECT min(rowid) FROM section_0)")
    publish_again(laptop, 1)
    condition = told(laptop)
    assert condition is not None
    assert (condition.status.value, condition.reason) == ("False", "Differs"), condition
    assert "v of the entity of row" in condition.message
    assert "987654321" not in condition.message
    for pointer in (laptop.folder / "root" / "online").rglob("*.json"):
        pointer.unlink()
    publish_again(laptop, 2)
    condition = told(laptop)
    assert condition is not None
    assert condition.status.value == "True", condition


def test_a_value_that_differed_is_looked_at_again_however_few_are_sampled(
    begin_redis: Begin, redis_url: str
) -> None:
    laptop = begin_redis(1000)
    key = sorted(entities_of(redis_url))[0]
    change_redis(laptop, redis_url, {key: b"not ours"})
    publish_again(laptop, 1)
    laptop.apply(view(1))
    for number in (2, 3):
        publish_again(laptop, number)
        seen = found(laptop)
        assert seen is not None
        assert seen.differing == 1, (number, seen)


def test_a_table_of_many_files_is_not_looked_at_again_at_once_unless_something_differed(
    begin_embedded: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_both_ways, "_MANY_FILES", 1)
    monkeypatch.setattr(read_both_ways, "_PAUSE_US", 24 * 3600 * 1_000_000)
    laptop = begin_embedded()
    first = found(laptop)
    assert first is not None
    publish_again(laptop, 1)
    assert found(laptop) == first
    wrong = first.model_copy(update={"differing": 1})
    record_consistency(laptop.storage, "view", laptop.build("view"), wrong)
    publish_again(laptop, 2)
    later = found(laptop)
    assert later is not None
    assert (later.version > first.version, later.differing) == (True, 0)


def test_a_look_that_fails_fails_no_publication(
    begin_embedded: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ValueError("a value that nobody may see")

    monkeypatch.setattr(read_both_ways, "point_in_time", broken)
    laptop = begin_embedded()
    status = read_status(laptop.storage, "views", "view")
    assert status is not None
    ready, condition = status.condition("Ready"), told(laptop)
    assert ready is not None
    assert ready.status.value == "True"
    assert condition is not None
    assert (condition.status.value, condition.reason) == ("Unknown", "NotCompared")
    assert "nobody" not in condition.message
