"""``explain`` shows the fields of a kind, ``--version`` the version, and ``schema`` what editors read."""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import Any

import pytest


def test_the_version_is_printed(featurestore: Any) -> None:
    said = featurestore("--version")
    assert (said.code, said.out) == (0, f"featurestore {version('featurestore')}\n")


def test_a_field_is_explained_with_types_defaults_and_rules(featurestore: Any) -> None:
    said = featurestore("explain", "pipeline.spec.source")
    assert said.code == 0
    lines = said.out.splitlines()
    assert lines[0] == "DataPipeline.spec.source: object, required"
    assert "Where arrivals come from: files, or a stream." in lines
    assert "Rule: options of CSV need the format CSV." in lines
    rows = {line.split()[0]: line for line in lines[lines.index("") :] if line}
    assert "Parquet | CSV | JSON | Arrow" in rows["format"]
    assert '"Reject"' in rows["onOverwrite"]
    assert rows["csv"].endswith("How CSV files are read.")


@pytest.mark.parametrize(
    ("path", "head"),
    [
        ("fv", "FeatureView: object"),
        ("views.spec.features.aggregate.windows", "FeatureView.spec.features[].aggregate.windows: list of string, required"),
        ("view.spec.features[].type", "FeatureView.spec.features[].type: string | bytes"),
        ("FeatureStore.spec.online.redis", "FeatureStore.spec.online.redis: object"),
        ("dp.spec.trigger.arrivals.maxFiles", "DataPipeline.spec.trigger.arrivals.maxFiles: integer, 1 to 100000"),
    ],
)  # fmt: skip
def test_every_word_for_a_kind_and_every_depth_is_taken(featurestore: Any, path: str, head: str) -> None:
    said = featurestore("explain", path)
    assert said.code == 0
    assert said.out.startswith(head)


def test_a_default_and_all_fields_below_are_shown(featurestore: Any) -> None:
    assert 'Default: "Reject"' in featurestore("explain", "pipeline.spec.source.onOverwrite").out
    said = featurestore("explain", "view", "--recursive").out
    assert "spec.features[].aggregate.quantile" in said
    only = featurestore("explain", "view.spec.entity", "--recursive").out
    assert "spec.entity.joinKeys[].type" in only
    assert "spec.features" not in only


def test_a_field_that_is_not_there_is_answered_with_the_nearest(featurestore: Any) -> None:
    said = featurestore("explain", "view.spec.featurs")
    assert said.code == 3
    assert "there is no field 'featurs'" in said.err
    assert "Did you mean 'features'?" in said.err
    assert "It has no fields" in featurestore("explain", "view.spec.ttl.x").err
    assert featurestore("explain", "nonsense").code == 2


def test_what_is_explained_can_be_read_by_machines(featurestore: Any) -> None:
    said = json.loads(featurestore("explain", "pipeline.spec.source", "-o", "json").out)
    assert said["path"] == "spec.source"
    [form] = [field for field in said["fields"] if field["path"] == "spec.source.format"]
    assert (form["type"], form["required"]) == ("Parquet | CSV | JSON | Arrow", False)


def test_the_schema_is_printed_as_init_writes_it(featurestore: Any, tmp_path: Any) -> None:
    featurestore("init", ".")
    assert featurestore("schema").out == (tmp_path / "featurestore.schema.json").read_text()
