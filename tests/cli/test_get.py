"""``get``, ``describe`` and ``history`` on what a runner recorded."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml

from featurestore.arrivals.arrival import Arrival
from featurestore.arrivals.ledger import Ledger
from featurestore.arrivals.manifest import Entry, Manifest
from featurestore.arrivals.result import BatchResult
from featurestore.failure import Failure
from featurestore.reconcile.conditions import ResourceStatus, false, record_status, true
from featurestore.reconcile.reasons import Reason
from featurestore.registry.project import Project
from featurestore.resources import DataPipeline, FeatureView
from featurestore.resources.outputs import build_digest
from featurestore.storage import paths
from featurestore.storage.delta import Table
from featurestore.views.builds import (
    ActiveBuild,
    BuildResult,
    promote,
    read_active_build,
    read_build,
    record_build,
)

HOUR_US = 3_600_000_000
COLUMNS = {
    "tailnum": "string",
    "arr_delay": "float64",
    "flight": "int64",
    "speed_mph": "float64",
    "arrived_at": "timestamp",
}


@pytest.fixture
def filled(project: Project) -> Project:
    """Two batches committed, a third one pending, and the view built up to the second."""
    storage, now_us = project.storage, time.time_ns() // 1000
    pipeline, view = (
        project.registry.all(DataPipeline)["flights"],
        project.registry.all(FeatureView)["aircraft-delays"],
    )
    ledger = Ledger(storage, "flights")
    for number in (1, 2, 3):
        arrival = Arrival(f"/raw/2013-01-0{number}.parquet", "v1", 1000, 1_357_000_000_000_000)
        entries = (Entry(arrival),)
        assert ledger.try_append(Manifest("flights", ledger.uid(), number, pipeline.digest, now_us, entries))
    for number in (1, 2):
        result = BatchResult(
            pipeline="flights",
            number=number,
            dataset_version=number,
            files=1,
            files_quarantined=0,
            rows_read=842,
            rows_committed=830 + number,
            rows_quarantined=10,
            rows_dropped=2 - number,
            broken={"plausible-distance": 10},
            dataset_rows=831 * number,
            dataset_bytes=2048 * number,
            dataset_columns=COLUMNS,
            finished_us=now_us - HOUR_US,
        )
        storage.replace(paths.result("flights", number), result.model_dump_json().encode())
    digest = build_digest(view.resource.spec, ledger.uid())
    build = BuildResult(
        view="aircraft-delays",
        digest=digest,
        source_version=2,
        version=4,
        rows=1663,
        rows_quarantined=7,
        watermark_us=now_us - 5 * HOUR_US,
        finished_us=now_us,
    )
    record_build(storage, build)
    promote(storage, "aircraft-delays", ActiveBuild(digest, view.digest))
    failure = Failure(
        type="StorageError", problem="storage cannot be read", where="s3://b", hint="wait", retryable=True
    )
    record_status(
        storage,
        "pipelines",
        "flights",
        ResourceStatus(
            observed_digest=pipeline.digest,
            conditions=(
                false("Ready", Reason.RETRYING, "storage cannot be read. Failed 2 ×."),
                false("SchemaAccepted", Reason.DRIFT, "Batch 2 refused 1 file (schema:missingColumn)."),
                true("Degraded", Reason.RETRYING, "storage cannot be read. Failed 2 ×."),
            ),
            failure=failure,
            next_attempt_us=now_us,
        ),
    )
    record_status(
        storage,
        "views",
        "aircraft-delays",
        ResourceStatus(
            observed_digest=view.digest,
            conditions=(true("Ready", Reason.UP_TO_DATE, "Offline and online hold commit 4."),),
            online_version=4,
        ),
    )
    return project


def table(text: str) -> list[dict[str, str]]:
    """Rows of a printed table. Its columns are three spaces apart."""
    header, *rows = [
        [cell.strip() for cell in line.split("   ") if cell.strip()] for line in text.splitlines()
    ]
    return [dict(zip(header, row, strict=True)) for row in rows]


def test_views_answer_how_fresh_how_many_and_what_is_wrong(featurestore: Any, filled: Project) -> None:
    (row,) = table(featurestore("get", "views").out)
    assert row == {
        "NAME": "aircraft-delays",
        "READY": "True",
        "FRESHNESS": "5h",
        "ROWS": "1,663",
        "COMMIT": "2",
        "ONLINE": "2",
        "ROWS REFUSED": "7",
        "ERRORS": "none",
    }


def test_a_watermark_beyond_the_year_9999_is_shown_and_said_to_be_ahead(
    featurestore: Any, filled: Project
) -> None:
    serving = read_active_build(filled.storage, "aircraft-delays")
    assert serving is not None
    build = read_build(filled.storage, "aircraft-delays", serving.digest)
    assert build is not None
    record_build(filled.storage, build.model_copy(update={"watermark_us": 1_704_067_200_000_000_000}))
    assert "55969-09-28T00:00:00Z" in featurestore("describe", "view", "aircraft-delays").out
    assert "55969-09-28T00:00:00Z" in featurestore("get", "views", "-o", "json").out
    [row] = table(featurestore("get", "views").out)
    assert row["FRESHNESS"].startswith("in 539")


def test_a_view_whose_online_store_lags_says_so(featurestore: Any, filled: Project) -> None:
    accepted = filled.registry.all(FeatureView)["aircraft-delays"]
    status = ResourceStatus(
        observed_digest=accepted.digest, conditions=(false("Ready", Reason.PUBLISHING, ""),), online_version=3
    )
    record_status(filled.storage, "views", "aircraft-delays", status)
    (row,) = table(featurestore("get", "views").out)
    assert (row["READY"], row["ONLINE"]) == ("False", "behind")


def test_pipelines_answer_how_many_batches_and_what_the_last_one_did(
    featurestore: Any, filled: Project
) -> None:
    (row,) = table(featurestore("get", "pipelines").out)
    assert (row["READY"], row["BATCHES"], row["PENDING"], row["COMMIT"]) == ("False", "2", "1", "2")
    assert (row["LAST ROWS"], row["ROWS REFUSED"], row["LAST RUN"]) == ("832", "0", "60m")
    assert row["ERRORS"] == "Drift, Retrying"


@pytest.mark.parametrize("word", ["view", "views", "fv", "featureview", "FeatureViews"])
def test_kinds_may_be_called_as_in_kubectl(featurestore: Any, filled: Project, word: str) -> None:
    assert featurestore("get", word, "-o", "name").out == "featureview/aircraft-delays\n"


def test_all_lists_pipelines_and_views(featurestore: Any, filled: Project) -> None:
    assert featurestore("get", "all", "-o", "name").out.split() == [
        "datapipeline/flights",
        "featureview/aircraft-delays",
    ]


def test_wide_says_why(featurestore: Any, filled: Project) -> None:
    (row,) = table(featurestore("get", "pipelines", "-o", "wide").out)
    assert (row["REASON"], row["MESSAGE"]) == ("Retrying", "storage cannot be read. Failed 2 ×.")


def test_one_resource_as_json_is_an_object_as_kubernetes_knows_it(featurestore: Any, filled: Project) -> None:
    shown = json.loads(featurestore("get", "pipeline", "flights", "-o", "json").out)
    assert shown["kind"] == "DataPipeline"
    assert shown["status"]["conditions"][0]["reason"] == "Retrying"
    assert shown["status"]["lastError"]["hint"] == "wait"
    assert shown["status"]["lastBatch"]["rowsCommitted"] == 832


def test_several_resources_as_yaml_are_a_list(featurestore: Any, filled: Project) -> None:
    shown = yaml.safe_load(featurestore("get", "all", "-o", "yaml").out)
    assert shown["kind"] == "List"
    assert [item["metadata"]["name"] for item in shown["items"]] == ["flights", "aircraft-delays"]


def test_the_store_says_where_it_is(featurestore: Any, filled: Project, tmp_path: Path) -> None:
    (row,) = table(featurestore("get", "stores").out)
    assert row == {"NAME": "default", "OFFLINE": str(tmp_path / "store"), "ONLINE": "duckdb"}


def test_where_nothing_is_it_says_so_as_kubectl_does(featurestore: Any, tmp_path: Path) -> None:
    featurestore("init", ".")
    for kind in ("views", "pipelines", "all"):
        assert featurestore("get", kind).out == "No resources found.\n"


def test_an_unknown_name_is_not_there_and_near_names_are_said(featurestore: Any, filled: Project) -> None:
    said = featurestore("get", "view", "aircraft-delay")
    assert said.code == 3
    assert "Did you mean 'aircraft-delays'?" in said.err


def test_an_unknown_kind_is_an_error(featurestore: Any, filled: Project) -> None:
    said = featurestore("get", "viws")
    assert said.code == 2
    assert "Did you mean 'views'?" in said.err


def test_what_was_applied_since_the_runner_looked_is_unknown(featurestore: Any, filled: Project) -> None:
    path = filled.folder / "aircraft-delays.yaml"
    path.write_text(path.read_text().replace("# ttl: 30d", "ttl: 30d"))
    featurestore("apply", "-f", ".")
    (row,) = table(featurestore("get", "views").out)
    assert row["READY"] == "Unknown"


def test_a_page_shows_conditions_batches_and_the_last_error(featurestore: Any, filled: Project) -> None:
    page = featurestore("describe", "pipeline", "flights").out
    for wanted in (
        "Retrying",
        "plausible-distance 10",
        "2 committed, 1 pending",
        "in s3://b. wait",
        "Next attempt: ",
    ):
        assert wanted in page


def test_a_page_shows_what_the_last_result_says_of_the_dataset(featurestore: Any, filled: Project) -> None:
    lines = [line.split() for line in featurestore("describe", "pipeline", "flights").out.splitlines()]
    assert ["Rows:", "1,662,", "4.0", "KiB"] in lines
    schema = lines.index(["Schema:"])
    assert lines[schema + 2 :] == [list(column) for column in COLUMNS.items()]


def test_a_page_of_a_view_shows_its_features_and_their_origin(featurestore: Any, filled: Project) -> None:
    page = featurestore("describe", "view", "aircraft-delays").out
    assert "aircraft-delays:arr_delay_mean_7d   float64   Mean(arr_delay)" in page
    assert "aircraft (tailnum: string)" in page


def test_history_lists_batches_newest_first(featurestore: Any, filled: Project) -> None:
    rows = table(featurestore("history", "pipeline", "flights").out)
    assert [(row["BATCH"], row["ROWS"]) for row in rows] == [("3", "-"), ("2", "832"), ("1", "831")]


def test_history_leads_from_a_batch_to_its_files(featurestore: Any, filled: Project) -> None:
    said = featurestore("history", "pipeline", "flights", "--batch", "2").out
    assert "/raw/2013-01-02.parquet" in said
    assert "FILE is __file" in said


def test_history_of_a_view_says_what_each_commit_added(featurestore: Any, filled: Project) -> None:
    view = filled.registry.all(FeatureView)["aircraft-delays"]
    serving = read_active_build(filled.storage, "aircraft-delays")
    assert serving is not None
    path = paths.features("aircraft-delays", serving.digest)
    built = Table.create(filled.storage, path, pa.schema({"tailnum": pa.string()}))
    metadata = {
        "digest": serving.digest,
        "spec_digest": view.digest,
        "source_version": "2",
        "code_version": "0.1.0",
        "finished_us": "1357000000000000",
        "rows_added": "1663",
        "rows_removed": "1",
        "rows_quarantined": "7",
        "watermark_us": "None",
    }
    built.commit(app_id=serving.digest, number=2, metadata=metadata)
    (row,) = table(featurestore("history", "view", "aircraft-delays").out)
    assert (row["COMMIT"], row["ADDED"], row["REMOVED"], row["QUARANTINED"]) == ("2", "1,663", "1", "7")
    (item,) = json.loads(featurestore("history", "view", "aircraft-delays", "-o", "json").out)["items"]
    assert (item["commit"], item["rowsAdded"], item["watermark"]) == (2, 1663, None)


def test_history_of_an_absent_batch_is_not_there(featurestore: Any, filled: Project) -> None:
    assert featurestore("history", "pipeline", "flights", "--batch", "9").code == 3


def test_a_pipeline_that_views_read_is_not_deleted_and_they_are_named(
    featurestore: Any, filled: Project
) -> None:
    said = featurestore("delete", "pipeline", "flights")
    assert said.code == 2
    assert "view 'aircraft-delays'" in said.err
    assert filled.registry.names(DataPipeline) == ["flights"]


def test_delete_keeps_data_unless_told_otherwise(featurestore: Any, filled: Project) -> None:
    assert featurestore("delete", "view", "aircraft-delays").code == 0
    assert featurestore("delete", "pipeline", "flights").code == 0
    assert featurestore("get", "all").out == "No resources found.\n"
    assert Ledger(filled.storage, "flights").last_batch() == 3


def test_what_was_deleted_and_is_applied_again_goes_on_where_it_was(
    featurestore: Any, filled: Project
) -> None:
    featurestore("delete", "view", "aircraft-delays")
    featurestore("apply", "-f", ".")
    (row,) = table(featurestore("get", "views").out)
    assert (row["COMMIT"], row["ROWS"]) == ("2", "1,663")


def test_delete_with_data_leaves_none(featurestore: Any, filled: Project) -> None:
    said = featurestore("delete", "view", "aircraft-delays", "--data", "--yes")
    assert said.code == 0
    assert featurestore("delete", "pipeline", "flights", "--data", "--yes").code == 0
    assert not filled.storage.names("features")
    assert not filled.storage.names("ledger")


def test_logs_are_empty_before_the_first_run(featurestore: Any, filled: Project) -> None:
    assert featurestore("logs").out == "No events yet.\n"
    assert featurestore("logs", "flights").out == "No events yet.\n"


def test_logs_of_what_is_not_there_say_what_is(featurestore: Any, filled: Project) -> None:
    said = featurestore("logs", "flight")
    assert said.code == 3
    assert "Did you mean 'flights'?" in said.err


def test_doctor_says_what_a_runner_found_wrong(featurestore: Any, filled: Project) -> None:
    said = featurestore("doctor")
    assert said.code == 1
    assert "✗ pipeline flights: Degraded: storage cannot be read. Failed 2 ×." in said.out
    assert "✗ pipeline flights: SchemaAccepted: Batch 2 refused 1 file" in said.out
    assert "aircraft-delays: Degraded" not in said.out


def test_what_was_wrong_with_another_definition_does_not_trouble_doctor(
    featurestore: Any, filled: Project
) -> None:
    path = filled.folder / "flights.yaml"
    path.write_text(path.read_text() + "  description: mended\n")
    assert featurestore("apply", "-f", ".").code == 0
    assert "Degraded" not in featurestore("doctor").out


def test_a_page_shows_what_is_meant_for_a_cluster(featurestore: Any, filled: Project) -> None:
    path = filled.folder / "flights.yaml"
    path.write_text(
        path.read_text()
        + "  deletionPolicy: Delete\n"
        + "  resources: {memory: 1Gi, memoryLimit: 3Gi}\n"
        + "  job: {template: {image: registry.example.com/flights, cpu: 2}}\n"
    )
    planned = featurestore("plan", "-f", ".").out
    assert "spec.job: added {template: {image: registry.example.com/flights, cpu: 2}}" in planned
    assert "deletionPolicy, job, resources: at once." in planned
    assert featurestore("apply", "-f", ".").code == 0
    page = featurestore("describe", "pipeline", "flights").out
    for wanted in (
        "1Gi, in a cluster up to 3Gi",
        "deletes its data, in a cluster",
        "Job, in a cluster:\n",
        "image: registry.example.com/flights",
    ):
        assert wanted in page
    assert "keeps its data" in featurestore("describe", "view", "aircraft-delays").out
