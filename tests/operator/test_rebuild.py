"""History that an annotation asks to be run again: once for each new value, whatever happens to operators."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl
import pytest
from api_fault import Kill
from cluster.control_plane import ControlPlane
from cluster.fixtures import namespace_of
from cluster.proxy import proxy
from cluster_story import LOOK_S, Object, Story, story
from eventually import eventually
from operating import Operator

from featurestore.storage import paths
from featurestore.storage.delta import Table
from featurestore.storage.objects import Storage
from featurestore_operator.controllers.rebuild_request import REBUILD
from featurestore_operator.kube.api_resources import VIEW_LABEL

pytestmark = pytest.mark.slow
WITHIN_S = 120.0


@pytest.fixture(scope="module")
def told(controllers: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """One story for all tests: each finds all settled, and an operator that runs."""
    with (
        namespace_of(controllers) as namespace,
        story(controllers, namespace, tmp_path_factory.mktemp("rebuild")) as it,
    ):
        it.apply(it.store(), it.pipeline(), it.view())
        it.next()
        it.start()
        it.settle()
        it.next()
        yield it


@pytest.fixture
def it(told: Story) -> Story:
    told.node.resume()
    told.settle()
    return told


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
