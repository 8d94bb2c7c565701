"""Whatever goes wrong is told in words, with an exit code, and never as a traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from featurestore.registry.project import Project

STORE = "kind: FeatureStore\nmetadata: {{name: default}}\nspec: {{offline: {{uri: '{uri}'}}}}\n"


def test_a_folder_that_cannot_be_made_is_named(featurestore: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said = featurestore("init", "file/demo")
    assert said.code == 75
    assert "file/demo" in said.err
    assert "Not a directory" in said.err


def test_a_storage_root_of_an_unknown_kind_is_a_wrong_resource(featurestore: Any, tmp_path: Path) -> None:
    (tmp_path / "store.yaml").write_text(STORE.format(uri="nfs3://server/share"))
    said = featurestore("get", "views")
    assert said.code == 2
    assert "nfs3://server/share" in said.err


def test_object_storage_without_credentials_fails_and_says_which_to_set(
    featurestore: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "store.yaml").write_text(STORE.format(uri="s3://bucket/prefix"))
    said = featurestore("get", "views")
    assert said.code == 75
    assert "Set AWS_ACCESS_KEY_ID" in said.err


@pytest.mark.new_process
def test_object_storage_without_its_package_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "store.yaml").write_text(STORE.format(uri="s3://bucket/prefix"))
    code = (
        "import sys; sys.modules['obstore'] = None; sys.argv = ['featurestore', 'get', 'views']\n"
        "from featurestore.cli.__main__ import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 5
    assert "pip install 'featurestore[s3]'" in done.stderr


def test_a_store_file_in_place_of_its_folder_is_told_so(featurestore: Any, project: Project) -> None:
    said = featurestore("-C", "store.yaml", "get", "views")
    assert said.code == 3
    assert f"Name its folder: {project.folder}" in said.err


def test_what_nobody_foresaw_is_one_sentence_and_debug_shows_where(
    featurestore: Any, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: object) -> str:
        raise ZeroDivisionError("by nothing")

    monkeypatch.setattr("featurestore.cli.get.get", broken)
    said = featurestore("get", "views")
    assert said.code == 1
    assert "ZeroDivisionError: by nothing" in said.err
    assert "--debug" in said.err
    assert "Traceback" not in said.err
    with pytest.raises(ZeroDivisionError):
        featurestore("--debug", "get", "views")
