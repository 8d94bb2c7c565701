"""Columns whose values stand in the path of a file."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

Make = Callable[..., Any]
DAY = [{"name": "day", "type": "date"}]


def place(p: Any, folder: str, name: str, text: str) -> Any:
    path = p.raw / folder
    path.mkdir(parents=True, exist_ok=True)
    (path / name).write_text(text)
    return p.entry(f"{folder}/{name}")


def test_a_value_of_the_path_is_a_column_of_its_type(pipeline: Make) -> None:
    p = pipeline(source={"partitions": [*DAY, {"name": "shop", "type": "string"}]})
    first = place(p, "day=2024-01-01/shop=a%2Fb%20c", "a.csv", "id\n1\n")
    second = place(p, "day=2024-01-02/shop=007", "a.csv", "id\n2\n")
    p.batch(first, second)
    assert p.rows("id", "day", "shop") == [
        {"id": 1, "day": date(2024, 1, 1), "shop": "a/b c"},
        {"id": 2, "day": date(2024, 1, 2), "shop": "007"},
    ]


def test_hives_default_partition_is_null(pipeline: Make) -> None:
    p = pipeline(source={"partitions": DAY})
    entries = [
        place(p, "day=__HIVE_DEFAULT_PARTITION__", "a.csv", "id\n1\n"),
        place(p, "day=2024-01-02", "a.csv", "id\n2\n"),
    ]
    p.batch(*entries)
    assert p.rows("id", "day") == [{"id": 1, "day": None}, {"id": 2, "day": date(2024, 1, 2)}]


@pytest.mark.parametrize(
    ("folder", "said"),
    [
        ("2024", "wanted a folder day=… in the path (spec.source.partitions), got none"),
        ("dag=2024-01-01", "got dag"),
        ("day=soon", "wanted date in the path's day=…, got 'soon'"),
        ("day=%FF", "not UTF-8 in the path"),
        ("day=2024-01-02/day=2024-01-03", "the path has day=… twice: 2024-01-02, 2024-01-03"),
    ],
)
def test_a_path_without_the_value_sends_its_file_to_quarantine(
    pipeline: Make, folder: str, said: str
) -> None:
    p = pipeline(source={"partitions": DAY})
    p.batch(place(p, folder, "a.csv", "id\n1\n"), place(p, "day=2024-01-02", "b.csv", "id\n2\n"))
    [row] = p.quarantine("rule", "reason")
    assert row["rule"] == "file:partition"
    assert said in row["reason"]
    assert p.rows("id") == [{"id": 2}]


def test_a_column_of_the_file_is_never_hidden_by_one_of_the_path(pipeline: Make) -> None:
    p = pipeline(source={"partitions": DAY})
    p.batch(place(p, "day=2024-01-01", "a.csv", "id,day\n1,2024-05-05\n"))
    [row] = p.quarantine("rule", "reason")
    assert (row["rule"], row["reason"]) == (
        "file:partition",
        "column 'day' is in the file and in spec.source.partitions",
    )


def test_steps_and_expectations_see_the_value_of_the_path(pipeline: Make) -> None:
    p = pipeline(
        source={"partitions": [{"name": "n", "type": "int64"}]},
        transforms=[{"derive": {"columns": {"m": "n + 1"}}}],
        expectations=[{"name": "small", "that": "n < 5"}],
    )
    p.batch(place(p, "n=1", "a.csv", "id\n1\n"), place(p, "n=7", "a.csv", "id\n2\n"))
    assert p.rows("id", "n", "m") == [{"id": 1, "n": 1, "m": 2}]
    assert [row["rule"] for row in p.quarantine()] == ["small"]
