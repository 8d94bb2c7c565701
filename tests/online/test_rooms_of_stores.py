"""An online store is a room and a field of the spec: nothing else has to know it."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import made_up_store
import pytest

from featurestore.errors import Conflict, SpecError
from featurestore.online.backends import open_online
from featurestore.online.index import open_index
from featurestore.online.layout import Form
from featurestore.online.publish import publish
from featurestore.protocol import PublishRequest
from featurestore.resources.feature_store import FeatureStoreSpec, Online

MakeView = Callable[..., Any]
MakeRow = Callable[..., Any]
SUM = {"function": "Sum", "column": "x", "windows": ["1d"]}
FEATURES = [
    {"name": "x", "type": "int64", "column": "x"},
    {"name": "total", "type": "int64", "aggregate": SUM},
]


@pytest.mark.parametrize("field", Online.model_fields)
def test_each_field_of_the_spec_names_a_room_that_opens_its_store(field: str) -> None:
    index, store = (import_module(f"featurestore.online.{field}.{name}") for name in ("index", "store"))
    assert callable(index.open_index)
    assert callable(store.open_store)


def test_a_store_of_an_unknown_room_holds_what_the_join_says(
    monkeypatch: pytest.MonkeyPatch, view_in: MakeView, row: MakeRow
) -> None:
    things = view_in(None, FEATURES)
    made_up_store.register(monkeypatch)
    spec = made_up_store.spec_with_memory(things.storage.root)
    online, index = open_online(things.storage, spec), open_index(things.storage, spec)

    def bring_up(now_us: int) -> None:
        request = PublishRequest(
            root=things.storage.root,
            view="things",
            digest=things.digest,
            to_version=things.version,
            commit=1,
        )
        publish(things.storage, online, request, Form.of(things.spec), now_us)

    things._online = online
    keys = [("a",), ("b",), ("c",)]
    things.add(row(("a",), 1, {"x": 1}), row(("b",), 2, {"x": 2}, at=(1, 0, 1)))
    bring_up(3)
    things.add(row(("a",), 4, {"x": 4}, at=(2, 0, 0)), row(("c",), 5, {"x": 5}, at=(2, 0, 1)))
    things.remove(lambda each: each.keys == ("b",))
    bring_up(6)
    held = index.version("things", things.digest)
    assert held is not None
    assert (held.version, held.entities) == (things.version, 2)
    assert things.read_of_the_store(keys, 7) == things.join(keys, [7])[0]
    late = online.publication("things", things.digest, Form.of(things.spec), things.version, 1 << 30)
    index.delete("things", things.digest)
    with pytest.raises(Conflict):
        late.finish()
    assert index.version("things", things.digest) is None


def spec(**redis: object) -> FeatureStoreSpec:
    return FeatureStoreSpec.model_validate({"offline": {"uri": "s3://x/y"}, "online": {"redis": redis}})


def test_a_redis_is_where_its_url_says(view_in: MakeView) -> None:
    index = open_index(view_in(None).storage, spec(url="redis://redis:6379/1"))
    assert index.address == "redis://redis:6379/1"


def test_a_managed_redis_outside_of_its_cluster_is_an_error_that_names_what_works_there(
    view_in: MakeView,
) -> None:
    with pytest.raises(SpecError, match=r"On a laptop, use \{duckdb: \{\}\}"):
        open_index(view_in(None).storage, spec(managed={}))
