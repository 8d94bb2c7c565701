"""The feature server over HTTP: one worker and 16 connections, one and a hundred entities of ten features.

The load comes of wrk (`apt-get install wrk`) with one thread. Beside each figure stands what the same server does with
`/healthz`, which reads nothing: the floor of the server and of wrk on this machine.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from bench.figure import Figure

SUPPORT = Path(__file__).parents[1] / "tests" / "support"
ENTITIES, FEATURES, CONNECTIONS, SECONDS = 100_000, 10, 16, 5
GOALS = {1: 10_000, 100: 3_000}
P99_MS = 5.0
RESOURCES = """\
kind: FeatureStore
metadata: {name: default}
spec: {offline: {uri: root}, online: %s}
---
kind: DataPipeline
metadata: {name: events}
spec:
  source: {uri: raw/*.parquet, format: Parquet}
  trigger: {arrivals: {pollInterval: 1s, maxWait: 0s}}
---
kind: FeatureView
metadata: {name: users}
spec:
  entity: {name: user, joinKeys: [{name: user, type: int64}]}
  source: {pipeline: events}
  timestampField: at
  features:
%s
"""
SCRIPT = """\
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
local entities, first = %d, 0
local feature = '{"features": ["users"], "entities": {"user": ['
function request()
  local keys = {}
  for n = 1, %d do
    first = (first * 1103515245 + 12345) %% 2147483648
    keys[n] = first %% entities
  end
  return wrk.format(nil, "/v1/features", nil, feature .. table.concat(keys, ",") .. "]}}")
end
function response(status)
  if status ~= 200 then print("STATUS " .. status) end
end
"""


def measure() -> list[Figure]:
    """Requests in a second and the 99th percentile of their time, for each store that is here."""
    if shutil.which("wrk") is None:
        raise SystemExit("bench http needs wrk: apt-get install wrk")
    sys.path.insert(0, str(SUPPORT))
    import storage_server

    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        figures = _of_store("embedded", "{duckdb: {}}", here / "embedded")
        (here / "redis").mkdir()
        with storage_server.redis(here / "redis") as url:
            figures += _of_store("Redis", f"{{redis: {{url: '{url}'}}}}", here / "redis" / "project")
    return figures


def _of_store(name: str, online: str, folder: Path) -> list[Figure]:
    from feature_server import featurestore, serving_features

    (folder / "raw").mkdir(parents=True)
    columns = {f"f{n}": np.random.default_rng(n).normal(size=ENTITIES) for n in range(FEATURES)}
    frame = pl.DataFrame({"user": np.arange(ENTITIES), **columns})
    at = pl.lit("2026-01-02T00:00:00").str.to_datetime(time_unit="us", time_zone="UTC").alias("at")
    frame.with_columns(at).write_parquet(folder / "raw" / "1.parquet")
    features = "\n".join(f"  - {{name: {f}, type: float64, column: {f}}}" for f in columns)
    store, project = (RESOURCES % (online, features)).split("---\n", 1)
    (folder / "store.yaml").write_text(store)
    (folder / "project.yaml").write_text(project)
    featurestore(folder, "apply", "-f", ".")
    featurestore(folder, "run", "--once")
    question = f"HTTP, {name}"
    with serving_features(folder, folder / "log") as server:
        floor = _load(server, "/healthz", None)
        figures = [
            Figure(question, "/healthz, reads nothing", floor.rate, "requests/s"),
            Figure(question, "/healthz, CPU of the server", floor.cpu_us, "µs/request"),
        ]
        for entities, goal in GOALS.items():
            script = folder / f"{entities}.lua"
            script.write_text(SCRIPT % (ENTITIES, entities))
            _load(server, "", script)
            seen = _load(server, "", script)
            label = f"{entities} {'entity' if entities == 1 else 'entities'} of {FEATURES} features"
            figures += [
                Figure(question, label, seen.rate, "requests/s", f"at least {goal:,}", seen.rate >= goal),
                Figure(question, f"{label}, p99", seen.p99_ms, "ms", *_late(seen.p99_ms, entities)),
                Figure(question, f"{label}, CPU of the server", seen.cpu_us, "µs/request"),
            ]
    return figures


def _late(p99_ms: float, entities: int) -> tuple[str, bool | None]:
    return (f"under {P99_MS:g}", p99_ms < P99_MS) if entities == 1 else ("", None)


class _Load(NamedTuple):
    rate: float
    p99_ms: float
    cpu_us: float


def _load(server: Any, path: str, script: Path | None) -> _Load:
    """Requests in a second, the 99th percentile of their time, and the server's processor time for each."""
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "--latency"]
    command += [] if script is None else ["-s", str(script)]
    before = _cpu_s(server.process.pid)
    said = subprocess.run([*command, server.url + path], capture_output=True, text=True, check=True).stdout
    used_s = _cpu_s(server.process.pid) - before
    assert "STATUS" not in said, said[:200]
    assert "Socket errors" not in said, said
    latency, unit = re.findall(r"99%\s+([\d.]+)(us|ms|s)", said)[0]
    [rate], [requests] = re.findall(r"Requests/sec:\s+([\d.]+)", said), re.findall(r"(\d+) requests in", said)
    p99_ms = float(latency) * {"us": 0.001, "ms": 1, "s": 1000}[unit]
    return _Load(float(rate), p99_ms, used_s / int(requests) * 1e6)


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
