"""docs/adding-a-kind.md is true in a cluster: a real API server and an operator with the row of that page, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cluster_story
import made_up_kind
import pytest
import yaml
from cluster.access import KubectlError
from cluster.control_plane import ControlPlane
from cluster.fixtures import apply_crds, namespace_of
from cluster_story import Object, Story, story
from eventually import eventually

from featurestore.resources.crd import definition
from featurestore.resources.kinds import API_VERSION, ResourceKind
from featurestore.storage.objects import Storage
from featurestore_operator.kube.api_resources import ApiResource

# The program makes a kind known before anything reads which there are: a process that has imported all is too late.
pytestmark = [pytest.mark.slow, pytest.mark.new_process]
OPERATOR = f"""
import sys
sys.path.append({str(Path(made_up_kind.__file__).parent)!r})
import made_up_kind
made_up_kind.register()
from featurestore_operator.__main__ import main
sys.exit(main())
"""


@pytest.fixture(scope="module")
def kind() -> ResourceKind:
    return made_up_kind.made_up_kind()


@pytest.fixture(scope="module")
def it(
    controllers: ControlPlane, kind: ResourceKind, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("list")
    definitions = folder / "crds"
    definitions.mkdir()
    (definitions / "lists.yaml").write_text(yaml.safe_dump(definition(kind)))
    apply_crds(controllers, definitions)
    try:
        with (
            pytest.MonkeyPatch.context() as patch,
            namespace_of(controllers) as namespace,
            story(controllers, namespace, folder) as told,
        ):
            resource = ApiResource(API_VERSION, kind.name, kind.plural)
            patch.setitem(cluster_story.RESOURCES, "featurelist", resource)
            told.start(program=("-c", OPERATOR))
            yield told
    finally:
        controllers.kubectl("delete", "-f", str(definitions))


def features(it: Story, *names: str, view: str = "things") -> Object:
    spec = {"features": [f"{view}:{name}" for name in names]}
    metadata = {"name": "favorites", "namespace": it.namespace}
    return {"apiVersion": API_VERSION, "kind": "FeatureList", "metadata": metadata, "spec": spec}


def test_it_waits_for_what_it_names_and_is_ready_once_that_is_there(it: Story) -> None:
    it.apply(features(it, "v"))
    it.until("featurelist", "favorites", "StoreMissing")
    it.apply(it.store())
    missing = it.until("featurelist", "favorites", "ResourceMissing")
    assert missing["message"] == "It refers to resources that do not exist: view 'things'."
    it.apply(it.pipeline(), it.view())
    it.until("featurelist", "favorites", "UpToDate")
    digest = it.get("featurelist", "favorites")["status"]["acceptedDigest"]
    assert Storage(it.root).find(f"registry/lists/favorites/{digest}.json") is not None


def test_the_definition_refuses_what_the_model_refuses(it: Story) -> None:
    with pytest.raises(KubectlError, match=r"spec\.features\[0\]: Invalid value"):
        it.apply(features(it, "not a feature"))


def test_it_notices_that_what_it_names_is_deleted(it: Story) -> None:
    it.apply(it.store(), it.pipeline(), it.view(), features(it, "v"))
    it.until("featurelist", "favorites", "UpToDate")
    it.delete("featureview", "things")
    it.until("featurelist", "favorites", "ResourceMissing")


def test_one_that_is_deleted_is_accepted_no_more(it: Story) -> None:
    it.apply(it.store(), features(it, "v"))
    storage = Storage(it.root)
    eventually(lambda: storage.find("registry/lists/favorites/current.json") is not None)
    it.delete("featurelist", "favorites")
    eventually(lambda: storage.find("registry/lists/favorites/current.json") is None)
