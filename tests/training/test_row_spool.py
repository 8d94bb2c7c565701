"""Rows that are put on disk by part come back part by part, in the order in which they were put there."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from random import Random

import numpy as np
import pyarrow as pa
import pytest
from examples import examples
from small_disk import disk

from featurestore.errors import StorageError
from featurestore_transforms.training.row_spool import RowSpool

SCHEMA = pa.schema(
    [
        ("text", pa.string()),
        ("flag", pa.bool_()),
        ("list", pa.list_(pa.float64())),
        ("time", pa.timestamp("us", "UTC")),
        ("number", pa.float64()),
    ]
)
TIMES = [None, datetime(1900, 1, 1, tzinfo=UTC), datetime(2024, 5, 1, 12, tzinfo=UTC)]


def rows_of(random: Random, count: int) -> list[dict[str, object]]:
    return [
        {
            "text": random.choice([None, "", "a", "äöü" * random.randrange(9)]),
            "flag": random.choice([None, True, False]),
            "list": random.choice([None, [], [0.5, None], [random.random()] * 3]),
            "time": random.choice(TIMES),
            "number": random.choice([None, -0.0, random.random()]),
        }
        for _ in range(count)
    ]


@pytest.mark.parametrize("waiting_bytes", [1, 500, 1 << 20])
def test_a_part_has_its_rows_in_the_order_they_were_added_however_few_wait_in_memory(
    tmp_path: Path, waiting_bytes: int
) -> None:
    random = Random(waiting_bytes)
    for number in range(examples(10)):
        added = [
            [(random.randrange(4), row) for row in rows_of(random, random.randrange(20))] for _ in range(5)
        ]
        spool = RowSpool(tmp_path / str(number), SCHEMA, waiting_bytes)
        for rows in added:
            table = pa.Table.from_pylist([row for _, row in rows], SCHEMA)
            spool.add(np.array([part for part, _ in rows], np.int64), table)
        spool.flush()
        for part in range(5):
            wanted = [row for rows in added for where, row in rows if where == part]
            assert spool.rows(part).to_pylist() == wanted
            assert sum(len(batch) for batch in spool.batches(part)) == len(wanted)


def test_what_is_deleted_leaves_its_place_on_the_disk(tmp_path: Path) -> None:
    spool = RowSpool(tmp_path / "rows", SCHEMA, 1)
    spool.add(np.zeros(1, np.int64), pa.Table.from_pylist([{"text": "a"}], SCHEMA))
    assert [it.name for it in tmp_path.iterdir()] == ["rows"]
    spool.delete()
    assert not list(tmp_path.iterdir())


def test_a_disk_that_is_full_is_told_with_what_helps(tmp_path: Path) -> None:
    with disk(tmp_path / "disk", "64k") as small:
        spool = RowSpool(small / "rows", SCHEMA, 1)
        rows = pa.Table.from_pylist([{"text": "a" * 65536}], SCHEMA)
        with pytest.raises(StorageError, match=r"No space left on device.*TMPDIR") as refused:
            spool.add(np.zeros(1, np.int64), rows)
    assert refused.value.where == str(small)
