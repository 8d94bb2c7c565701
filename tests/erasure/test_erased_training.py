"""Erased keys go from training sets, too: from versions that are complete, that are being made, and that come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest
from erasing import FEATURES, SECRET, Erasing, training_set

Make = Callable[..., Any]
OF_FILE = {"uri": "labels.parquet", "timestampField": "ts", "columns": ["place"]}
RENAMED = {"names": [{"view": "things", "joinKeyMap": {"k": "who"}}]}


def rows(p: Erasing, name: str = "set") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = p.store(p.now).training_set(name).to_arrow().to_pylist()
    return found


def test_rows_of_the_key_go_others_stay_and_the_version_says_that_it_cannot_be_made_again(
    store: Make,
) -> None:
    p = store().history()
    p.apply(training_set())
    p.run()
    before = rows(p)
    assert SECRET in {row["k"] for row in before}
    record = p.erase()
    assert p.traces() == []
    assert rows(p) == [row for row in before if row["k"] != SECRET]
    data = p.store(p.now).training_set("set")
    assert data.manifest.erasures == (1,)
    assert data.manifest.rows == len(rows(p)) == sum(shard.rows for shard in data.manifest.parts[0].shards)
    [table] = [it for it in record["tables"] if it["path"].startswith("trainingsets/set/")]
    assert table["rows"] == len(before) - len(rows(p))
    p.run()
    assert data.digest == p.store(p.now).training_set("set").digest


def test_a_version_that_was_being_made_is_begun_anew_without_the_key(store: Make) -> None:
    p = store().history()
    p.apply(training_set())
    with p.killed_at("after-record-training"):
        p.run()
    assert any(path.startswith("trainingsets/") for path in p.traces())
    p.erase()
    assert p.traces() == []
    p.run()
    assert p.traces() == []
    assert rows(p)
    assert p.store(p.now).training_set("set").manifest.erasures == ()


@pytest.mark.parametrize(("features", "key"), [(FEATURES, "k"), (RENAMED, "who")])
def test_labels_of_a_file_are_read_without_the_key_from_then_on_however_they_call_it(
    store: Make, features: dict[str, Any], key: str
) -> None:
    p = store().history()
    labels = [{key: who, "ts": p.now, "place": "X"} for who in (SECRET, "b", "c")]
    pl.DataFrame(labels).write_parquet(p.folder / "labels.parquet")
    p.apply(training_set(features=features, labels=OF_FILE))
    p.run()
    assert len(rows(p)) == 3
    p.erase()
    assert [row[key] for row in rows(p)] == ["b", "c"]
    p.apply(training_set(features=features, labels=OF_FILE, shards={"rows": 100}))
    p.run()
    data = p.store(p.now).training_set("set")
    assert (data.number, [row[key] for row in rows(p)]) == (2, ["b", "c"])
    assert [path for path in p.traces() if path.startswith("trainingsets/")] == []
