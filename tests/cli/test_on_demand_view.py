"""A view on demand and a service on the command line: nothing of them is stored, and every command copes with that."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from featurestore.registry.project import open_project
from featurestore.runner.observer import Observer

RESOURCES = """
kind: FeatureStore
metadata: {name: default}
spec: {offline: {uri: root}}
---
kind: DataPipeline
metadata: {name: events}
spec:
  source: {uri: "raw/*.csv", format: CSV}
---
kind: FeatureView
metadata: {name: users}
spec:
  entity: {name: user, joinKeys: [{name: k, type: string}]}
  source: {pipeline: events}
  timestampField: at
  features: [{name: x, type: int64}, {name: y, type: int64}]
---
kind: FeatureView
metadata: {name: shares}
spec:
  onDemand: {request: [{name: total, type: float64}], inputs: ["users:x"]}
  features: [{name: share, type: float64, expression: "x / total"}]
---
kind: FeatureService
metadata: {name: model}
spec:
  features: ["shares:*", "users:y", {view: users, as: friend, joinKeyMap: {k: friend}, features: [x]}]
"""


@pytest.fixture
def applied(featurestore: Any, tmp_path: Path) -> Any:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a.csv").write_text("k,at,x,y\na,2020-01-01,10,1\nb,2020-01-02,30,2\n")
    (tmp_path / "store.yaml").write_text(RESOURCES)
    said = featurestore("apply", "-f", ".")
    assert said.code == 0, said.out + said.err
    return featurestore


def test_every_command_copes_with_them(applied: Any, tmp_path: Path) -> None:
    # Before the first run: they say what they wait for.
    assert "Not ready: view 'users' (NotObserved)" in applied("describe", "view", "shares").out
    assert applied("run", "--once").code == 0
    project = open_project(None, {}, tmp_path)
    assert list(Observer(project).desired(0).resources["views"]) == ["users"]

    lines = applied("get", "views").out.splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [["shares", "True"], ["users", "True"]]
    assert "on demand" in lines[1]
    shown = json.loads(applied("get", "services", "model", "-o", "json").out)
    assert shown["status"]["features"] == 3
    assert shown["status"]["watermark"] == "2020-01-02T00:00:00Z"
    header, row = applied("get", "services").out.splitlines()
    assert header.split() == ["NAME", "READY", "FRESHNESS", "FEATURES"]
    assert (row.split()[:2], row.split()[-1]) == (["model", "True"], "3")
    assert applied("get", "all").code == 0

    page = applied("describe", "view", "shares").out
    assert "x / total" in page
    assert "All that it refers to is ready." in page
    assert "service model" in applied("doctor").out
    assert "view shares" in applied("doctor").out
    assert applied("doctor").code == 0
    for command in (("rebuild", "view", "shares"), ("history", "view", "shares")):
        said = applied(*command)
        assert said.code != 0
        assert "computed on demand: nothing of it is stored" in said.err
    assert applied("quarantine", "ls", "shares").code == 0
    assert "onDemand" in applied("explain", "view.spec").out

    entity = "k=a,total=20,friend=b"
    said = applied("features", "model", "--entity", entity, "-o", "json")
    assert said.code == 0, said.err
    [item] = json.loads(said.out)["items"]
    assert {name: it["value"] for name, it in item["features"].items()} == {"share": 0.5, "y": 1, "x": 30}


def test_a_view_is_not_deleted_while_they_read_it_and_they_go_without_a_trace(applied: Any) -> None:
    said = applied("delete", "view", "users", "--yes")
    assert said.code != 0
    assert "service 'model', view 'shares'" in said.err
    assert applied("delete", "service", "model", "--yes").out == "service 'model' deleted\n"
    assert applied("delete", "view", "shares", "--data", "--yes").out == "view 'shares' deleted\n"
    assert applied("delete", "view", "users", "--yes").code == 0


def test_plan_names_what_a_change_of_a_view_breaks(applied: Any, tmp_path: Path) -> None:
    (tmp_path / "store.yaml").write_text(
        RESOURCES.replace(
            "features: [{name: x, type: int64}, {name: y, type: int64}]",
            "features: [{name: z, type: int64, column: x}]",
        ).partition("---\nkind: FeatureView\nmetadata: {name: shares}")[0]
    )
    said = applied("plan", "-f", ".").out
    for line in ("Service 'model' reads 'y'", "Service 'model' reads 'x'", "View 'shares' reads 'x'"):
        assert line in said


def test_a_view_keeps_its_form(applied: Any, tmp_path: Path) -> None:
    on_demand = 'onDemand: {request: [{name: total, type: float64}], inputs: ["users:x"]}'
    rows = "entity: {name: user, joinKeys: [{name: k, type: string}]}\n  source: {pipeline: events}\n  timestampField: at"
    text = RESOURCES.replace(on_demand, rows).replace('expression: "x / total"', "column: x")
    (tmp_path / "store.yaml").write_text(text)
    said = applied("apply", "-f", ".")
    assert said.code != 0
    assert "a view of a dataset stays one, and one on demand too" in said.err
