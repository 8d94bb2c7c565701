"""``featurestore init``: a folder that a new user can begin with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from featurestore.resources import DataPipeline, FeatureStore, FeatureView


def test_it_makes_a_store_a_pipeline_and_a_view_and_says_what_to_do_next(
    featurestore: Any, tmp_path: Path
) -> None:
    said = featurestore("init", "demo")
    assert said.code == 0
    assert {path.name for path in (tmp_path / "demo").iterdir()} == {
        "store.yaml",
        "flights.yaml",
        "aircraft-delays.yaml",
        ".gitignore",
        "featurestore.schema.json",
        "data",
    }
    assert (tmp_path / "demo" / "data" / "raw" / "flights").is_dir()
    assert "Next: cd demo && featurestore apply -f . && featurestore run" in said.out


def test_what_it_writes_is_right_and_explained(featurestore: Any, tmp_path: Path) -> None:
    featurestore("init", "demo")
    for name, model in (
        ("store", FeatureStore),
        ("flights", DataPipeline),
        ("aircraft-delays", FeatureView),
    ):
        text = (tmp_path / "demo" / f"{name}.yaml").read_text()
        model.model_validate(yaml.safe_load(text))
        assert text.count("#") >= 3


def test_it_never_writes_over_what_is_there(featurestore: Any, tmp_path: Path) -> None:
    (tmp_path / "store.yaml").write_text("mine")
    said = featurestore("init", ".")
    assert said.code == 2
    assert "store.yaml" in said.err
    assert [path.name for path in tmp_path.iterdir()] == ["store.yaml"]
    assert (tmp_path / "store.yaml").read_text() == "mine"


def test_it_can_be_made_somewhere_else(featurestore: Any, tmp_path: Path) -> None:
    assert featurestore("-C", str(tmp_path / "there"), "init", "demo").code == 0
    assert (tmp_path / "there" / "demo" / "store.yaml").is_file()
