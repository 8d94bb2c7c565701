"""``plan`` says what changes, ``apply`` says the same and records it."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from featurestore.registry.project import Project, open_project
from featurestore.resources import DataPipeline, FeatureView


@pytest.fixture
def folder(featurestore: Any, tmp_path: Path) -> Path:
    featurestore("init", ".")
    return tmp_path


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_plan_says_what_is_new_and_records_nothing(featurestore: Any, folder: Path) -> None:
    said = featurestore("plan", "-f", ".")
    assert said.code == 0
    assert "+ FeatureStore 'default'" in said.out
    assert "+ FeatureView 'aircraft-delays'" in said.out
    assert "3 new, 0 changed, 0 unchanged" in said.out
    assert not (folder / "store").exists()


def test_apply_says_the_same_as_plan_and_records_it(featurestore: Any, folder: Path) -> None:
    planned = featurestore("plan", "-f", ".").out.splitlines()
    applied = featurestore("apply", "-f", ".").out.splitlines()
    assert applied[:-1] == planned[:-1]
    registry = open_project(None, {}, folder).registry
    assert (list(registry.all(DataPipeline)), list(registry.all(FeatureView))) == (
        ["flights"],
        ["aircraft-delays"],
    )
    assert registry.store() is not None


def test_applying_the_same_twice_changes_nothing(featurestore: Any, folder: Path) -> None:
    featurestore("apply", "-f", ".")
    before = {path: path.stat().st_mtime_ns for path in (folder / "store").rglob("*")}
    said = featurestore("apply", "-f", ".")
    assert "0 new, 0 changed, 3 unchanged. Nothing to do." in said.out
    assert {path: path.stat().st_mtime_ns for path in (folder / "store").rglob("*")} == before


def test_what_changes_and_what_goes_away_is_named(featurestore: Any, folder: Path) -> None:
    featurestore("apply", "-f", ".")
    edit(folder / "aircraft-delays.yaml", "windows: [1d, 7d]", "windows: [1d]")
    said = featurestore("plan", "-f", ".")
    assert "~ FeatureView 'aircraft-delays'" in said.out
    assert "- arr_delay_mean_7d is removed" in said.out
    assert "= DataPipeline 'flights'" in said.out


def test_a_bad_resource_is_refused_whole_and_the_accepted_one_stays(
    featurestore: Any, folder: Path, project: Project
) -> None:
    accepted = project.registry.all(DataPipeline)["flights"]
    edit(folder / "flights.yaml", "filter: {where:", "filter: {were:")
    edit(folder / "aircraft-delays.yaml", "pipeline: flights", "pipeline: fligths")
    said = featurestore("apply", "-f", ".")
    assert said.code == 2
    assert "flights.yaml:" in said.err
    assert "where" in said.err
    assert project.registry.all(DataPipeline)["flights"] == accepted


def test_what_is_wrong_in_a_field_and_in_a_reference_is_told_at_once(featurestore: Any, folder: Path) -> None:
    edit(folder / "flights.yaml", "onOverwrite: Reject", "onOverwrite: Rejct")
    view = (folder / "aircraft-delays.yaml").read_text()
    (folder / "other.yaml").write_text(
        view.replace("aircraft-delays", "other").replace("pipeline: flights", "pipeline: fligths")
    )
    said = featurestore("apply", "-f", ".")
    assert said.code == 2
    assert "flights.yaml:12: spec.source.onOverwrite" in said.err
    assert "unknown DataPipeline 'fligths'" in said.err
    assert "Did you mean 'flights'?" in said.err
    assert said.err.count("error: ") == 2, "a view of the pipeline that is wrong is not wrong"


def test_a_broken_store_file_is_told_once_with_all_else(featurestore: Any, folder: Path) -> None:
    (folder / "store.yaml").write_text("kind: [")
    edit(folder / "flights.yaml", "onOverwrite: Reject", "onOverwrite: Rejct")
    said = featurestore("plan", "-f", ".")
    assert said.code == 2
    assert said.err.count("error: ") == 2


def test_the_plan_can_be_read_by_programs(featurestore: Any, folder: Path) -> None:
    plan = json.loads(featurestore("plan", "-f", ".", "-o", "json").out)
    assert (plan["create"], plan["update"]) == (3, 0)


def test_files_of_another_folder_belong_to_the_store_that_stands_beside_them(
    featurestore: Any, tmp_path: Path
) -> None:
    featurestore("init", "elsewhere")
    assert featurestore("apply", "-f", "elsewhere").code == 0
    assert open_project("elsewhere", {}, tmp_path).registry.names(FeatureView) == ["aircraft-delays"]


def test_without_any_store_it_says_how_to_get_one(featurestore: Any, tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(
        "kind: DataPipeline\nmetadata: {name: p}\nspec: {source: {uri: 'raw/*.csv', format: CSV}}\n"
    )
    said = featurestore("apply", "-f", "p.yaml")
    assert said.code == 3
    assert "featurestore init NAME" in said.err


def test_a_pipe_gets_no_color_codes(featurestore: Any, folder: Path) -> None:
    assert "\x1b" not in featurestore("plan", "-f", ".").out


@pytest.mark.parametrize("uri", ["s3://key:se/cret@raw/*.parquet", "https://user:se-cret@host/a.parquet"])
def test_credentials_in_a_uri_are_refused_and_neither_said_nor_recorded(
    featurestore: Any, folder: Path, uri: str
) -> None:
    edit(folder / "flights.yaml", "data/raw/flights/*.parquet", uri)
    for arguments in (["plan", "-f", "."], ["apply", "-f", "."], ["apply", "-f", ".", "-o", "json"]):
        said = featurestore(*arguments)
        assert said.code == 2
        assert "credentials stand in a Secret" in said.err
        assert "cret" not in (said.out + said.err).replace("a Secret (secretRef)", "")
    assert not [path for path in folder.rglob("*") if path.is_file() and "store" in path.parts[-2:-1]]
    text = [path.read_text() for path in folder.rglob("*.json")]
    assert "cret@" not in "".join(text)


def test_a_uri_that_is_too_long_is_shown_without_its_credentials(featurestore: Any, folder: Path) -> None:
    edit(folder / "flights.yaml", "data/raw/flights/*.parquet", f"s3://key:sesame@raw/{'a' * 1100}")
    said = featurestore("plan", "-f", ".")
    assert said.code == 2
    assert "sesame" not in said.out + said.err


def test_a_store_whose_uri_holds_credentials_is_not_opened(
    featurestore: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEATURESTORE_URI", "s3://key:se/same@bucket")
    said = featurestore("get", "all")
    assert said.code == 2
    assert "s3://***@bucket" in said.err
    assert "same" not in said.err


def test_a_source_outside_of_the_project_is_refused_unless_its_root_is_named(
    featurestore: Any, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other")
    edit(folder / "flights.yaml", "data/raw/flights/*.parquet", f"{other}/*.parquet")
    said = featurestore("apply", "-f", ".")
    assert said.code == 2
    assert "the source is outside of the project" in said.err
    assert f"FEATURESTORE_FILE_ROOTS={other}" in said.err
    monkeypatch.setenv("FEATURESTORE_FILE_ROOTS", str(other))
    assert featurestore("apply", "-f", ".").code == 0


def test_resources_are_read_from_standard_input(
    featurestore: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    featurestore("apply", "-f", ".")
    text = (folder / "aircraft-delays.yaml").read_text().replace("windows: [1d, 7d]", "windows: [1d]")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    said = featurestore("apply", "-f", "-")
    assert said.code == 0
    assert "~ FeatureView 'aircraft-delays'" in said.out
    monkeypatch.setattr(
        "sys.stdin", io.TextIOWrapper(io.BytesIO(text.replace("ttl", "tt").replace("# tt", "tt").encode()))
    )
    said = featurestore("plan", "-f", "-")
    assert said.code == 2
    assert "-:" in said.err


def test_a_store_on_standard_input_is_applied_to_the_project_of_the_folder(
    featurestore: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = "\n---\n".join(path.read_text() for path in folder.glob("*.yaml"))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(everything.encode())))
    said = featurestore("apply", "-f", "-")
    assert "3 new, 0 changed, 0 unchanged" in said.out


def test_pruning_deletes_what_is_not_in_the_files_and_keeps_its_data(featurestore: Any, folder: Path) -> None:
    featurestore("apply", "-f", ".")
    kept = folder / "store" / "features" / "aircraft-delays" / "rows"
    kept.parent.mkdir(parents=True)
    kept.touch()
    (folder / "aircraft-delays.yaml").unlink()
    assert "deleted" not in featurestore("apply", "-f", ".").out
    planned = featurestore("plan", "-f", ".", "--prune").out
    assert "- FeatureView 'aircraft-delays'" in planned
    assert "1 deleted. Nothing is recorded yet" in planned
    registry = open_project(None, {}, folder).registry
    assert registry.names(FeatureView) == ["aircraft-delays"]
    said = featurestore("apply", "-f", ".", "--prune", "-o", "json")
    assert json.loads(said.out)["delete"] == 1
    assert registry.names(FeatureView) == []
    assert registry.names(DataPipeline) == ["flights"]
    assert kept.exists()
    assert "Nothing to do" in featurestore("apply", "-f", ".", "--prune").out


def test_what_is_still_read_is_not_pruned(featurestore: Any, folder: Path) -> None:
    featurestore("apply", "-f", ".")
    (folder / "flights.yaml").unlink()
    said = featurestore("apply", "-f", ".", "--prune")
    assert said.code == 2
    assert "unknown DataPipeline 'flights'" in said.err
    assert open_project(None, {}, folder).registry.names(DataPipeline) == ["flights"]
    (folder / "aircraft-delays.yaml").unlink()
    assert "2 deleted" in featurestore("apply", "-f", ".", "--prune").out


def test_a_pipeline_applied_without_its_store_records_the_store_too(
    featurestore: Any, tmp_path: Path
) -> None:
    assert featurestore("init", ".").code == 0
    pipelines = [path for path in tmp_path.glob("*.yaml") if "kind: DataPipeline" in path.read_text()]
    assert featurestore("apply", "-f", str(pipelines[0])).code == 0
    assert open_project(tmp_path, {}, tmp_path).registry.store() is not None
