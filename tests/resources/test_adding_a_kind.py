"""docs/adding-a-kind.md is true on a laptop: with its model and its row alone, a kind does all that the page says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from made_up_kind import PAGE, made_up_kind

from featurestore.cli.change import change, lines
from featurestore.cli.delete import delete
from featurestore.cli.describe import describe
from featurestore.cli.get import get
from featurestore.cli.init import init
from featurestore.cli.output import OutputFormat
from featurestore.errors import NotFound, RequestError, SpecError
from featurestore.registry.changeset import Before, plan
from featurestore.registry.project import Project, open_project
from featurestore.resources import roles
from featurestore.resources.crd import definition, files
from featurestore.resources.document import load
from featurestore.resources.kinds import KINDS

LIST = "kind: FeatureList\nmetadata: {name: favorites}\nspec: {features: ['aircraft-delays:flights'], description: good ones}\n"


@pytest.fixture(autouse=True)
def kind(monkeypatch: pytest.MonkeyPatch) -> None:
    made = made_up_kind()
    monkeypatch.setitem(KINDS, made.name, made)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    init(tmp_path / "project")
    (tmp_path / "project" / "favorites.yaml").write_text(LIST)
    return tmp_path / "project"


def project_of(folder: Path) -> Project:
    return open_project(folder, {}, folder)


@pytest.fixture
def project(folder: Path) -> Project:
    change([folder], lambda: project_of(folder), None, prune=False, record=True)
    return project_of(folder)


def test_it_takes_at_most_five_edits() -> None:
    edits = PAGE.read_text().partition("## The edits")[2].partition("A kind that is computed")[0]
    assert len(re.findall(r"^\d\. ", edits, re.MULTILINE)) <= 5


def test_it_is_planned_after_what_it_names(folder: Path) -> None:
    found = plan(load([folder]).resources, Before())
    assert [it.resource.kind for it in found.changes] == [
        "FeatureStore",
        "DataPipeline",
        "FeatureView",
        "FeatureList",
    ]
    assert [str(line) for line in lines(found, {})][-1] == "+ FeatureList 'favorites'"


def test_what_is_wrong_with_it_is_said_with_place_and_nearest_word(folder: Path) -> None:
    (folder / "favorites.yaml").write_text(LIST.replace("aircraft-delays", "aircraft-delay"))
    with pytest.raises(SpecError) as said:
        change([folder], lambda: project_of(folder), None, prune=False, record=True)
    assert "unknown FeatureView 'aircraft-delay'" in str(said.value)
    assert "favorites.yaml:3: spec.features[0]. Did you mean 'aircraft-delays'?" in str(said.value)
    (folder / "favorites.yaml").write_text(LIST.replace("features:", "featuers:"))
    with pytest.raises(SpecError, match=r"unknown field 'featuers'.*Did you mean 'features'"):
        change([folder], lambda: project_of(folder), None, prune=False, record=True)


def test_it_is_recorded_shown_and_described(project: Project) -> None:
    header, row = get(project, "fl", None, None, 0).splitlines()
    assert (header.split(), row.split()) == (
        ["NAME", "READY", "ABOUT"],
        ["favorites", "True", "good", "ones"],
    )
    assert "featurelist/favorites" in get(project, "all", None, OutputFormat.NAME, 0)
    shown: dict[str, Any] = json.loads(get(project, "lists", "favorites", OutputFormat.JSON, 0))
    assert shown["spec"]["features"] == ["aircraft-delays:flights"]
    assert shown["status"]["conditions"][0]["reason"] == "UpToDate"
    page = describe(project, "list", "favorites", None, 0)
    assert re.search(r"Description: +good ones", page)
    assert "All that it refers to exists." in page


def test_a_change_of_it_is_seen(project: Project) -> None:
    (project.folder / "favorites.yaml").write_text(LIST.replace("good", "better"))
    change_ = plan(load([project.folder]).resources, Before.of(project.registry, {})).changes[-1]
    assert (change_.action, len(change_.differences)) == ("Update", 1)


def test_what_it_names_is_not_deleted_before_it(project: Project) -> None:
    with pytest.raises(RequestError, match="list 'favorites'"):
        delete(project, "view", "aircraft-delays", data=False)
    assert delete(project, "list", "favorites", data=False) == "list 'favorites' deleted"
    with pytest.raises(NotFound):
        describe(project, "list", "favorites", None, 0)
    delete(project, "view", "aircraft-delays", data=False)


def test_one_that_names_what_is_gone_says_so(project: Project) -> None:
    project.registry.remove(KINDS["FeatureView"].model, "aircraft-delays")
    condition = json.loads(get(project, "lists", "favorites", OutputFormat.JSON, 0))["status"]["conditions"][
        0
    ]
    assert (condition["status"], condition["reason"]) == ("False", "ResourceMissing")
    assert condition["message"] == "It refers to resources that do not exist: view 'aircraft-delays'."


def test_it_has_a_definition_and_its_place_in_roles() -> None:
    assert "featurelists.yaml" in files()
    names = definition(KINDS["FeatureList"])["spec"]["names"]
    assert (names["plural"], names["shortNames"]) == ("featurelists", ["fl"])
    assert "featurelists" in roles.written("resources: []  # kinds: every")
    assert "featurelists" not in roles.written("resources: []  # kinds: with data")
    assert "featurelists" in roles.written("resources: []  # kinds: that editors write")
