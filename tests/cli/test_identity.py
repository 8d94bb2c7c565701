"""Odd places of a store, as a person meets them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fsspec
import pytest

STORE = "kind: FeatureStore\nmetadata: {{name: default}}\nspec: {{offline: {{uri: '{uri}'}}}}\n"


@pytest.mark.parametrize("name", ["a#b", "a?b", "a%23b"])
def test_apply_refuses_a_prefix_whose_tables_would_stand_outside_of_it_and_writes_nothing(
    featurestore: Any, tmp_path: Path, s3_server: str, name: str
) -> None:
    (tmp_path / "store.yaml").write_text(STORE.format(uri=f"s3://features/refused/{name}"))
    said = featurestore("apply", "-f", ".")
    assert said.code == 2
    assert "would not be found again" in said.err
    assert fsspec.filesystem("s3").find("features/refused") == []


def test_apply_refuses_a_project_folder_in_which_tables_would_not_be_found_and_says_what_to_do(
    featurestore: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "C#"
    folder.mkdir()
    (folder / "store.yaml").write_text(STORE.format(uri="store"))
    said = featurestore("apply", "-f", str(folder))
    assert said.code == 2
    assert "got  '#'" in said.err
    assert "spec.offline.uri" in said.err
    assert [path.name for path in folder.iterdir()] == ["store.yaml"]
