"""Tables as sources in a cluster: the operator reads a log or metadata, and Jobs the rows of commits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import storage_server
from cluster.control_plane import ControlPlane
from cluster_story import Story, story
from eventually import eventually
from ice_table import IceTable
from lake_table import LakeTable

pytestmark = pytest.mark.slow
VIEW = {
    "entity": {"name": "level", "joinKeys": [{"name": "level", "type": "string"}]},
    "timestampField": "at",
    "features": [{"name": "n", "type": "int64", "column": "n"}],
}


@pytest.fixture
def it(controllers: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[Story]:
    with story(controllers, namespace, tmp_path) as told:
        yield told


def numbers(it: Story) -> list[object]:
    """What readers find of each level."""
    entities = [{"level": level} for level in ("info", "warning", "error")]
    return list(it.reader().get_features(["things:n"], entities).to_dict()["n"])


def test_each_commit_of_a_table_is_taken_once_though_a_job_is_killed(it: Story) -> None:
    table = LakeTable(it.folder / "lake")
    it.apply(it.store(), it.pipeline(source=table.source()), it.view(**VIEW))
    it.start()
    it.until("datapipeline", "events", "WaitingForFiles")
    table.append(1, 2)
    it.until("featureview", "things", "UpToDate", rows=2)

    it.node.paused = True
    table.append(3, level="warning")
    eventually(lambda: len(it.node.ran) == 2, 60, it.told)
    table.append(4, level="error")
    table.optimize()
    it.node.kill()
    it.node.resume()
    it.until("featureview", "things", "UpToDate", rows=4)
    it.until("datapipeline", "events", "UpToDate", rows=4)
    assert numbers(it) == [2, 3, 4]
    assert len(it.node.ran) > len(set(it.batches())), "the one that was killed ran anew"


def test_each_snapshot_of_a_table_in_a_bucket_is_taken_once_with_keys_from_a_secret(
    it: Story, tmp_path: Path
) -> None:
    with storage_server.buckets(tmp_path / "s3", "lake") as environ:
        table = IceTable(tmp_path / "catalog" / "lake", uri="s3://lake/events", environ=environ)
        it.secret("lake", **environ)
        source = table.source(secretRef={"name": "lake"})
        it.apply(it.store(), it.pipeline(source=source), it.view(**VIEW))
        it.start()
        it.until("datapipeline", "events", "WaitingForFiles")
        table.append(1, 2)
        it.until("featureview", "things", "UpToDate", rows=2)
        table.append(3, level="warning")
        table.append(4, level="error")
        it.until("featureview", "things", "UpToDate", rows=4)
        it.until("datapipeline", "events", "UpToDate", rows=4)
        assert numbers(it) == [2, 3, 4]
