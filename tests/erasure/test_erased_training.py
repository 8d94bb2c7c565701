"""Erased keys go from training sets, too: from versions that are complete, that are being made, and that come."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from erasing import FEATURES, SECRET, Erasing, training_set

OF_FILE = {"uri": "labels.parquet", "timestampField": "ts", "columns": ["place"]}
RENAMED = {"names": [{"view": "things", "joinKeyMap": {"k": "who"}}]}


def rows(p: Erasing, name: str = "set") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = p.store(p.now).training_set(name).to_arrow().to_pylist()
    return found


def test_rows_of_the_key_go_others_stay_and_the_version_says_that_it_cannot_be_made_again(
    past: Erasing,
) -> None:
    past.apply(training_set())
    past.run()
    before = rows(past)
    assert SECRET in {row["k"] for row in before}
    record = past.erase()
    assert past.traces() == []
    assert rows(past) == [row for row in before if row["k"] != SECRET]
    data = past.store(past.now).training_set("set")
    assert data.manifest.erasures == (1,)
    assert data.manifest.rows == len(rows(past)) == sum(shard.rows for shard in data.manifest.parts[0].shards)
    [table] = [it for it in record["tables"] if it["path"].startswith("trainingsets/set/")]
    assert table["rows"] == len(before) - len(rows(past))
    past.run()
    assert data.digest == past.store(past.now).training_set("set").digest


def test_a_version_that_was_being_made_is_begun_anew_without_the_key(past: Erasing) -> None:
    past.apply(training_set())
    with past.killed_at("after-record-training"):
        past.run()
    assert any(path.startswith("trainingsets/") for path in past.traces())
    past.erase()
    assert past.traces() == []
    past.run()
    assert past.traces() == []
    assert rows(past)
    assert past.store(past.now).training_set("set").manifest.erasures == ()


@pytest.mark.parametrize(("features", "key"), [(FEATURES, "k"), (RENAMED, "who")])
def test_labels_of_a_file_are_read_without_the_key_from_then_on_however_they_call_it(
    past: Erasing, features: dict[str, Any], key: str
) -> None:
    labels = [{key: who, "ts": past.now, "place": "X"} for who in (SECRET, "b", "c")]
    pl.DataFrame(labels).write_parquet(past.folder / "labels.parquet")
    past.apply(training_set(features=features, labels=OF_FILE))
    past.run()
    assert len(rows(past)) == 3
    past.erase()
    assert [row[key] for row in rows(past)] == ["b", "c"]
    past.apply(training_set(features=features, labels=OF_FILE, shards={"rows": 100}))
    past.run()
    data = past.store(past.now).training_set("set")
    assert (data.number, [row[key] for row in rows(past)]) == (2, ["b", "c"])
    assert [path for path in past.traces() if path.startswith("trainingsets/")] == []
