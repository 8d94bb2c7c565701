"""The whole way with everything in object storage: source, ledger, tables and the online store."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import featurestore
from featurestore.storage import paths
from featurestore.storage.objects import Storage

START = datetime(2024, 1, 1, tzinfo=UTC)
RESOURCES = """
kind: FeatureStore
metadata: {{name: default}}
spec: {{offline: {{uri: "{root}"}}}}
---
kind: DataPipeline
metadata: {{name: events}}
spec:
  source: {{uri: "{raw}/**/*.parquet", format: Parquet, onOverwrite: Replace}}
  expectations: [{{name: positive, that: "v >= 0"}}]
---
kind: FeatureView
metadata: {{name: things}}
spec:
  entity: {{name: thing, joinKeys: [{{name: k, type: string}}]}}
  source: {{pipeline: events}}
  timestampField: ts
  features:
    - {{name: v, type: int64, column: v}}
    - {{name: total, type: int64, aggregate: {{function: Sum, column: v, windows: [1d]}}}}
"""


class Bucket:
    """A project whose root and source are in one bucket."""

    def __init__(self, folder: Path, root: str) -> None:
        self.folder, self.root, self.raw = folder, root, f"{root}-raw"
        (folder / "store.yaml").write_text(RESOURCES.format(root=root, raw=self.raw))

    def put(self, name: str, *values: int) -> None:
        """An object appears, or is overwritten: one row an hour of one thing."""
        rows = [{"k": "a", "ts": START + timedelta(hours=n), "v": value} for n, value in enumerate(values)]
        file = io.BytesIO()
        pl.DataFrame(rows).write_parquet(file)
        Storage(self.raw).replace(name, file.getvalue())

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "featurestore.cli", *command],
            cwd=self.folder,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=600,
        )

    def done(self, *command: str) -> str:
        finished = self.run(*command)
        assert finished.returncode == 0, finished.stdout + finished.stderr
        return finished.stdout

    def read(self) -> dict[str, Any]:
        """What a reader that knows only the root is answered, offline; online must say the same."""
        store, names = featurestore.connect(self.root), ["things:v", "things:total_1d"]
        labels = {"k": ["a"], "t": [START + timedelta(hours=10)]}
        told = store.get_features(names, labels, timestamp_column="t").to_dict()
        offline = {"v": told["v"], "total_1d": told["total_1d"]}
        online = store.get_features(["things:v"], {"k": ["a"]}).to_dict()
        assert online["v"] == offline["v"]
        return offline


@pytest.fixture
def bucket(tmp_path: Path, s3_root: str) -> Bucket:
    return applied(tmp_path, s3_root)


def applied(folder: Path, root: str) -> Bucket:
    bucket = Bucket(folder, root)
    bucket.done("apply", "-f", ".")
    return bucket


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["s3", "azure", "gcs"])
def test_objects_become_features_that_are_read_from_the_bucket_alone(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    bucket = applied(tmp_path, request.getfixturevalue(f"{kind}_root"))
    bucket.put("day=1/a.parquet", 1, -5, 3)
    bucket.done("run", "--once")
    assert bucket.read() == {"v": [3], "total_1d": [4]}
    assert "positive" in bucket.done("quarantine", "ls", "events")
    names = Storage(bucket.root).names
    assert names(paths.online("things"))
    assert names(f"{paths.ledger('events')}/manifests/000000000") == ["000000000001.json"]


@pytest.mark.slow
def test_an_overwritten_object_takes_the_place_of_its_rows_and_a_killed_run_is_finished(
    bucket: Bucket,
) -> None:
    bucket.put("a.parquet", 1, 3)
    bucket.done("run", "--once")
    bucket.put("a.parquet", 10)
    bucket.put("b.parquet", 2, 2)
    killed = bucket.run("run", "--once", FEATURESTORE_KILL_AT="after-manifest")
    assert killed.returncode == -9
    bucket.done("run", "--once")
    assert bucket.read() == {"v": [2], "total_1d": [14]}


@pytest.mark.slow
def test_keys_and_a_place_that_only_the_files_of_the_aws_tools_name_open_all_of_a_store(
    tmp_path: Path, s3_root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, secret = os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
    endpoint = os.environ["AWS_ENDPOINT_URL"]
    (tmp_path / "credentials").write_text(
        f"[work]\naws_access_key_id={key}\naws_secret_access_key={secret}\n"
    )
    (tmp_path / "config").write_text(f"[profile work]\nregion=us-east-1\nendpoint_url={endpoint}\n")
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_PROFILE", "work")
    bucket = applied(tmp_path, s3_root)
    bucket.put("day=1/a.parquet", 1, -5, 3)
    bucket.done("run", "--once")
    assert bucket.read() == {"v": [3], "total_1d": [4]}

    (tmp_path / "credentials").write_text(f"[work]\naws_access_key_id={key}\naws_secret_access_key=other\n")
    refused = bucket.run("run", "--once")
    assert refused.returncode != 0
    assert secret not in refused.stdout + refused.stderr
