"""Accepted resources: written before the pointer to them, readable by digest for ever."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from featurestore.errors import NotFound, SpecError, StorageError
from featurestore.registry.registry import Accepted, Registry, document, resource_digest
from featurestore.resources import DataPipeline, FeatureStore, FeatureView
from featurestore.resources.outputs import build_digest
from featurestore.storage import paths
from featurestore.storage.objects import Storage


def store(**spec: Any) -> FeatureStore:
    return FeatureStore.model_validate(
        {"metadata": {"name": "default"}, "spec": {"offline": {"uri": "data"}, **spec}}
    )


def pipeline(name: str = "flights", **spec: Any) -> DataPipeline:
    source = {"uri": "raw/*.parquet", "format": "Parquet"}
    return DataPipeline.model_validate({"metadata": {"name": name}, "spec": {"source": source, **spec}})


def view(name: str = "delays", **spec: Any) -> FeatureView:
    return FeatureView.model_validate(
        {
            "metadata": {"name": name},
            "spec": {
                "entity": {"name": "aircraft", "joinKeys": [{"name": "tailnum", "type": "string"}]},
                "source": {"pipeline": "flights"},
                "timestampField": "arrived_at",
                "features": [{"name": "delay", "type": "float64", "column": "delay"}],
                **spec,
            },
        }
    )


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(str(tmp_path))


@pytest.fixture
def registry(storage: Storage) -> Registry:
    return Registry(storage)


def files(folder: Path) -> dict[str, tuple[int, bytes]]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in found}


def test_what_was_accepted_is_read_back(registry: Registry) -> None:
    digest = registry.accept(pipeline(owner="ops"))
    assert registry.current(DataPipeline, "flights") == Accepted(digest, pipeline(owner="ops"))
    assert registry.get(DataPipeline, "flights", digest) == pipeline(owner="ops")
    assert registry.names(DataPipeline) == ["flights"]


def test_nothing_is_there_before_the_first(registry: Registry) -> None:
    assert registry.store() is None
    assert registry.current(FeatureView, "delays") is None
    assert registry.names(DataPipeline) == []
    assert registry.all(DataPipeline) == {}
    assert registry.all(FeatureView) == {}


def test_accepting_the_same_thing_twice_writes_nothing(registry: Registry, tmp_path: Path) -> None:
    for resource in (store(), pipeline(), view()):
        registry.accept(resource)
    before = files(tmp_path)
    for resource in (store(), pipeline(), view()):
        registry.accept(resource)
    assert files(tmp_path) == before


def test_a_changed_resource_has_another_digest_and_the_old_one_stays_readable(registry: Registry) -> None:
    old = registry.accept(view())
    new = registry.accept(view(ttl="7d"))
    assert old != new
    assert registry.get(FeatureView, "delays", old) == view()
    assert registry.all(FeatureView) == {"delays": Accepted(new, view(ttl="7d"))}


def test_going_back_to_an_old_definition_gives_its_digest_again(registry: Registry) -> None:
    old = registry.accept(view())
    registry.accept(view(ttl="7d"))
    assert registry.accept(view()) == old
    current = registry.current(FeatureView, "delays")
    assert current is not None
    assert current.resource == view()


def test_what_a_cluster_adds_changes_no_digest_of_those_who_do_not_use_it() -> None:
    said = document(pipeline())["spec"]
    assert said == {"source": {"uri": "raw/*.parquet", "format": "Parquet"}}
    plain = {"job": {"template": {"labels": {}}, "activeDeadline": "1h"}, "deletionPolicy": "Retain"}
    assert resource_digest(pipeline(**plain)) == resource_digest(pipeline())
    assert resource_digest(view(deletionPolicy="Retain")) == resource_digest(view())


def test_a_build_does_not_depend_on_what_only_a_cluster_uses() -> None:
    cluster = view(deletionPolicy="Delete", resources={"memory": "1Gi", "memoryLimit": "2Gi"})
    assert build_digest(cluster.spec, "uid") == build_digest(view().spec, "uid")


def test_how_jobs_are_started_is_stored_and_read_back_as_it_was_said(registry: Registry) -> None:
    job = {"template": {"cpu": "500m", "affinity": {"podAffinity": {"x": [1, None, {"y": True}]}}}}
    accepted = pipeline(job=job)
    assert document(accepted)["spec"]["job"] == job
    registry.accept(accepted)
    found = registry.current(DataPipeline, "flights")
    assert found is not None
    assert found.resource == accepted


def test_a_removed_resource_is_current_no_more_but_found_by_digest(registry: Registry) -> None:
    digest = registry.accept(pipeline())
    registry.remove(DataPipeline, "flights")
    assert registry.current(DataPipeline, "flights") is None
    assert registry.names(DataPipeline) == []
    assert registry.all(DataPipeline) == {}
    assert registry.get(DataPipeline, "flights", digest) == pipeline()
    registry.remove(DataPipeline, "flights")


def test_the_resource_is_written_before_the_pointer_to_it(registry: Registry, storage: Storage) -> None:
    digest = resource_digest(pipeline())
    storage.put_if_absent(paths.accepted("pipelines", "flights", digest), b"{}")
    storage.delete(paths.accepted("pipelines", "flights", digest))
    registry.accept(pipeline())
    assert json.loads(storage.read(paths.pointer("pipelines", "flights"))) == {"digest": digest}
    assert storage.find(paths.accepted("pipelines", "flights", digest)) is not None


def test_the_store_is_the_one_of_its_root(registry: Registry) -> None:
    registry.accept(store())
    registry.accept(store(online={"redis": {"url": "redis://redis:6379/0"}}))
    assert registry.store() == store(online={"redis": {"url": "redis://redis:6379/0"}})


def test_defaults_do_not_make_a_digest() -> None:
    assert resource_digest(pipeline()) == resource_digest(pipeline(suspend="Active", schemaPolicy={}))
    assert resource_digest(pipeline()) != resource_digest(pipeline(suspend="Suspended"))


def test_what_kubernetes_adds_does_not_make_a_digest() -> None:
    metadata = {"name": "flights", "namespace": "prod", "annotations": {"kubectl": "x"}}
    marked = DataPipeline.model_validate({"metadata": metadata, "spec": document(pipeline())["spec"]})
    assert resource_digest(marked) == resource_digest(pipeline())


def test_the_stored_bytes_have_the_digest_that_names_them(registry: Registry, storage: Storage) -> None:
    from featurestore.digest import digest

    named = registry.accept(pipeline(tags={"stage": "test"}))
    assert digest(json.loads(storage.read(paths.accepted("pipelines", "flights", named)))) == named


def test_a_pointer_that_is_nonsense_is_an_error_and_not_nothing(registry: Registry, storage: Storage) -> None:
    storage.replace(paths.pointer("views", "delays"), b"[]")
    with pytest.raises(StorageError, match="the pointer to an accepted resource cannot be read"):
        registry.current(FeatureView, "delays")


def test_a_resource_of_a_later_version_is_an_error_that_says_so(registry: Registry, storage: Storage) -> None:
    later = {**document(pipeline()), "spec": {**document(pipeline())["spec"], "newField": 1}}
    storage.replace(paths.accepted("pipelines", "flights", "abc"), json.dumps(later).encode())
    with pytest.raises(SpecError, match=r"cannot be read by this version.*newField"):
        registry.get(DataPipeline, "flights", "abc")


def test_a_digest_that_never_was_lists_what_there_is(registry: Registry) -> None:
    registry.accept(pipeline())
    with pytest.raises(
        NotFound, match=r"no DataPipeline 'flight' has the digest abc.*Did you mean 'flights'"
    ):
        registry.get(DataPipeline, "flight", "abc")
