"""A newer version takes over where an older one stopped, and the other way round: objects stay valid, nothing is done twice.

No older version was ever released. It is made here from today's definitions, without fields of ``spec`` that may be
left out; the operator is today's, under another name and with another image for its Jobs.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from cluster.control_plane import ControlPlane
from cluster.fixtures import CRDS, apply_crds, namespace_of
from cluster_story import Story, story
from eventually import eventually
from examples import exhaustive
from older_version import write_older_definitions

from featurestore.storage import paths
from featurestore.storage.delta import Table
from featurestore.storage.objects import Storage

pytestmark = pytest.mark.slow

ROWS = {"k": ["a", "b"], "ts": ["2024-01-01T00:00:00", "2024-01-01T01:00:00"], "v": [1, 2]}
MORE = {"k": ["a"], "ts": ["2024-01-02T00:00:00"], "v": [3]}


@pytest.fixture
def it(controllers: ControlPlane, tmp_path: Path) -> Iterator[Story]:
    """A story that begins with the older definitions."""
    write_older_definitions(tmp_path / "older")
    (tmp_path / "it").mkdir()
    try:
        apply_crds(controllers, tmp_path / "older")
        with namespace_of(controllers) as namespace, story(controllers, namespace, tmp_path / "it") as told:
            yield told
    finally:
        apply_crds(controllers)


def under_way(it: Story) -> None:
    """Files come, and return while the Job that took the first of them runs; others come that no Job has taken."""
    it.node.paused = True
    known = len(it.jobs())
    it.next()
    eventually(lambda: len(it.jobs()) > known and len(it.node.ran) > known, 60)
    it.next()


def dataset(it: Story) -> list[tuple[str, int]]:
    """All rows of the dataset, and how often each is there."""
    table = Table.open(Storage(it.root), paths.dataset("events"))
    assert table is not None
    return sorted(pl.read_parquet(table.uris()).select("k", "v").rows())


def as_given(it: Story) -> list[tuple[int, dict[str, Any]]]:
    """Generation and stored spec of all objects."""
    kinds = {"featurestore": "default", "datapipeline": "events", "featureview": "things"}
    found = [it.get(kind, name) for kind, name in kinds.items()]
    return [(one["metadata"]["generation"], one["status"]) for one in found]


def online(it: Story) -> object:
    return it.reader().get_features(["things:v"], [{"k": "a"}, {"k": "b"}]).to_dict()["v"]


def image(job: dict[str, Any]) -> str:
    [container] = job["spec"]["template"]["spec"]["containers"]
    return str(container["image"])


def test_a_newer_version_takes_over_while_a_job_waits_and_nothing_is_done_twice(it: Story) -> None:
    given = (it.store(), it.pipeline(), it.view())
    it.apply(*given)
    before = it.start("--job-image=job:1", user="before")
    it.until("datapipeline", "events", "WaitingForFiles")
    it.drop("1.parquet", ROWS)
    it.until("featureview", "things", "UpToDate", rows=2)
    built = it.get("featureview", "things")["status"]["build"]
    # The view is there before its Job has ended, and the Job's end is told once.
    eventually(lambda: all("ttlSecondsAfterFinished" in job["spec"] for job in it.jobs()))
    it.node.stuck = True
    it.drop("2.parquet", MORE)
    eventually(lambda: len(it.jobs()) == 2)
    it.until("datapipeline", "events", "Waiting", "Progressing")
    eventually(before.at_rest)
    before.server.stop()
    stood, jobs = as_given(it), {job["metadata"]["uid"] for job in it.jobs()}

    apply_crds(it.plane)
    it.apply(*given)
    assert as_given(it) == stood, "what was valid is, and applying it again changes nothing"
    since = it.plane.audit.mark()
    after = it.start("--job-image=job:2", user="after")
    eventually(after.at_rest)
    assert as_given(it) == stood, "nothing is accepted anew, built again, or said in other words"
    written = {(one.verb, one.resource) for one in it.plane.audit.writes("after", since)}
    # Beside the store stands what the newer version wants there: applied once, the same or not.
    assert written <= {("patch", "configmaps")}

    it.node.stuck = False
    eventually(lambda: online(it) == [3, 2], 60)
    it.until("featureview", "things", "UpToDate", rows=3)
    assert {job["metadata"]["uid"] for job in it.jobs()} == jobs
    assert {image(job) for job in it.jobs()} == {"job:1"}
    assert len(it.node.ran) == 2
    status = it.get("featureview", "things")["status"]
    assert (status["build"], status["rows"]) == (built, 3)

    it.apply(it.pipeline(job={"activeDeadline": "2h"}, deletionPolicy="Retain"))
    it.drop("3.parquet", {"k": ["b"], "ts": ["2024-01-03T00:00:00"], "v": [4]})
    eventually(lambda: online(it) == [3, 4], 60)
    it.until("featureview", "things", "UpToDate", rows=4)
    [newest] = [job for job in it.jobs() if job["metadata"]["uid"] not in jobs]
    assert (image(newest), newest["spec"]["activeDeadlineSeconds"]) == ("job:2", 7260)
    assert it.get("featureview", "things")["status"]["build"] == built


def test_rows_that_come_while_versions_go_forth_and_back_are_each_there_once(
    it: Story, tmp_path: Path
) -> None:
    it.apply(it.store(), it.pipeline(), it.view())
    operator = it.start("--job-image=job:1", user="before")
    it.until("datapipeline", "events", "WaitingForFiles")
    for turn in range(sample_of_turns()):
        for version, definitions in (("after", CRDS), ("before", tmp_path / "older")):
            under_way(it)
            operator.server.stop()
            it.next()
            apply_crds(it.plane, definitions)
            it.next()
            image_name = "job:2" if version == "after" else "job:1"
            operator = it.start(f"--job-image={image_name}", user=f"{version}-{turn}")
            it.node.resume()
            if version == "after":
                # What only the newer version knows is lost on the way back, and no row with it.
                it.apply(it.pipeline(job={"activeDeadline": "2h"}), it.view(tags={"team": "growth"}))
            it.settle()
            assert {image(job) for job in it.jobs()} == {"job:1", "job:2"}
            assert dataset(it) == [("a", number) for number in range(1, it.files + 1)]
    assert "job" not in it.get("datapipeline", "events")["spec"]


def sample_of_turns() -> int:
    """How often both ways are gone: once in `make test`."""
    return 3 if exhaustive() else 1
