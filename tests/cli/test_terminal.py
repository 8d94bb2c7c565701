"""What others wrote, in names, values and messages, cannot steer a person's terminal; a time is shown, whatever it is."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest

STORE = "kind: FeatureStore\nmetadata: {name: default}\nspec: {offline: {uri: store}, online: {duckdb: {}}}\n"
PIPELINE = """\
kind: DataPipeline
metadata: {name: p}
spec:
  source: {uri: "raw/*", format: FORMAT}
  trigger: {arrivals: {maxWait: 0s}}
"""
VIEW = """\
---
kind: FeatureView
metadata: {name: v}
spec:
  entity: {name: e, joinKeys: [{name: id, type: int64}]}
  source: {pipeline: p}
  timestampField: at
  features: [{name: v, type: int64, column: v}]
"""
STEERING = ("\x1b", "\x07", "\x9b", "\u202e", "\r")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "store.yaml").write_text(STORE)
    (tmp_path / "raw").mkdir()
    return tmp_path


def test_control_characters_of_names_and_values_never_reach_a_terminal(
    featurestore: Any, folder: Path
) -> None:
    more = "  expectations: [{name: r, that: 'v > 100'}]\n  schemaPolicy: {newColumn: Quarantine}\n"
    (folder / "p.yaml").write_text(PIPELINE.replace("FORMAT", "CSV") + more)
    evil = "\x1b]0;owned\x07\x9b2J\u202e"
    (folder / "raw" / f"a{evil}.csv").write_text(f"t,v\n{evil},1\nb,200\n")
    assert featurestore("apply", "-f", ".").code == 0
    (folder / "raw" / "b.csv").write_text(f"t,v,{evil}\n1,2,3\n")
    commands = [
        ("run", "--once"),
        ("get", "all", "-o", "wide"),
        ("get", "all", "-o", "json"),
        ("get", "all", "-o", "yaml"),
        ("describe", "pipeline", "p"),
        ("history", "pipeline", "p", "--batch", "1"),
        ("history", "pipeline", "p", "--batch", "1", "-o", "json"),
        ("quarantine", "ls", "-o", "wide"),
        ("quarantine", "show", "p"),
        ("quarantine", "show", "p", "-o", "json"),
        ("quarantine", "dismiss", "p", "--because", evil),
        ("quarantine", "ls", "--all"),
        ("logs",),
        ("doctor",),
        ("get", "pipeline", evil),
        ("features", f"v{evil}:x", "-e", f"id={evil}"),
    ]
    for command in commands:
        said = featurestore(*command)
        for character in STEERING:
            assert character not in said.out, command
            assert character not in said.err, command


def test_a_time_is_shown_whatever_its_year_and_one_ahead_of_the_clock_is_told(
    featurestore: Any, folder: Path
) -> None:
    (folder / "p.yaml").write_text(PIPELINE.replace("FORMAT", "Parquet") + VIEW)
    ahead = pl.Series([1_704_067_200_000_000_000, 1_704_067_200_000_000]).cast(pl.Datetime("us", "UTC"))
    pl.DataFrame({"id": [1, 2], "at": ahead, "v": [1, 2]}).write_parquet(folder / "raw" / "a.parquet")
    assert featurestore("apply", "-f", ".").code == 0
    assert featurestore("run", "--once").code == 0
    described = featurestore("describe", "view", "v")
    assert described.code == 0, described.err
    assert "55969-" in described.out
    assert featurestore("history", "view", "v").code == 0
    assert "in " in featurestore("get", "views").out.splitlines()[1]
    assert time.time() < 1_704_067_200_000_000
