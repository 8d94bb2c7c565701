"""``POST /push/<pipeline>``: what is answered, to whom, and what it means."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from accepted import accept
from eventually import eventually
from feature_server import FeatureServer, Response, serving_features

from featurestore.storage.delta import Table
from featurestore.storage.objects import Storage

RESOURCES = """
kind: FeatureStore
metadata: {name: default}
spec: {offline: {uri: root}}
---
kind: DataPipeline
metadata: {name: clicks}
spec:
  source:
    uri: "pushed/clicks/*.arrow"
    format: Arrow
    push: {schema: [{name: user, type: string}, {name: at, type: timestamp}, {name: n, type: int64}]}
  trigger: {arrivals: {maxWait: 0s}}
---
kind: FeatureView
metadata: {name: users}
spec:
  entity: {name: user, joinKeys: [{name: user, type: string}]}
  source: {pipeline: clicks}
  timestampField: at
  features: [{name: n, type: int64, column: n}]
"""
WRITER, READER = "a-token-that-may-push", "a-token-that-may-read"


class Pushing:
    """A project, and a server of it that takes rows."""

    def __init__(self, folder: Path, server: FeatureServer, audit: Path) -> None:
        self.folder, self.server, self.audit = folder, server, audit

    def push(
        self, body: Any, key: str | None = "a", token: str = WRITER, pipeline: str = "clicks", **more: str
    ) -> Response:
        headers = {
            "Authorization": f"Bearer {token}",
            **{name.replace("_", "-"): text for name, text in more.items()},
        }
        if key is not None:
            headers["Idempotency-Key"] = key
        return self.server.ask("POST", f"/push/{pipeline}", body, headers)

    def files(self) -> int:
        return len(list((self.folder / "pushed" / "clicks").glob("*")))

    def taken(self) -> list[int]:
        table = Table.open(Storage(str(self.folder / "root")), "datasets/clicks")
        return (
            [] if table is None or not table.uris() else pl.read_parquet(table.uris())["n"].sort().to_list()
        )


def rows(*numbers: int) -> list[dict[str, Any]]:
    return [{"user": f"u{number}", "at": "2024-01-01T00:00:00Z", "n": number} for number in numbers]


@pytest.fixture(scope="module")
def it(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pushing]:
    folder = tmp_path_factory.mktemp("push") / "project"
    folder.mkdir()
    (folder / "store.yaml").write_text(RESOURCES)
    accept(folder)
    tokens, audit = folder.parent / "tokens", folder.parent / "audit.log"
    tokens.write_text(f"writer {WRITER} push\nreader {READER}\n")
    options = ["--auth", "token", "--token-file", str(tokens), "--audit-log", str(audit), "--push"]
    options += ["--timeout", "120"]  # A busy disk is no reason for 504.
    with serving_features(folder, folder.parent / "log", *options) as server:
        yield Pushing(folder, server, audit)


def test_rows_are_taken_once_for_each_key_as_json_and_as_arrow(it: Pushing) -> None:
    before = it.files()
    first, again = it.push({"rows": rows(1, 2)}), it.push({"rows": rows(1, 2)})
    assert (first.status, first.json) == (200, {"rows": 2, "is_new": True, "online": {}})
    assert (again.status, again.json) == (200, {"rows": 2, "is_new": False, "online": {}})
    table = pa.table({"n": [3], "user": ["u3"]})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    stream = {"Content_Type": "application/vnd.apache.arrow.stream"}
    assert it.push(sink.getvalue().to_pybytes(), "b", **stream).json == {
        "rows": 1,
        "is_new": True,
        "online": {},
    }
    assert it.push(b"no stream", "c", **stream).status == 422
    assert it.push({"rows": rows(9)}, "a").status == 422
    assert it.files() == before + 2
    last = json.loads(it.audit.read_text().splitlines()[0])
    assert (last["caller"], last["pipelines"], last["rows"], last["status"]) == ("writer", ["clicks"], 2, 200)


def test_of_many_that_send_one_push_at_once_one_is_told_that_it_is_new(it: Pushing) -> None:
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: it.push({"rows": rows(50)}, "race"), range(8)))
    assert [answer.status for answer in answers] == [200] * 8
    assert sorted(answer.json["is_new"] for answer in answers) == [False] * 7 + [True]


def test_a_row_that_does_not_fit_is_named_with_its_field_and_nothing_is_written(it: Pushing) -> None:
    before = it.files()
    wrong = [*rows(1), {"user": 7, "at": "soon", "n": 1.5, "other": 1}]
    answer = it.push({"rows": wrong}, "wrong")
    assert (answer.status, answer.headers["content-type"]) == (422, "application/problem+json")
    named = [(error["row"], error["field"]) for error in answer.json["errors"]]
    assert named == [(1, "other"), (1, "user"), (1, "at"), (1, "n")]
    assert it.files() == before


def test_who_may_read_may_not_push_and_learns_nothing_of_pipelines(it: Pushing) -> None:
    before = it.files()
    answers = [it.push({"rows": rows(1)}, "x", READER, name) for name in ("clicks", "absent")]
    assert [answer.status for answer in answers] == [403, 403]
    assert it.push({"rows": rows(1)}, "x", "made-up-made-up-made-up").status == 401
    assert it.files() == before


def test_what_is_asked_wrongly_is_told(it: Pushing) -> None:
    assert it.push({"rows": rows(1)}, None).status == 400
    assert it.push({"rows": rows(1)}, "x" * 300).status == 422
    assert it.push({"rows": []}, "y").status == 422
    assert it.push({"rows": [1]}, "y").status == 422
    assert "too many rows" in it.push({"rows": [{}] * 10_001}, "y").json["detail"]
    for pipeline in ("absent", "..", "%2e%2e%2fpipelines", "clicks%00"):
        assert it.push({"rows": rows(1)}, "y", pipeline=pipeline).status == 404
    assert it.push(b" " * (5 << 20), "y").status == 413


def test_a_server_that_was_not_told_to_take_rows_takes_none(server: FeatureServer) -> None:
    answer = server.ask("POST", "/push/flights", {"rows": [{"a": 1}]}, {"Idempotency-Key": "a"})
    assert answer.status == 403


def test_what_is_pushed_is_read_from_the_same_server_while_run_runs(it: Pushing, tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as log:
        command = [sys.executable, "-m", "featurestore.cli", "run"]
        runner = subprocess.Popen(command, cwd=it.folder, stdout=log, stderr=log)
    asked = {"features": ["users:n"], "entities": {"user": ["u77"]}}
    try:
        # Until it watches, a push waits for a listing.
        assert it.push({"rows": rows(70)}, "warm").status == 200
        eventually(lambda: 70 in it.taken(), 60)
        began_s = time.monotonic()
        assert it.push({"rows": rows(77)}, "fresh").status == 200
        headers = {"Authorization": f"Bearer {READER}"}
        eventually(
            lambda: it.server.ask("POST", "/v1/features", asked, headers).json.get("features") == {"n": [77]},
            60,
            each_s=0.01,
        )
        print(f"pushed and read online after {time.monotonic() - began_s:.2f} s")
    finally:
        runner.terminate()
        runner.wait(300)
