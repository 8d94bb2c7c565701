"""A small project: two views with rows, accepted and served as a run leaves them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from featurestore.arrivals.ledger import Ledger
from featurestore.client.connection import Store
from featurestore.online.publish import run_publish
from featurestore.protocol import PublishRequest
from featurestore.registry.project import open_project
from featurestore.registry.registry import Registry
from featurestore.resources import FeatureStore, FeatureView
from featurestore.resources.outputs import build_digest
from featurestore.storage import paths
from featurestore.storage.delta import Table
from featurestore.storage.objects import Storage
from featurestore.views.builds import ActiveBuild, BuildResult, promote, read_build, record_build
from featurestore.views.schema import view_schema
from featurestore_transforms.tables.data_files import describe

SECOND = 1_000_000
DELAYS = {
    "entity": {"name": "aircraft", "joinKeys": [{"name": "tailnum", "type": "string"}]},
    "source": {"pipeline": "flights"},
    "timestampField": "at",
    "ttl": "1h",
    "online": {"enabled": "Never"},
    "features": [
        {"name": "delay", "type": "int64", "column": "delay"},
        {"name": "note", "type": "string", "column": "note"},
        {
            "name": "flights",
            "type": "int64",
            "aggregate": {"function": "Count", "column": "delay", "windows": ["1d"]},
        },
    ],
}
ROUTES = {
    "entity": {
        "name": "route",
        "joinKeys": [{"name": "origin", "type": "string"}, {"name": "number", "type": "int32"}],
    },
    "source": {"pipeline": "flights"},
    "timestampField": "at",
    "online": {"enabled": "Never"},
    "features": [{"name": "delay", "type": "float64", "column": "delay"}],
}


@dataclass
class Clock:
    """Time goes on only when somebody sleeps; ``then`` is what happens meanwhile."""

    us: int = 0
    then: list[Any] = field(default_factory=list)

    def now_us(self) -> int:
        return self.us

    def sleep(self, seconds: float) -> None:
        self.us += round(seconds * SECOND)
        if self.then:
            self.then.pop(0)()


@dataclass
class Place:
    """A storage root, and what a run would do in it."""

    root: Path
    clock: Clock

    @property
    def storage(self) -> Storage:
        return Storage(str(self.root))

    def accept(self, name: str, spec: Mapping[str, Any]) -> str:
        view = {"kind": "FeatureView", "metadata": {"name": name}, "spec": spec}
        return Registry(self.storage).accept(FeatureView.model_validate(view))

    def build(
        self, name: str, rows: Sequence[Mapping[str, Any]], source_version: int, watermark_us: int | None
    ) -> ActiveBuild:
        """One more commit of the accepted definition's build, not yet served."""
        accepted = Registry(self.storage).current(FeatureView, name)
        assert accepted is not None
        spec = accepted.resource.spec
        digest = build_digest(spec, Ledger(self.storage, spec.source.pipeline).uid())
        path, schema = paths.features(name, digest), view_schema(spec)
        table = Table.create(self.storage, path, schema)
        number = table.committed(digest) + 1
        file = f"{number}.parquet"
        content = pa.Table.from_pylist([dict(row) for row in rows], schema)
        pq.write_table(content, self.storage.uri(f"{path}/{file}"))
        add = [describe(self.storage, path, file)]
        table = table.commit(app_id=digest, number=number, add=add, metadata={})
        result = BuildResult(
            view=name,
            digest=digest,
            source_version=source_version,
            version=table.version,
            rows=len(rows),
            rows_quarantined=0,
            watermark_us=watermark_us,
            finished_us=0,
        )
        record_build(self.storage, result)
        return ActiveBuild(digest, accepted.digest)

    def serve(self, name: str, *build: Any) -> None:
        promote(self.storage, name, self.build(name, *build))

    def publish(self, name: str) -> None:
        """Bring the online store up to all that the accepted definition's build holds."""
        accepted = Registry(self.storage).current(FeatureView, name)
        assert accepted is not None
        spec = accepted.resource.spec
        digest = build_digest(spec, Ledger(self.storage, spec.source.pipeline).uid())
        build = read_build(self.storage, name, digest)
        assert build is not None
        request = PublishRequest(
            root=self.storage.root,
            view=name,
            digest=digest,
            to_version=build.version,
            commit=build.source_version,
        )
        run_publish(self.storage, request, self.clock.us)

    def promote(self, name: str) -> None:
        """Serve the accepted definition."""
        accepted = Registry(self.storage).current(FeatureView, name)
        assert accepted is not None
        spec = accepted.resource.spec
        digest = build_digest(spec, Ledger(self.storage, spec.source.pipeline).uid())
        promote(self.storage, name, ActiveBuild(digest, accepted.digest))

    def publish_always(self, name: str, **changes: Any) -> None:
        """Accept the view with ``online: Always`` (and changes that keep its build), publish it, serve it."""
        accepted = Registry(self.storage).current(FeatureView, name)
        assert accepted is not None
        spec = accepted.resource.spec.model_dump(mode="json", by_alias=True)
        self.accept(name, {**spec, "online": {"enabled": "Always"}, **changes})
        self.publish(name)
        self.promote(name)

    def connect(self) -> Store:
        project = open_project(self.root, {}, Path("/"))
        return Store(project, clock_us=self.clock.now_us, sleep=self.clock.sleep)


def row(event_s: int, place: int, **values: Any) -> dict[str, Any]:
    system = {"__batch": 1, "__file": 0, "__row": place}
    return {"event_timestamp": event_s * SECOND, "created_timestamp": event_s * SECOND, **system, **values}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A store in which the views ``delays`` and ``routes`` serve."""
    store = {
        "kind": "FeatureStore",
        "metadata": {"name": "default"},
        "spec": {"offline": {"uri": str(tmp_path)}},
    }
    Registry(Storage(str(tmp_path))).accept(FeatureStore.model_validate(store))
    here = Place(tmp_path, Clock())
    here.accept("delays", DELAYS)
    here.accept("routes", ROUTES)
    delays = [
        row(1000, 0, tailnum="N1", delay=2**53 + 1, note="é", __in_flights=True),
        row(2000, 1, tailnum="N1", delay=None, note=None, __in_flights=None),
        row(1000, 2, tailnum="N2", delay=-7, note="", __in_flights=True),
    ]
    here.serve("delays", delays, 3, 2000 * SECOND)
    here.serve("routes", [row(500, 0, origin="JFK", number=7, delay=0.5)], 3, 500 * SECOND)
    return here


@pytest.fixture(params=["duckdb", "redis"])
def online(request: pytest.FixtureRequest, place: Any) -> Any:
    """The place with both views published at second 2100, once in each kind of online store."""
    if request.param == "redis":
        url = request.getfixturevalue("redis_url")
        spec = {"offline": {"uri": str(place.root)}, "online": {"redis": {"url": url}}}
        store = {"kind": "FeatureStore", "metadata": {"name": "default"}, "spec": spec}
        Registry(place.storage).accept(FeatureStore.model_validate(store))
    place.clock.us = 2100 * SECOND
    for name in ("delays", "routes"):
        place.publish_always(name)
    return place
