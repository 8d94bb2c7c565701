"""Policies are asked before a column is judged: what is not used cannot refuse a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

Make = Callable[..., Any]
WRITERS: dict[str, Callable[[Path, list[str]], Any]] = {
    "CSV": lambda path, names: path.write_text(f"id,{','.join(names)}\n1{',2' * len(names)}\n"),
    "JSON": lambda path, names: path.write_text('{"id": 1, ' + ", ".join(f'"{n}": 2' for n in names) + "}\n"),
    "Parquet": lambda path, names: pl.DataFrame({"id": [1], **{n: [2] for n in names}}).write_parquet(path),
    "Arrow": lambda path, names: pl.DataFrame({"id": [1], **{n: [2] for n in names}}).write_ipc(path),
}
every_format = pytest.mark.parametrize("form", WRITERS)
ID = [{"name": "id", "type": "int64"}]


def run(p: Any, form: str, *names: str) -> None:
    WRITERS[form](p.raw / "a", list(names))
    p.batch("a")


@every_format
@pytest.mark.parametrize(
    "spec",
    [
        {"columns": ID, "schemaPolicy": {"newColumn": "Ignore"}},
        {"schemaPolicy": {"newColumn": "Ignore"}},
        {"transforms": [{"select": {"columns": ["id"]}}]},
        {"transforms": [{"drop": {"columns": ["__deleted", "^v.*$"]}}]},
    ],
)
def test_an_odd_name_that_nobody_uses_refuses_no_file(
    pipeline: Make, form: str, spec: dict[str, Any]
) -> None:
    p = pipeline(source={"format": form}, **spec)
    run(p, form, "__deleted", "^v.*$")
    assert p.quarantine() == []
    assert p.dataset.schema.names == ["id", "__batch", "__file", "__row"]


@every_format
def test_an_odd_name_that_may_be_meant_says_how_to_take_or_leave_the_column(
    pipeline: Make, form: str
) -> None:
    p = pipeline(source={"format": form})
    run(p, form, "__deleted")
    [row] = p.quarantine()
    assert row["rule"] == "file:format"
    for said in ("'__deleted'", "source: '__deleted'", "`drop`", "newColumn: Ignore"):
        assert said in row["reason"]


@every_format
def test_a_column_can_have_another_name_than_in_its_files(pipeline: Make, form: str) -> None:
    p = pipeline(
        source={"format": form},
        columns=[*ID, {"name": "deleted", "type": "int64", "source": "__deleted"}],
        expectations=[{"name": "known", "that": "deleted = 2"}],
    )
    run(p, form, "__deleted")
    assert p.rows("id", "deleted") == [{"id": 1, "deleted": 2}]


def test_two_columns_of_one_name_refuse_a_file_only_if_they_are_used(pipeline: Make) -> None:
    p = pipeline(transforms=[{"drop": {"columns": ["v"]}}])
    p.batch(p.csv("a", "id,v,v\n1,2,3\n"))
    assert p.rows("id") == [{"id": 1}]
    p.apply({})
    p.batch(p.csv("b", "id,v,v\n1,2,3\n"))
    assert "two columns have the name 'v'" in p.quarantine("reason")[0]["reason"]


def test_names_that_differ_in_case_refuse_a_file_only_if_they_are_used(pipeline: Make) -> None:
    p = pipeline(columns=ID, schemaPolicy={"newColumn": "Ignore"})
    p.batch(p.csv("a", "id,ID,v,V\n1,2,3,4\n"))
    assert p.rows("id") == [{"id": 1}]
    p.batch(p.csv("b", "Id,ID\n1,2\n"))
    assert "differ in upper and lower case only" in p.quarantine("reason")[0]["reason"]


def test_the_values_of_a_column_that_is_dropped_are_not_judged(pipeline: Make) -> None:
    p = pipeline(transforms=[{"drop": {"columns": ["v"]}}])
    p.batch(p.csv("a", "id,v\n1,2\n"), p.csv("b", "id,v\n2,x\n"), p.csv("c", "id\n3\n"))
    assert [row["id"] for row in p.rows("id")] == [1, 2, 3]
    assert p.quarantine() == []


def test_a_column_that_a_step_names_before_it_is_dropped_is_used(pipeline: Make) -> None:
    p = pipeline(transforms=[{"derive": {"columns": {"w": "v + 1"}}}, {"drop": {"columns": ["v"]}}])
    p.batch(p.csv("a", "id,v\n1,2\n"), p.csv("b", "id,v\n2,x\n"))
    assert p.rows("id", "w") == [{"id": 1, "w": 3}]
    assert p.quarantine("rule") == [{"rule": "schema:typeChanged"}]


def test_one_row_with_an_odd_key_costs_no_other_row(pipeline: Make) -> None:
    p = pipeline(source={"format": "JSON"})
    (p.raw / "a").write_text('{"id": 1}\n{"id": 2, "__v": 0}\n{"id": 3, "__v": null}\n')
    p.batch("a")
    assert p.rows("id") == [{"id": 1}, {"id": 3}]
    [row] = p.quarantine("__row", "reason")
    assert row["__row"] == 1
    assert "'__v'" in row["reason"]


def test_an_empty_object_is_not_known_yet(pipeline: Make) -> None:
    p = pipeline(source={"format": "JSON"})
    (p.raw / "a").write_text('{"id": 1, "meta": {}}\n{"id": 2, "meta": {}}\n')
    (p.raw / "b").write_text('{"id": 3, "meta": {"k": "a"}}\n{"id": 4, "meta": {}}\n')
    p.batch("a")
    p.batch("b")
    assert [(row["id"], row["meta"]) for row in p.rows("id", "meta")] == [
        (1, None),
        (2, None),
        (3, {"k": "a"}),
        (4, {"k": None}),
    ]


FIRST = '{"id": 1, "u": {"n": "a"}, "l": [{"x": 1}]}\n'
LATER = '{"id": 2, "u": {"n": "b", "city": "x"}, "l": [{"x": 2, "y": {"z": true}}, {"X": 3}]}\n'


def nested(pipeline: Make, policy: str) -> Any:
    p = pipeline(source={"format": "JSON"}, schemaPolicy={"newColumn": policy})
    for name, text in (("a", FIRST), ("b", LATER), ("c", FIRST)):
        (p.raw / name).write_text(text)
        p.batch(name)
    return p


def test_new_fields_of_structs_and_lists_are_added(pipeline: Make) -> None:
    p = nested(pipeline, "Evolve")
    old = {"id": 1, "u": {"n": "a", "city": None}, "l": [{"x": 1, "y": None}]}
    new = {"id": 2, "u": {"n": "b", "city": "x"}, "l": [{"x": 2, "y": {"z": True}}, {"x": 3, "y": None}]}
    assert p.quarantine("rule", "reason") == []
    assert p.rows("id", "u", "l") == [old, new, old]
    assert p.quarantine() == []


def test_new_fields_are_left_out_where_new_columns_are_ignored(pipeline: Make) -> None:
    p = nested(pipeline, "Ignore")
    assert p.rows("u", "l")[1] == {"u": {"n": "b"}, "l": [{"x": 2}, {"x": 3}]}
    assert p.quarantine() == []


def test_new_fields_refuse_a_file_where_new_columns_do(pipeline: Make) -> None:
    p = nested(pipeline, "Quarantine")
    assert [row["id"] for row in p.rows("id")] == [1, 1]
    [row] = p.quarantine("rule", "reason")
    assert row == {"rule": "schema:newColumn", "reason": "unknown fields: u.city, l.y"}


def test_some_columns_can_be_declared_and_the_others_learned(pipeline: Make) -> None:
    p = pipeline(
        columns=[{"name": "zip", "type": "string"}],
        transforms=[{"derive": {"columns": {"w": "v + 1"}}}],
    )
    p.batch(p.csv("a", "zip,v\n10115,1\n"))
    p.batch(p.csv("b", "zip,v\n01067,2\n1067,x\n"))
    assert p.rows("zip", "v", "w") == [{"zip": "10115", "v": 1, "w": 2}, {"zip": "01067", "v": 2, "w": 3}]
    assert p.quarantine("reason") == [{"reason": "v: wanted int64, got 'x'"}]
