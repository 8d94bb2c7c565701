"""A repository of several files with all that Feast has: what of it is here, with the same numbers, and what is not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from feast_environment import assert_joined_alike, feast_python, featurestore, rows
from feast_repositories import SHOP, Asked

from featurestore import connect
from featurestore.errors import CodeError, NotFound
from featurestore.feast.repository import read_repository


def test_a_repository_gives_the_same_numbers_and_a_report_of_what_is_left_out(
    many_files: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    question, feast = many_files
    repository, project = Path(question["repository"]), tmp_path / "project"
    report = featurestore("import", "feast", str(repository), "-o", str(project), "--python", feast_python())
    # Its bucket is nobody's, and is not asked for.
    for name, lost in (("views", "name: far}"), ("pipelines", "name: gone}")):
        path = project / f"{name}.yaml"
        path.write_text("---\n".join(it for it in path.read_text().split("---\n") if lost not in it))
    roots = [repository / "data"]
    featurestore("-C", str(project), "apply", "-f", str(project), "--no-try", roots=roots)
    featurestore("-C", str(project), "run", "--once", roots=roots)

    monkeypatch.syspath_prepend(project)
    store = connect(project)
    for joined, answer in zip(question["join"], feast["join"], strict=True):
        features = joined["features"]
        names = [it.partition(":")[2] for it in features]
        ours = store.get_historical_features(
            question["labels"], [it.replace("Product Prices", "product-prices") for it in features]
        )
        assert_joined_alike(answer, ours.to_dict(), names)
    online = store.get_online_features("product-prices:price", question["online"][0]["entities"])
    assert rows(online.to_dict(), ["price"]) == [
        {"price": row["price"]} for row in feast["online"][0]["values"]
    ]
    left_out, differs = report.split("Differs from Feast:")
    for name in (
        "BatchFeatureView batch: a transformation",
        "FeatureView sales: its source is a BigQuerySource",
        "FeatureView wrong:nowhere: its files have no such column",
        "FeatureView of_shelves: its join key height is DOUBLE",
        "OnDemandFeatureView with_others: its function with_others uses doubled",
        "FeatureService nothing: no feature of it is left",
    ):
        assert f"- {name}" in left_out
    for name in (
        "FeatureView customer_orders:amount: is float64",
        "FeatureView customer_orders:7d-mean: is named f_7d_mean",
        "FeatureView customer-orders: rows of its PushSource",
        "StreamFeatureView streamed: rows of its KafkaSource",
        "FeatureView exchange: has no entity",
        "FileSource gone: could not be read",
        "FeatureService recommender: is without sales",
        "OnDemandFeatureView weighted: is computed by feast_functions.py",
        "Entity customer: description, owner and tags",
    ):
        assert f"- {name}" in differs


def test_code_that_cannot_be_imported_is_told_by_its_last_line_and_place(tmp_path: Path) -> None:
    (tmp_path / "feature_store.yaml").write_text((SHOP / "feature_store.yaml").read_text())
    (tmp_path / "views.py").write_text('print("{}")\n\nimport nowhere_to_be_found\n')
    with pytest.raises(CodeError) as failed:
        read_repository(tmp_path, feast_python(), {})
    assert failed.value.where == f"{tmp_path / 'views.py'}:3"
    assert failed.value.got == "ModuleNotFoundError: No module named 'nowhere_to_be_found'"
    assert "Traceback" not in str(failed.value)


def test_an_interpreter_without_feast_and_a_folder_that_is_no_repository_are_told(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="not a Feast repository"):
        read_repository(tmp_path, sys.executable, {})
    (tmp_path / "feature_repo").mkdir()
    (tmp_path / "feature_repo" / "feature_store.yaml").write_text("")
    with pytest.raises(NotFound, match=r"Did you mean .*feature_repo\?"):
        read_repository(tmp_path, sys.executable, {})
    with pytest.raises(CodeError, match="--python") as failed:
        read_repository(tmp_path / "feature_repo", sys.executable, {})
    assert failed.value.got == "ModuleNotFoundError: No module named 'feast'"
    with pytest.raises(NotFound, match="no such Python"):
        read_repository(tmp_path / "feature_repo", str(tmp_path / "python"), {})
