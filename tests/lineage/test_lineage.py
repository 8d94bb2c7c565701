"""What is read and written is told as OpenLineage defines it, and nothing waits for whoever is told."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cluster.binaries import MissingError, environment_python
from eventually import eventually
from own_environment import SCRIPTS
from training import begin, rows, training_set
from unavailable import unavailable

from featurestore.errors import FeatureStoreError
from featurestore.protocol import BatchRequest
from featurestore.reconcile.conditions import read_status
from featurestore_transforms.entrypoint import engine
from featurestore_transforms.lineage.emitter import emitter_of
from featurestore_transforms.lineage.lineage_transport import transport

Event = dict[str, Any]
WITHIN_S = 60.0


def checked(path: Path, *options: str, **environ: str) -> list[str]:
    """What the classes of OpenLineage's client make of the events in a file."""
    try:
        python = environment_python("openlineage")
    except MissingError as missing:
        unavailable(missing)
    done = subprocess.run(
        [python, SCRIPTS / "openlineage_check.py", path, *options],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: list[str] = json.loads(done.stdout.splitlines()[-1])
    return found


def told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENLINEAGE__TRANSPORT__TYPE", "file")
    monkeypatch.setenv("OPENLINEAGE__TRANSPORT__LOG_FILE_PATH", str(path))
    monkeypatch.setenv("OPENLINEAGE__TRANSPORT__APPEND", "true")
    monkeypatch.setenv("OPENLINEAGE_NAMESPACE", "prod")


def events(path: Path) -> list[Event]:
    import os

    emitter = emitter_of(os.environ)
    assert emitter is not None
    emitter.flush(WITHIN_S)
    return [json.loads(line) for line in path.read_text().splitlines()]


def fields(dataset: Event) -> dict[str, str]:
    return {it["name"]: it["type"] for it in dataset["facets"]["schema"]["fields"]}


def origins(dataset: Event) -> dict[str, tuple[str, str, str]]:
    return {
        name: (of["name"].rpartition("root/")[2], of["field"], of["transformations"][0]["subtype"])
        for name, it in dataset["facets"]["columnLineage"]["fields"].items()
        for of in it["inputFields"]
    }


def test_each_batch_build_and_training_set_is_told_with_columns_and_where_they_come_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "events.jsonl"
    told(path, monkeypatch)
    laptop = begin(tmp_path / "project", rows(50))
    laptop.apply(training_set())
    laptop.run()
    found = events(path)
    assert checked(path) == [
        *("START pipeline.p", "COMPLETE pipeline.p", "START view.view", "COMPLETE view.view"),
        *("START trainingset.set", "COMPLETE trainingset.set"),
    ]
    assert {it["job"]["namespace"] for it in found} == {"prod"}
    runs = [it["run"]["runId"] for it in found]
    assert runs[::2] == runs[1::2]
    assert len(set(runs)) == 3
    batch, build, version = found[1::2]
    root = f"{tmp_path}/project"
    [source], [dataset] = batch["inputs"], batch["outputs"]
    assert (source["namespace"], source["name"]) == ("file", f"{root}/raw")
    assert dataset["name"] == f"{root}/root/datasets/p"
    assert set(fields(dataset)) == {"k", "ts", "v", "w"}
    assert dataset["outputFacets"]["outputStatistics"]["rowCount"] == 50
    [read], [view] = build["inputs"], build["outputs"]
    assert read["name"] == dataset["name"]
    assert read["facets"]["version"] == dataset["facets"]["version"]
    assert fields(view) == {"k": "string", "v": "int64", "n_1d": "int64"}
    assert origins(view) == {
        "k": ("datasets/p", "k", "IDENTITY"),
        "v": ("datasets/p", "v", "IDENTITY"),
        "n_1d": ("datasets/p", "v", "AGGREGATION"),
    }
    assert [it["name"].rpartition("root/")[2] for it in version["inputs"]] == ["datasets/p", "features/view"]
    [made] = version["outputs"]
    assert made["facets"]["version"]["datasetVersion"] == laptop.store(laptop.now).training_set("set").digest
    assert origins(made)["n_1d"] == ("features/view", "n_1d", "IDENTITY")
    assert origins(made)["w"] == ("datasets/p", "w", "IDENTITY")


def test_what_fails_is_told_without_what_was_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "events.jsonl"
    told(path, monkeypatch)
    laptop = begin(tmp_path / "project", rows(5))
    with pytest.raises(FeatureStoreError) as failed:
        engine.run(
            laptop.storage, BatchRequest(root=laptop.storage.root, pipeline="p", number=9), lambda _: None
        )
    assert checked(path) == ["START pipeline.p", "FAIL pipeline.p"] if events(path) else False
    message = events(path)[1]["run"]["facets"]["errorMessage"]["message"]
    assert message == f"{type(failed.value).__name__}: {failed.value.problem}"


def test_nothing_waits_for_a_receiver_that_never_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("OPENLINEAGE_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        laptop = begin(tmp_path / "project", rows(50))
        laptop.run()
        status = read_status(laptop.storage, "views", "view")
        assert status is not None
        ready = status.condition("Ready")
        assert ready is not None
        assert ready.status.value == "True"


class Receiver(ThreadingHTTPServer):
    """``posts``: path, authorization and body of each."""

    posts: list[tuple[str, str | None, Event]]


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        import gzip

        body = self.rfile.read(int(self.headers["Content-Length"]))
        body = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
        assert isinstance(self.server, Receiver)
        self.server.posts.append((self.path, self.headers.get("Authorization"), json.loads(body)))
        self.send_response(201)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def receiver() -> Iterator[Receiver]:
    with Receiver(("127.0.0.1", 0), Handler) as server:
        server.posts = []
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    "names",
    [
        {"OPENLINEAGE_URL": "{url}", "OPENLINEAGE_API_KEY": "abc"},
        {
            "OPENLINEAGE__TRANSPORT__TYPE": "http",
            "OPENLINEAGE__TRANSPORT__URL": "{url}",
            "OPENLINEAGE__TRANSPORT__ENDPOINT": "here",
            "OPENLINEAGE__TRANSPORT__AUTH": '{{"type": "api_key", "apiKey": "abc"}}',
        },
    ],
    ids=["short", "long"],
)
def test_events_go_where_the_client_of_openlineage_sends_its_own(
    names: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "events.jsonl"
    told(path, monkeypatch)
    laptop = begin(tmp_path / "project", rows(5))
    laptop.run()
    [first, *_] = events(path)
    with receiver() as server:
        url = f"http://127.0.0.1:{server.server_address[1]}"
        environ = {name: value.format(url=url) for name, value in names.items()}
        checked(path, "--emit", **environ)
        send = transport(environ)
        assert send is not None
        send(first)
        eventually(lambda: len(server.posts) == 2, WITHIN_S)
        theirs, ours = server.posts
    assert ours[:2] == theirs[:2]
    assert ours[2] == first


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"OPENLINEAGE_URL": "http://127.0.0.1:1", "OPENLINEAGE_DISABLED": "true"},
        {"OPENLINEAGE__TRANSPORT__TYPE": "noop"},
        {"OPENLINEAGE__TRANSPORT__TYPE": "kafka"},
        {"OPENLINEAGE__TRANSPORT__TYPE": "http"},
        {"OPENLINEAGE_URL": "file:///etc/passwd"},
    ],
)
def test_nothing_is_sent_unless_asked_for_in_words_that_are_known(environ: dict[str, str]) -> None:
    assert emitter_of(environ) is None
