"""KServe's own servers, each a process: what the predictor is sent for keys is what get_features answers."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from eventually import eventually
from laptop import Laptop, view_of
from own_environment import ROOT, own_environment, section
from server import Server, free_port
from training import NOON, begin, rows, training_set

from featurestore.storage import paths

FEATURES = ["view:v", "view:n_10000d", "view:x"]
[EXAMPLE] = (
    yaml.safe_load(text)
    for text in re.findall(
        r"^```yaml\n(.*?)^```$",
        section((ROOT / "docs/training-platforms.md").read_text(), "KServe"),
        re.MULTILINE | re.DOTALL,
    )
)
[TRANSFORMER] = EXAMPLE["spec"]["transformer"]["containers"]
"""As the page has it: its arguments run here."""
MODEL = EXAMPLE["metadata"]["name"]
KEYS = [{"k": "e3"}, {"k": "nobody"}, {"k": "e1"}]


class Servers(NamedTuple):
    """``v1`` and ``v2``: URLs of transformers of that protocol: the page's, and one that reads a training set's features."""

    laptop: Laptop
    v1: str
    v2: str

    def expected(self, keys: list[dict[str, Any]] = KEYS, fill: float | None = None) -> list[list[Any]]:
        """What the online store has now, and the join at a time that is now. ``fill``: where ``x`` is not there."""
        store = self.laptop.store(self.laptop.now)
        online = store.get_online_features(FEATURES, keys).to_dict()
        times = [{**key, "ts": self.laptop.now} for key in keys]
        joined = store.get_features(FEATURES, times, timestamp_column="ts").to_dict()
        names = ["v", "n_10000d", "x"]
        assert [online[name] for name in names] == [joined[name] for name in names]
        online["x"] = [fill if value is None else value for value in online["x"]]
        return [list(row) for row in zip(*(online[name] for name in names), strict=True)]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    folder = tmp_path_factory.mktemp("kserve")
    kserve = own_environment("kserve", folder)
    laptop = begin(folder / "project", rows(300))
    spec = view_of("v")["spec"]
    windows = {"function": "Sum", "column": "v", "windows": ["10000d"]}
    features = [
        spec["features"][0],
        {**spec["features"][1], "aggregate": windows},
        {"name": "x", "type": "float64", "column": "w"},
    ]
    laptop.apply({**view_of("v"), "spec": {**spec, "features": features}})
    laptop.apply(training_set(features={"names": FEATURES}))
    service = {"kind": "FeatureService", "metadata": {"name": "delay-model"}, "spec": {"features": FEATURES}}
    laptop.apply(service)
    laptop.run()
    ports = [free_port() for _ in range(3)]
    named, predictor = f"--model_name={MODEL}", f"--predictor_host=127.0.0.1:{ports[0]}"
    program = [kserve.python, "-m", "featurestore.kserve", *TRANSFORMER["args"]]
    commands: list[list[object]] = [
        [*kserve.command("kserve_predictor.py"), named],
        # KServe's controller adds where the predictor is.
        [*program, predictor, "--fill=x=-1.5"],
        [*kserve.command("kserve_trained.py"), named, predictor, "--predictor_protocol=v2"],
    ]
    environ = kserve.environ(FEATURESTORE_URI=laptop.storage.root)
    started = []
    try:
        for command, port in zip(commands, ports, strict=True):
            command += [f"--http_port={port}", "--enable_grpc=false"]
            ready = f"http://127.0.0.1:{port}/v2/models/{MODEL}/ready"
            server = Server(command, folder / f"{port}.log", partial(_is_ready, ready), environ)
            server.launch()
            started.append(server)
        for server in started:
            server.wait(600)
        yield Servers(laptop, *(f"http://127.0.0.1:{port}" for port in ports[1:]))
    finally:
        for server in started:
            server.stop()


class Answer(NamedTuple):
    status: int
    body: Any
    commits: str | None


def _ask(url: str, body: Any = None, kind: str = "application/json") -> Answer:
    """``status`` is 0 if nobody answers."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": kind})
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return Answer(response.status, json.load(response), response.headers["featurestore-commits"])
    except urllib.error.HTTPError as error:
        return Answer(error.code, json.load(error), None)
    except OSError:
        return Answer(0, None, None)


def _is_ready(url: str) -> bool:
    return _ask(url).status == 200


def test_v1_predicts_with_the_features_of_now_which_the_join_at_that_time_gives(servers: Servers) -> None:
    body = {"instances": [{**key, "more": 1} for key in KEYS], "parameters": {"a": 1}}
    answer = _ask(f"{servers.v1}/v1/models/{MODEL}:predict", body)
    assert answer.status == 200, answer
    assert answer.body["predictions"] == servers.expected(fill=-1.5)
    assert answer.body["predictions"][1] == [None, None, -1.5]
    assert answer.body["asked"] == ["instances", "parameters"]


def test_v2_predicts_with_a_tensor_for_each_feature(servers: Servers) -> None:
    def ask(keys: list[dict[str, str]]) -> Answer:
        names = [key["k"] for key in keys]
        tensor = {"name": "k", "shape": [len(names)], "datatype": "BYTES", "data": names}
        return _ask(f"{servers.v2}/v2/models/{MODEL}/infer", {"id": "7", "inputs": [tensor]})

    known = [{"k": f"e{n}"} for n in range(7) if None not in servers.expected([{"k": f"e{n}"}])[0]]
    answer = ask(known)
    assert answer.status == 200, answer
    tensors = {it["name"]: it for it in answer.body["outputs"]}
    assert [it["datatype"] for it in tensors.values()] == ["INT64", "INT64", "FP64"]
    found = [list(row) for row in zip(*(it["data"] for it in tensors.values()), strict=True)]
    assert found == servers.expected(known)
    assert (answer.body["id"], answer.body["parameters"]["frame"]) == ("7", f"({len(known)}, 3)")

    unknown = ask(KEYS)
    assert unknown.status == 200, unknown
    tensors = {it["name"]: it for it in unknown.body["outputs"]}
    assert [it["datatype"] for it in tensors.values()] == ["FP64", "FP64", "FP64"]
    found = [list(row) for row in zip(*(it["data"] for it in tensors.values()), strict=True)]
    assert found == servers.expected()


def test_the_response_says_which_commits_the_features_are_of(servers: Servers) -> None:
    answer = _ask(f"{servers.v1}/v1/models/{MODEL}:predict", {"instances": KEYS})
    build = servers.laptop.build("view")
    held = servers.laptop.store(servers.laptop.now).reader(FEATURES).read(KEYS).commits["view"]
    assert servers.laptop.table(paths.features("view", build))
    assert answer.commits == f"view={held}"


def test_what_is_asked_wrongly_is_told_and_json_needs_no_content_type(servers: Servers) -> None:
    url = f"{servers.v1}/v1/models/{MODEL}:predict"
    for body, told in (
        ({"instances": [{"tailnum": "e1"}]}, "'k'"),
        ({"instances": [{"k": "e1"}, {}]}, "instance 1: there is no 'k'"),
        ({"instances": [["e1"]]}, "instance 0"),
        ({"keys": []}, "instances"),
        ({"instances": [{"k": 7}]}, "k"),
    ):
        answer = _ask(url, body)
        assert answer.status == 400, answer
        assert told in answer.body["error"], answer
    answer = _ask(url, {"instances": KEYS}, kind="application/octet-stream")
    assert answer.body["predictions"] == servers.expected(fill=-1.5)


def test_a_transformer_whose_store_is_away_is_not_ready_until_it_is_back(servers: Servers) -> None:
    root = Path(servers.laptop.storage.root)
    away = root.with_name("away")
    probe = servers.v1 + TRANSFORMER["readinessProbe"]["httpGet"]["path"]
    expected = servers.expected(fill=-1.5)
    root.rename(away)
    try:
        eventually(lambda: _ask(probe).status == 503, 60)
        assert _ask(f"{servers.v1}/v1/models/{MODEL}:predict", {"instances": KEYS}).status == 503
    finally:
        away.rename(root)
    eventually(lambda: _ask(probe).status == 200, 60)
    answer = _ask(f"{servers.v1}/v1/models/{MODEL}:predict", {"instances": KEYS})
    assert answer.body["predictions"] == expected


def test_a_commit_that_is_published_is_what_the_next_request_is_answered_of(servers: Servers) -> None:
    url, key = f"{servers.v1}/v1/models/{MODEL}:predict", {"k": "later"}
    before = _ask(url, {"instances": [key]})
    servers.laptop.drop("later.parquet", ({"k": "later", "ts": NOON + timedelta(days=5), "v": 5, "w": 0.5},))
    servers.laptop.run()
    eventually(lambda: _ask(url, {"instances": [key]}).commits != before.commits, 60)
    assert _ask(url, {"instances": [key]}).body["predictions"] == [[5, 5, 0.5]] == servers.expected([key])
