"""A project with served features, and the feature server as a process that answers over HTTP."""

from __future__ import annotations

import http.client
import json
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from server import Server, free_port

EVENT = "2026-01-02T03:04:05.678901"
KINDS = {
    "delay": "int64",
    "ratio": "float64",
    "low": "float32",
    "note": "string",
    "late": "bool",
    "day": "date",
    "seen": "timestamp",
    "raw": "bytes",
    "tags": "list<string>",
    "vector": "list<float64>",
}
STORE = "kind: FeatureStore\nmetadata: {name: default}\nspec: {offline: {uri: root}, online: %s}\n"
PROJECT = """\
kind: DataPipeline
metadata: {name: flights}
spec:
  source: {uri: raw/*.parquet, format: Parquet}
  trigger: {arrivals: {pollInterval: 1s, maxWait: 0s}}
---
kind: FeatureView
metadata: {name: aircraft-delays}
spec:
  description: How late an aircraft was.
  entity: {name: aircraft, joinKeys: [{name: tailnum, type: string}]}
  source: {pipeline: flights}
  timestampField: at
  features:
%s
---
kind: FeatureView
metadata: {name: routes}
spec:
  entity: {name: route, joinKeys: [{name: tailnum, type: string}, {name: number, type: int32}]}
  source: {pipeline: flights}
  timestampField: at
  ttl: 1d
  features:
  - {name: delay, type: int64, column: delay}
---
kind: FeatureView
metadata: {name: delay-share}
spec:
  onDemand:
    request: [{name: minutes, type: float64}]
    inputs: ["aircraft-delays:low"]
  features:
  - {name: share, type: float64, expression: "low / minutes"}
"""


def rows(count: int = 0) -> pl.DataFrame:
    """Two aircraft: N1 has all values, of N2 all are null; and ``count`` more, E0, E1, …"""
    blank = dict.fromkeys(KINDS)
    full: dict[str, Any] = {
        "delay": 2**53 + 1,
        "ratio": float("inf"),
        "low": 0.5,
        "note": "é\u2028",
        "late": True,
        "day": "2026-01-02",
        "seen": EVENT,
        "raw": b"\x00\xff",
        "tags": ["a", None],
        "vector": [1.5, float("nan")],
    }
    more = [{**full, "tailnum": f"E{n}", "number": n, "delay": n, "ratio": n / 3} for n in range(count)]
    listed = [{"tailnum": "N1", "number": 1, **full}, {"tailnum": "N2", "number": 2, **blank}, *more]
    types: dict[str, Any] = {
        "tailnum": pl.String,
        "number": pl.Int32,
        "delay": pl.Int64,
        "ratio": pl.Float64,
        "low": pl.Float32,
        "note": pl.String,
        "late": pl.Boolean,
        "day": pl.String,
        "seen": pl.String,
        "raw": pl.Binary,
        "tags": pl.List(pl.String),
        "vector": pl.List(pl.Float64),
    }
    frame = pl.DataFrame(listed, types)
    return frame.with_columns(
        pl.col("day").str.to_date(),
        pl.col("seen").str.to_datetime(time_unit="us", time_zone="UTC"),
        pl.lit(EVENT).str.to_datetime(time_unit="us", time_zone="UTC").alias("at"),
    )


def make_project(folder: Path, count: int = 0, online: str = "{duckdb: {}}") -> Path:
    """A project whose views are built and published."""
    (folder / "raw").mkdir(parents=True)
    features = "\n".join(
        f"  - {{name: {name}, type: {kind}, column: {name}}}" for name, kind in KINDS.items()
    )
    (folder / "store.yaml").write_text(STORE % online)
    (folder / "project.yaml").write_text(PROJECT % features)
    rows(count).write_parquet(folder / "raw" / "1.parquet")
    featurestore(folder, "apply", "-f", ".")
    featurestore(folder, "run", "--once")
    return folder


def featurestore(folder: Path, *arguments: str) -> str:
    """What the command prints."""
    done = subprocess.run(
        [sys.executable, "-m", "featurestore.cli", *arguments], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@dataclass(frozen=True)
class Response:
    """``headers``: names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class FeatureServer:
    """A server that runs. ``log``: what it printed."""

    process: Server
    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Response:
        """The answer to one request; ``body`` is sent as JSON, or as it is if it is bytes."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
        try:
            content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
            connection.request(method, path, content, dict(headers or {}))
            answer = connection.getresponse()
            return Response(
                answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
            )
        finally:
            connection.close()

    def read(self, features: Sequence[str], entities: Mapping[str, Sequence[Any]], **more: Any) -> Any:
        """The JSON of ``POST /v1/features``."""
        answer = self.ask("POST", "/v1/features", {"features": features, "entities": entities, **more})
        assert answer.status == 200, answer.body
        return answer.json


@contextmanager
def serving_features(
    project: Path,
    log: Path,
    *options: str,
    environment: Mapping[str, str] | None = None,
    tls: bool = False,
) -> Iterator[FeatureServer]:
    """The server of a project, ready."""
    port = free_port()
    command = [sys.executable, "-m", "featurestore.cli", "-C", project, "serve", "--port", port, *options]

    def ready() -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        if tls:
            unverified = ssl._create_unverified_context()  # Its certificate is the test's to look at.
            connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=60, context=unverified)
        with suppress(OSError, http.client.HTTPException), closing(connection):
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        return False

    process = Server(command, log, ready, environment)
    process.start()
    try:
        yield FeatureServer(process, port, log)
    finally:
        process.stop()
