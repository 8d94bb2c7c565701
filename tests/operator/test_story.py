"""From three resources and a file to features, by an operator before a real API server with its controllers."""

from __future__ import annotations

from collections.abc import Iterator
from html import unescape
from pathlib import Path

import pytest
from cluster.control_plane import ControlPlane
from cluster_story import Story, story
from eventually import eventually
from feature_server import serving_features

pytestmark = pytest.mark.slow
ROWS = {"k": ["a", "b"], "ts": ["2024-01-01T00:00:00", "2024-01-01T01:00:00"], "v": [1, 2]}
MORE = {"k": ["a"], "ts": ["2024-01-02T00:00:00"], "v": [3]}


@pytest.fixture
def it(controllers: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[Story]:
    with story(controllers, namespace, tmp_path) as told:
        yield told


def online(it: Story) -> dict[str, object]:
    return it.reader().get_features(["things:v"], [{"k": "a"}, {"k": "b"}, {"k": "c"}]).to_dict()


def test_a_file_becomes_features_after_one_start_of_a_pod(it: Story) -> None:
    it.apply(it.store(), it.pipeline(), it.view())
    it.start()
    it.until("datapipeline", "events", "WaitingForFiles")
    it.drop("1.parquet", ROWS)
    it.until("featureview", "things", "UpToDate", rows=2)
    assert online(it)["v"] == [1, 2, None]
    assert len(it.node.ran) == 1
    it.drop("2.parquet", MORE)
    eventually(lambda: online(it)["v"] == [3, 2, None])
    # What pods read is ahead of what the Job, once it ended, lets the status say.
    it.until("featureview", "things", "UpToDate", rows=3)
    it.until("datapipeline", "events", "UpToDate", rows=3)
    assert len(it.node.ran) == 2
    view, pipeline = it.get("featureview", "things")["status"], it.get("datapipeline", "events")["status"]
    assert (view["rows"], view["entities"], view["watermark"]) == (3, 2, "2024-01-02T00:00:00Z")
    assert (pipeline["rows"], pipeline["batch"], pipeline["pendingFiles"]) == (3, 2, 0)
    assert [(it["number"], it["files"], it["rows"]) for it in pipeline["lastBatches"]] == [
        (2, 1, 1),
        (1, 1, 2),
    ]


def test_the_page_of_a_server_shows_what_is_wrong_by_the_conditions_of_the_api_server(it: Story) -> None:
    small = {"name": "small", "that": "v < 3", "otherwise": "Quarantine"}
    it.apply(it.store(), it.pipeline(expectations=[small]), it.view())
    it.start()
    it.drop("1.parquet", {**ROWS, "v": [2, 3]})
    quarantine = it.until("datapipeline", "events", "InQuarantine", "QuarantineEmpty", rows=1)
    it.until("featureview", "things", "UpToDate", rows=1)
    it.rest()
    with serving_features(Path(it.root), it.folder / "server.log") as server:
        front = unescape(server.ask("GET", "/").body.decode())
        pages = {
            kind: server.ask("GET", f"/{kind}").body.decode() for kind in ("pipelines/events", "views/things")
        }
    assert "What is wrong" in front
    assert quarantine["message"].partition("`")[0] in front
    for path, page in pages.items():
        kind = {"pipelines/events": "datapipeline", "views/things": "featureview"}[path]
        for condition in it.get(kind, path.partition("/")[2])["status"]["conditions"]:
            row = rf"{condition['type']}</th><td>{condition['status']}</td><td>{condition['reason']}</td>"
            assert row in page, condition
