"""The counts of docs/extending.md: how many files a usual change touches."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
from module_tree import module_tree

ROOT = Path(__file__).parents[2]
AGGREGATES = "featurestore/aggregates/aggregates.py"
PARAMETER = {("featurestore/resources/feature_view.py", "APPROX_QUANTILE")}
"""Its parameter is a field of the spec."""


class Change(NamedTuple):
    new: str
    touched: str
    in_all: int
    goal: int


@cache
def modules() -> dict[str, ast.Module]:
    return {
        path.relative_to(ROOT).as_posix(): module_tree(path)
        for folder in ("featurestore", "transforms/featurestore_transforms", "operator/featurestore_operator")
        for path in (ROOT / folder).rglob("*.py")
    }


def changes() -> dict[str, Change]:
    page = (ROOT / "docs" / "extending.md").read_text()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.split("\n") if line[:2] == "| "]
    return {
        re.sub(r"\[(.*)\].*", r"\1", what): Change(new, touched, int(in_all), int(goal))
        for what, new, touched, in_all, goal in rows
        if in_all.isdigit()
    }


def names(cell: str) -> list[str]:
    """What a cell lists, but for what is generated."""
    return [name for name in cell.split(", ") if name != "–" and "make crds" not in name]


@pytest.mark.parametrize(
    "what",
    [
        "an online store",
        "a source",
        "an aggregate",
        "a kind that is a mere list",
        "a kind with Jobs",
        "a route of the feature server",
        "a way to compute features on demand",
    ],
)
def test_the_files_of_a_change_are_as_many_as_the_page_says_and_no_more_than_its_goal(what: str) -> None:
    change = changes()[what]
    assert len(names(change.new)) + len(names(change.touched)) == change.in_all <= change.goal


def test_each_touched_file_is_one_of_the_product() -> None:
    for change in changes().values():
        for name in re.findall(r"`(\w+\.py)`", change.touched):
            assert [place for place in modules() if place.endswith(f"/{name}")], name


def test_no_module_but_the_one_of_the_aggregates_names_one_of_them() -> None:
    named = {
        (place, node.attr)
        for place, tree in modules().items()
        if place != AGGREGATES
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "AggregateFunction"
    }
    assert named == PARAMETER


@pytest.mark.parametrize("room", ["redis", "duckdb"])
def test_no_module_imports_an_online_store_but_those_of_its_room(room: str) -> None:
    package = f"featurestore.online.{room}"
    importers = {
        place
        for place, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(package)
    }
    assert {place for place in importers if not place.startswith(f"featurestore/online/{room}/")} == set()
    assert importers


@pytest.mark.parametrize(
    ("name", "places"),
    [
        # The Job of one build leaves others to their own; who has a build made that crashes records how it ended.
        (
            "BuildView",
            {
                "reconcile/steps.py",
                "reconcile/view.py",
                "entrypoint/engine_applier.py",
                "runner/worker_applier.py",
                "controllers/job_applier.py",
                "jobs/job_manifest.py",
            },
        ),
        # The Job of a view goes on with what is to be done for it.
        (
            "BuildRequest",
            {
                "featurestore/protocol.py",
                "reconcile/steps.py",
                "entrypoint/job.py",
                "erasure/erase.py",
                "views/build.py",
            },
        ),
        (
            "PromoteRebuildRequest",
            {"protocol.py", "reconcile/steps.py", "batch/promotion.py"},
        ),
    ],
)
def test_a_step_and_its_request_are_named_where_they_are_planned_and_run_and_nowhere_else(
    name: str, places: set[str]
) -> None:
    named = {
        place
        for place, tree in modules().items()
        for node in ast.walk(tree)
        if (isinstance(node, ast.Name) and node.id == name)
        or (isinstance(node, ast.ClassDef) and node.name == name)
    }
    assert len(named) == len(places)
    assert all(any(place.endswith(it) for it in places) for place in named), named
