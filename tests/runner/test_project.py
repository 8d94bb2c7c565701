"""Where a person works: which folder or storage root a command is about."""

from __future__ import annotations

from pathlib import Path

import pytest

from featurestore.errors import NotFound, SpecError
from featurestore.registry.project import open_project
from featurestore.registry.registry import Registry
from featurestore.resources import FeatureStore
from featurestore.storage.objects import Storage

STORE = "kind: FeatureStore\nmetadata: {name: default}\nspec: {offline: {uri: %s}}\n"


def write(folder: Path, uri: str = "store") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "store.yaml").write_text(STORE % uri)
    return folder


def test_the_current_folder_is_the_project_if_it_has_a_store(tmp_path: Path) -> None:
    project = open_project(None, {}, write(tmp_path))
    assert project.folder == tmp_path
    assert project.storage.root == str(tmp_path / "store")


def test_a_relative_root_begins_where_its_file_stands(tmp_path: Path) -> None:
    write(tmp_path / "demo", "../data/store")
    assert open_project("demo", {}, tmp_path).storage.root == str(tmp_path / "data" / "store")


def test_an_absolute_root_stays_what_it_is(tmp_path: Path) -> None:
    write(tmp_path, f"file://{tmp_path}/there")
    assert open_project(None, {}, tmp_path).storage.root == f"{tmp_path}/there"


def test_the_environment_names_another_store_and_an_argument_wins_over_it(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        write(tmp_path / name)
    environment = {"FEATURESTORE_URI": str(tmp_path / "b")}
    assert open_project(None, environment, tmp_path / "a").folder == tmp_path / "b"
    assert open_project(tmp_path / "c", environment, tmp_path / "a").folder == tmp_path / "c"


def test_a_storage_root_that_was_applied_to_is_enough(tmp_path: Path) -> None:
    root = tmp_path / "root"
    spec = {"metadata": {"name": "prod"}, "spec": {"offline": {"uri": "elsewhere"}}}
    Registry(Storage(str(root))).accept(FeatureStore.model_validate(spec))
    project = open_project(str(root), {}, tmp_path)
    assert project.store.metadata.name == "prod"
    assert project.storage.root == str(root)


def test_no_store_is_an_error_that_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="featurestore init NAME"):
        open_project(None, {}, tmp_path)


def test_a_wrong_store_is_an_error_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "store.yaml").write_text(
        "kind: FeatureStore\nmetadata: {name: default}\nspec: {ofline: {}}\n"
    )
    with pytest.raises(SpecError, match=r"store\.yaml:3"):
        open_project(None, {}, tmp_path)


def test_a_store_file_without_a_store_is_an_error(tmp_path: Path) -> None:
    source = "{uri: 'raw/*', format: CSV}"
    (tmp_path / "store.yaml").write_text(
        f"kind: DataPipeline\nmetadata: {{name: p}}\nspec: {{source: {source}}}\n"
    )
    with pytest.raises(SpecError, match="where features live"):
        open_project(None, {}, tmp_path)
