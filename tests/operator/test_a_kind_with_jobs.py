"""docs/adding-a-kind-with-jobs.md is true in a cluster: a copy of the product with its files and rows alone makes it by Jobs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import cluster_story
import pytest
from cluster.control_plane import ControlPlane
from cluster.fixtures import apply_crds, namespace_of
from cluster_story import LOOK_S, Story, story
from eventually import eventually
from kind_with_jobs import copy_with_kind

from featurestore.resources.kinds import API_VERSION
from featurestore.storage.objects import Storage
from featurestore_operator.kube.api_resources import ApiResource

# The program makes a kind known before anything reads which there are: a process that has imported all is too late.
pytestmark = [pytest.mark.slow, pytest.mark.new_process]
WITHIN_S = 120.0
OPERATOR = """
import sys
sys.path[:0] = {paths!r}
from featurestore_operator.__main__ import main
sys.exit(main())
"""


@pytest.fixture(scope="module")
def it(controllers: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("copy")
    paths = [str(path) for path in copy_with_kind(folder)]
    definition = folder / "crds" / "rowcounts.yaml"
    definition.parent.mkdir()
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    subprocess.run(
        [sys.executable, "-m", "featurestore.resources.crd", "crds"], cwd=folder, env=environ, check=True
    )
    for other in definition.parent.iterdir():
        if other != definition:
            other.unlink()
    apply_crds(controllers, definition.parent)
    try:
        with (
            pytest.MonkeyPatch.context() as patch,
            namespace_of(controllers) as namespace,
            story(controllers, namespace, folder) as told,
        ):
            patch.setitem(
                cluster_story.RESOURCES, "rowcount", ApiResource(API_VERSION, "RowCount", "rowcounts")
            )
            told.node.environ["PYTHONPATH"] = environ["PYTHONPATH"]
            told.start(program=("-c", OPERATOR.format(paths=paths)))
            yield told
    finally:
        controllers.kubectl("delete", "-f", str(definition))


def test_jobs_make_it_for_each_new_commit_and_its_data_goes_with_it(it: Story) -> None:
    spec = {"view": "things", "deletionPolicy": "Delete"}
    counted = {"apiVersion": API_VERSION, "kind": "RowCount", "metadata": {"name": "counted"}, "spec": spec}
    it.apply(it.store(), it.pipeline(), it.view(), counted)
    assert "no rows yet" in it.until("rowcount", "counted", "WaitingForData")["message"]
    for number in (1, 2):
        it.next()
        eventually(
            lambda: it.get("rowcount", "counted").get("status", {}).get("counts") == number,  # noqa: B023
            WITHIN_S,
            it.told,
            each_s=LOOK_S,
        )
        assert it.get("rowcount", "counted")["status"]["rows"] == number
    it.until("rowcount", "counted", "UpToDate")
    labels = [job["metadata"]["labels"].get("featurestore.dev/rowcount") for job in it.jobs()]
    assert "counted" in labels
    assert len(Storage(it.root).names("rowcounts/counted/counts")) == 2
    it.delete("rowcount", "counted")
    eventually(lambda: not it.is_there("rowcount", "counted"), WITHIN_S, it.told, each_s=LOOK_S)
    assert Storage(it.root).names("rowcounts/counted") == []
