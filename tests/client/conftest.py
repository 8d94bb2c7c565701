"""A small project: two views with rows, accepted and served as a run leaves them."""

from __future__ import annotations

import shutil
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


def use(root: Path, **more: Any) -> None:
    """Accept the default store in that folder. ``more``: of its spec."""
    spec = {"offline": {"uri": str(root)}, **more}
    store = {"kind": "FeatureStore", "metadata": {"name": "default"}, "spec": spec}
    Registry(Storage(str(root))).accept(FeatureStore.model_validate(store))


def copied(root: Path, to: Path) -> Place:
    """A storage root names no file by its folder, but the store: a copy of one that was made once is as good."""
    shutil.copytree(root, to, dirs_exist_ok=True)
    use(to)
    return Place(to, Clock())


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A storage root in which the views ``delays`` and ``routes`` serve."""
    root = tmp_path_factory.mktemp("served")
    use(root)
    here = Place(root, Clock())
    here.accept("delays", DELAYS)
    here.accept("routes", ROUTES)
    delays = [
        row(1000, 0, tailnum="N1", delay=2**53 + 1, note="é", __in_flights=True),
        row(2000, 1, tailnum="N1", delay=None, note=None, __in_flights=None),
        row(1000, 2, tailnum="N2", delay=-7, note="", __in_flights=True),
    ]
    here.serve("delays", delays, 3, 2000 * SECOND)
    here.serve("routes", [row(500, 0, origin="JFK", number=7, delay=0.5)], 3, 500 * SECOND)
    return root


@pytest.fixture(scope="session")
def in_duckdb(served: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Such a root, with both views published at second 2100."""
    here = copied(served, tmp_path_factory.mktemp("in_duckdb"))
    publish_both(here)
    return here.root


@pytest.fixture(scope="session")
def in_redis(
    served: Path, redis_server: str, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[bytes, bytes]]:
    """Such a root, with both views published to Redis; and what Redis has of them, which is empty again."""
    import redis

    here = copied(served, tmp_path_factory.mktemp("in_redis"))
    use(here.root, online={"redis": {"url": f"{redis_server}/0"}})
    with redis.Redis.from_url(f"{redis_server}/0") as client:
        client.flushall()
        publish_both(here)
        values = {key: client.dump(key) for key in client.scan_iter()}
        assert all(client.ttl(key) == -1 for key in values)
        client.flushall()
    return here.root, values


def publish_both(place: Place) -> None:
    place.clock.us = 2100 * SECOND
    for name in ("delays", "routes"):
        place.publish_always(name)


@pytest.fixture
def place(served: Path, tmp_path: Path) -> Place:
    """A store in which the views ``delays`` and ``routes`` serve."""
    return copied(served, tmp_path)


@pytest.fixture(params=["duckdb", "redis"])
def online(request: pytest.FixtureRequest, place: Place) -> Place:
    """The place with both views published at second 2100, once in each kind of online store."""
    return request.getfixturevalue(f"online_in_{request.param}")  # type: ignore[no-any-return]


@pytest.fixture
def online_in_duckdb(place: Place, in_duckdb: Path) -> Place:
    copied(in_duckdb, place.root)
    place.clock.us = 2100 * SECOND
    return place


@pytest.fixture
def online_in_redis(place: Place, in_redis: tuple[Path, dict[bytes, bytes]], redis_url: str) -> Place:
    root, values = in_redis
    copied(root, place.root)
    use(place.root, online={"redis": {"url": redis_url}})
    restore(redis_url, values)
    place.clock.us = 2100 * SECOND
    return place


def restore(url: str, values: Mapping[bytes, bytes]) -> None:
    import redis

    with redis.Redis.from_url(url) as client, client.pipeline() as pipeline:
        for key, value in values.items():
            pipeline.restore(key, 0, value)
        pipeline.execute()
