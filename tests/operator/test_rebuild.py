"""History that an annotation asks to be run again: once for each new value, whatever happens to operators."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl
import pytest
from api_fault import Kill
from cluster.control_plane import ControlPlane
from cluster.proxy import proxy
from cluster_story import LOOK_S, Object, Story, begun_story
from eventually import eventually
from operating import Operator, samples

from featurestore.storage import paths
from featurestore.storage.delta import Table
from featurestore.storage.objects import Storage
from featurestore_operator.controllers.rebuild_request import REBUILD
from featurestore_operator.jobs.job_manifest import REBUILD_LABEL
from featurestore_operator.kube.api_resources import VIEW_LABEL

pytestmark = pytest.mark.slow
WITHIN_S = 120.0


@pytest.fixture(scope="module")
def shared(controllers: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """One story for all tests: each finds all settled, and an operator that runs."""
    with begun_story(controllers, tmp_path_factory.mktemp("rebuild")) as begun:
        begun.settle()
        begun.next()
        yield begun


@pytest.fixture
def it(shared: Story) -> Story:
    shared.node.resume()
    shared.settle()
    return shared


def annotate(it: Story, kind: str, name: str, value: str) -> None:
    it.plane.kubectl("annotate", "-n", it.namespace, kind, name, "--overwrite", f"{REBUILD}={value}")


def rebuilt(it: Story, kind: str, name: str) -> Object:
    found: Object = it.get(kind, name).get("status", {}).get("rebuild", {})
    return found


def await_promoted(it: Story, kind: str, name: str, value: str) -> None:
    eventually(lambda: rebuilt(it, kind, name).get("promoted") == value, WITHIN_S, it.told, each_s=LOOK_S)


def view_jobs(it: Story) -> list[str]:
    return sorted(job["metadata"]["name"] for job in it.jobs() if VIEW_LABEL in job["metadata"]["labels"])


def spoil(it: Story) -> None:
    """The build that serves has other values than its dataset, as after a fault of the software."""
    build = it.get("featureview", "things")["status"]["build"]
    table = Table.open(Storage(it.root), paths.features("things", build))
    assert table is not None
    for uri in table.uris():
        spoiled = pl.read_parquet(uri).with_columns(pl.col("v") + 100)
        spoiled.write_parquet(uri)


def value_then(it: Story) -> object:
    """What readers find of ``a``, of training."""
    frame = pl.DataFrame({"k": ["a"], "event_timestamp": ["2030-01-01T00:00:00Z"]})
    return it.reader().get_features(["things:v"], frame).to_dict()["v"][0]


def left(it: Story) -> list[float]:
    """Pieces of rebuilds that are to be run, as the last operator's metrics tell."""
    return samples(it.operators[-1].get("/metrics")[1], "rebuild_left")


def start_killed(it: Story, plane: ControlPlane, *, unheard: bool) -> None:
    """An operator that is killed as it starts its first Job. ``unheard``: the Job is there then."""
    started: list[Operator] = []
    fault = Kill(lambda: started[0].server.pid, lambda call: call.what == "POST jobs", unheard=unheard)
    with proxy(plane, f"{it.namespace}-{len(it.operators)}") as way:
        way.begin(fault)
        started.append(it.start(by=way, wait=False))
        eventually(fault.done.is_set, WITHIN_S, it.told, each_s=LOOK_S)


def test_each_new_value_rebuilds_a_view_once_and_the_next_operator_finds_it_done(it: Story) -> None:
    spoil(it)
    assert value_then(it) == it.files + 100
    annotate(it, "featureview", "things", "one")
    await_promoted(it, "featureview", "things", "one")
    it.settle()
    assert value_then(it) == it.files
    status = it.get("featureview", "things")["status"]
    assert status["rebuild"]["build"] == status["build"]
    assert it.condition("featureview", "things", "Rebuilt")["status"] == "True"
    ran = len(it.node.ran)
    it.operators[-1].server.kill()
    it.start()
    annotate(it, "featureview", "things", "one")
    it.rest()
    assert len(it.node.ran) == ran
    assert rebuilt(it, "featureview", "things") == status["rebuild"]


def test_what_serves_goes_on_with_new_files_while_it_is_rebuilt(it: Story) -> None:
    before = len(it.node.ran)
    it.node.paused = True
    annotate(it, "featureview", "things", "two")
    eventually(lambda: len(it.node.ran) == before + 1, WITHIN_S, it.told, each_s=LOOK_S)
    it.node.paused = False
    it.next()
    it.settle()
    assert "promoted" not in rebuilt(it, "featureview", "things")
    assert it.condition("featureview", "things", "Rebuilt")["reason"] == "Building"
    eventually(lambda: 1 in left(it))
    it.node.resume()
    await_promoted(it, "featureview", "things", "two")
    it.settle()
    assert value_then(it) == it.files


def test_operators_that_are_killed_around_the_start_of_its_job_leave_it_to_the_next_one(
    it: Story, controllers: ControlPlane
) -> None:
    it.operators[-1].server.kill()
    before = view_jobs(it)
    annotate(it, "featureview", "things", "three")
    for unheard in (False, True):
        start_killed(it, controllers, unheard=unheard)
    it.start()
    await_promoted(it, "featureview", "things", "three")
    it.settle()
    assert value_then(it) == it.files
    assert len(set(view_jobs(it)) - set(before)) == 1


TENFOLD = {"transforms": [{"derive": {"columns": {"w": "v * 10"}}}]}
"""What history does not have until it is run again."""


def dataset(it: Story) -> list[tuple[int, int | None]]:
    """``v`` and ``w`` of all rows."""
    table = Table.open(Storage(it.root), paths.dataset("events"))
    assert table is not None
    rows = pl.concat([pl.read_parquet(uri) for uri in table.uris()], how="diagonal").to_dicts()
    return sorted((row["v"], row.get("w")) for row in rows)


def rebuild_jobs(it: Story) -> list[str]:
    return sorted(job["metadata"]["name"] for job in it.jobs() if REBUILD_LABEL in job["metadata"]["labels"])


def test_history_is_run_again_under_the_newest_spec_whatever_operators_die_and_views_follow(
    it: Story, controllers: ControlPlane
) -> None:
    it.apply(it.pipeline(**TENFOLD))
    it.next()
    it.settle()
    assert [w for v, w in dataset(it) if v < it.files] == [None] * (it.files - 1)
    it.operators[-1].server.kill()
    annotate(it, "datapipeline", "events", "one")
    for unheard in (False, True):
        start_killed(it, controllers, unheard=unheard)
    it.start()
    await_promoted(it, "datapipeline", "events", "one")
    it.settle()
    assert dataset(it) == [(v, 10 * v) for v in range(1, it.files + 1)]
    assert value_then(it) == it.files
    assert it.condition("datapipeline", "events", "Rebuilt")["reason"] == "UpToDate"
    eventually(lambda: set(left(it)) == {0})
    found = rebuilt(it, "datapipeline", "events")
    assert found["pieces"] == found["piecesDone"]
    # A Job a piece, and one that promotes.
    assert len(rebuild_jobs(it)) == found["pieces"] + 1
    annotate(it, "datapipeline", "events", "one")
    it.rest()
    assert len(rebuild_jobs(it)) == found["pieces"] + 1


def test_a_rebuild_whose_files_are_gone_is_refused_with_their_names_and_the_pipeline_goes_on(
    it: Story,
) -> None:
    it.apply(it.pipeline(**TENFOLD))
    source = it.folder / "raw" / "events" / "1.parquet"
    away = source.rename(it.folder / "1.parquet")
    annotate(it, "datapipeline", "events", "two")
    it.until("datapipeline", "events", "Failed", "Rebuilt", words=("1.parquet (batch 1, file 0): is gone",))
    before = rebuild_jobs(it)
    it.next()
    it.settle()
    assert rebuild_jobs(it) == before
    away.rename(source)
    annotate(it, "datapipeline", "events", "three")
    await_promoted(it, "datapipeline", "events", "three")
    it.settle()
    assert dataset(it) == [(v, 10 * v) for v in range(1, it.files + 1)]
