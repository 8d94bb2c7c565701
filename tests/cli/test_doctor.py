"""``featurestore doctor``: what has to work, whether it does, and what to do if not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from featurestore.reconcile.conditions import ResourceStatus, record_status, true
from featurestore.reconcile.reasons import Reason
from featurestore.registry.project import Project
from featurestore.resources import TrainingSet
from featurestore.storage import paths


def test_a_healthy_project_is_said_to_be_healthy(featurestore: Any, project: Project) -> None:
    said = featurestore("doctor")
    assert said.code == 0, said.out
    assert "✓ extra [transforms]: installed" in said.out
    assert "lets only the first of two writers win" in said.out
    assert "✓ online store: embedded DuckDB" in said.out
    assert "✗" not in said.out


def test_it_leaves_nothing_behind(featurestore: Any, project: Project) -> None:
    before = sorted((project.folder / "store").rglob("*"))
    featurestore("doctor")
    assert sorted((project.folder / "store").rglob("*")) == before


def test_a_source_without_files_says_where_it_looked(featurestore: Any, project: Project) -> None:
    (project.folder / "data" / "raw" / "flights").rmdir()
    said = featurestore("doctor")
    assert "source of pipeline flights: data/raw/flights/*.parquet names no file yet" in said.out
    assert str(project.folder / "data") in said.out


def test_storage_that_cannot_be_written_is_unhealthy(featurestore: Any, project: Project) -> None:
    store = project.folder / "store"
    store.rename(project.folder / "elsewhere")
    store.write_text("a file, where a folder has to be")
    said = featurestore("doctor")
    assert said.code == 1
    assert "✗ storage: " in said.out


def test_a_redis_that_does_not_answer_is_unhealthy(featurestore: Any, project: Project) -> None:
    path = project.folder / "store.yaml"
    text = path.read_text()
    assert "duckdb: {}" in text
    path.write_text(text.replace("duckdb: {}", "redis: {url: 'redis://127.0.0.1:1/0'}"))
    assert featurestore("apply", "-f", ".").code == 0
    said = featurestore("doctor")
    assert said.code == 1
    assert "✗ online store: " in said.out


def test_without_a_project_it_says_how_to_begin(featurestore: Any, tmp_path: Path) -> None:
    said = featurestore("doctor")
    assert said.code == 3
    assert "featurestore init NAME" in said.err


TRAINING_SET = """
kind: TrainingSet
metadata: {name: delays}
spec:
  features: {names: ["aircraft-delays:flights_7d"]}
  labels: {pipeline: flights, timestampField: scheduled_at, columns: [arr_delay]}
"""


def test_a_training_set_that_cannot_be_made_is_told(featurestore: Any, project: Project) -> None:
    (project.folder / "delays.yaml").write_text(TRAINING_SET)
    assert featurestore("apply", "-f", ".").code == 0
    said = featurestore("doctor")
    assert said.code == 0, said.out
    assert "– trainingset delays: " in said.out
    digest = project.registry.accepted_digest(TrainingSet, "delays")
    assert digest is not None
    failing = true("Degraded", Reason.FAILED, "There is no room for it.")
    status = ResourceStatus(observed_digest=digest, conditions=(failing,))
    record_status(project.storage, "trainingsets", "delays", status)
    said = featurestore("doctor")
    assert said.code == 1
    assert "✗ trainingset delays: Degraded: There is no room for it." in said.out


def test_a_manifest_that_cannot_be_read_is_found(featurestore: Any, project: Project) -> None:
    project.storage.put_if_absent(paths.manifest("flights", 1), b"{cut o")
    said = featurestore("doctor")
    assert said.code == 1
    assert "✗ ledger of pipeline flights: the manifest of a batch cannot be read" in said.out
