"""What an online store says of itself, to whoever decides what is to be done."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import storage_server

from featurestore.errors import SpecError, StorageError
from featurestore.online.index import open_index
from featurestore.online.versions import OnlineVersion
from featurestore.resources import FeatureStore
from featurestore.storage.objects import Storage

MakeView = Callable[..., Any]
MakeRow = Callable[..., Any]
WITHOUT_ENGINE = """
import sys
from featurestore.online.index import open_index
from featurestore.registry.registry import Registry
from featurestore.storage.objects import Storage
_, root, view, digest = sys.argv
storage = Storage(root)
index = open_index(storage, Registry(storage).store().spec)
print(index.version(view, digest), index.version(view, "another"), bool(index.instance_id()))
index.delete(view, digest)
print(index.version(view, digest))
print(sorted({"polars", "pyarrow", "duckdb", "deltalake", "numpy", "pandas"} & set(sys.modules)))
"""


def _store(url: str) -> Any:
    value = {
        "metadata": {"name": "s"},
        "spec": {"offline": {"uri": "/srv"}, "online": {"redis": {"url": url}}},
    }
    return FeatureStore.model_validate(value).spec


@pytest.mark.new_process
def test_what_is_held_is_told_and_forgotten_without_a_data_engine(view: MakeView, row: MakeRow) -> None:
    things = view()
    things.add(row(("a",), 1, {"x": 1}), row(("b",), 2, {"x": 2}))
    things.publish(5)
    arguments = [things.storage.root, things.name, things.digest]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_ENGINE, *arguments], capture_output=True, text=True, check=True
    )
    held = OnlineVersion(version=things.version, entities=2)
    assert done.stdout.splitlines() == [f"{held} None True", "None", "[]"]
    with pytest.raises(StorageError):
        things.read([("a",)], 10)


def test_forgetting_one_build_leaves_the_others(view: MakeView, row: MakeRow) -> None:
    things = view()
    things.add(row(("a",), 1, {"x": 1}))
    things.publish(5)
    things.online.index.delete(things.name, "another")
    things.online.index.delete("other", things.digest)
    assert things.read([("a",)], 10)["x"] == [(1, "PRESENT")]


def test_the_embedded_store_is_the_same_for_ever(view_in: MakeView) -> None:
    one, other = view_in(None), view_in(None)
    index = one.online.index
    assert index.instance_id() == index.instance_id()
    assert index.instance_id() != other.online.index.instance_id()


def test_the_embedded_store_does_not_answer_if_storage_does_not(s3_server: str, view_in: MakeView) -> None:
    index = open_index(Storage("s3://no-such-bucket/root"), view_in(None).store.spec)
    with pytest.raises(StorageError):
        index.instance_id()


def test_a_redis_that_started_anew_is_another_one(tmp_path: Path) -> None:
    def servers() -> set[str]:
        with storage_server.redis(tmp_path) as url:
            return {open_index(Storage(str(tmp_path)), _store(url)).instance_id() for _ in range(2)}

    first, second = servers(), servers()
    assert len(first) == len(second) == 1
    assert not first & second


def test_a_redis_that_is_away_does_not_answer(tmp_path: Path) -> None:
    with storage_server.redis(tmp_path) as url:
        index = open_index(Storage(str(tmp_path)), _store(url))
        index.instance_id()
    with pytest.raises(StorageError, match="the online store did not answer"):
        index.instance_id()


def test_each_redis_is_asked_with_the_password_that_is_given_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_PASSWORD", "stranger")
    storage = Storage(str(tmp_path))
    for password in ("one", "other"):
        with storage_server.redis(tmp_path, password=password) as url:
            index = open_index(storage, _store(url), {"REDIS_PASSWORD": password})
            assert index.version("v", "d") is None
            for environ in (None, {}, {"REDIS_PASSWORD": "wrong"}):
                with pytest.raises(StorageError):
                    open_index(storage, _store(url), environ).version("v", "d")


def test_a_managed_redis_has_no_place_outside_of_its_cluster(tmp_path: Path) -> None:
    value = {
        "metadata": {"name": "s"},
        "spec": {"offline": {"uri": "/srv"}, "online": {"redis": {"managed": {}}}},
    }
    with pytest.raises(SpecError, match="reachable only inside its cluster"):
        open_index(Storage(str(tmp_path)), FeatureStore.model_validate(value).spec)
