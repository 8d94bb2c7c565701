"""Views whose rows come and go as tests like, in both online stores, beside the join that says what is right.

What is read online is read in all ways that programs have (:mod:`online_client`), which never differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle, product
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cluster.binaries import MissingError
from eventually import eventually
from examples import examples, exhaustive
from online_client import WAYS, OnlineClient, Read
from redis_cluster import Cluster, cluster
from unavailable import unavailable

from featurestore.arrivals.ledger import Ledger
from featurestore.errors import StorageError
from featurestore.offline.join import Times, point_in_time
from featurestore.online.backends import OnlineStore, open_online
from featurestore.online.entity_keys import key_texts
from featurestore.online.publish import run_publish
from featurestore.online.reading import Keys, OnlineQuery, OnlineReader, OnlineValues
from featurestore.protocol import PublishRequest
from featurestore.registry.registry import Registry
from featurestore.resources import FeatureStore, FeatureView
from featurestore.resources.feature_view import FeatureViewSpec
from featurestore.resources.outputs import build_digest, outputs
from featurestore.storage import paths
from featurestore.storage.delta import Table
from featurestore.storage.objects import Storage
from featurestore.views.builds import ActiveBuild, PublishResult, promote
from featurestore.views.feature_query import FeatureQuery, FeatureValues
from featurestore.views.schema import arrow_type, view_schema
from featurestore.views.value_column import ArrowColumn, event_time_column
from featurestore.views.value_status import Status
from featurestore_transforms.tables.data_files import describe

Answer = dict[str, list[tuple[Any, str]]]
X = {"name": "x", "type": "int64", "column": "x"}
FEW, MANY, ENOUGH = 1, 30, 100
"""An entity is asked for so often: readers answer few in another way than many. So many entities are many by themselves."""


@dataclass(frozen=True)
class Row:
    """A row of a view's table; times in microseconds."""

    keys: tuple[Any, ...]
    event: int
    values: Mapping[str, Any]
    created: int = 0
    at: tuple[int, int, int] = (1, 0, 0)


@dataclass
class View:
    """A view with its table and its store. Times are in microseconds.

    ``in_every_way``: whether each read is tried in every way; else each in the next one.
    """

    in_every_way: ClassVar[bool] = exhaustive()
    name: str
    spec: FeatureViewSpec
    digest: str
    spec_digest: str
    storage: Storage
    store: FeatureStore
    commits: int = 0
    files: dict[str, list[Row]] = field(default_factory=dict)
    _online: OnlineStore | None = None
    _client: OnlineClient | None = None
    _ways: Iterator[tuple[str, int]] = field(default_factory=lambda: cycle(product(WAYS, (FEW, MANY))))

    @property
    def online(self) -> OnlineStore:
        """As a reader keeps it: open for the life of its process."""
        if self._online is None:
            self._online = open_online(self.storage, self.store.spec)
        return self._online

    @property
    def path(self) -> str:
        return paths.features(self.name, self.digest)

    @property
    def rows(self) -> list[Row]:
        return [row for rows in self.files.values() for row in rows]

    def add(self, *rows: Row) -> int:
        """Commit the rows as one more data file; the table's version after it."""
        return self._commit({self._next(): list(rows)}, [])

    def add_table(self, columns: Mapping[str, Any]) -> int:
        """Commit so many rows as one more data file that they are given as columns; they are not among ``rows``."""
        count = len(next(iter(columns.values())))
        own = {"created_timestamp": 0, "__batch": self.commits + 1, "__file": 0}
        system = {name: np.full(count, value) for name, value in own.items()}
        data = {**system, "__row": np.arange(count), **columns}
        schema = view_schema(self.spec)
        table = pa.table({field.name: pa.array(data[field.name], field.type) for field in schema}, schema)
        name = self._next()
        Table.create(self.storage, self.path, schema)
        pq.write_table(table, self.storage.uri(f"{self.path}/{name}"))
        return self._commit({}, [], [name])

    def remove(self, gone: Callable[[Row], bool]) -> int:
        """Commit all data files that have such rows anew, without them."""
        hit = [name for name, rows in self.files.items() if any(map(gone, rows))]
        kept = {f"{self._next()}-{n}": [r for r in self.files[n] if not gone(r)] for n in hit}
        return self._commit(kept, hit)

    def compact(self) -> int:
        """Commit all rows in one data file; no row changes."""
        return self._commit({self._next(): list(reversed(self.rows))}, list(self.files))

    def publish(self, now: int, to_version: int | None = None) -> PublishResult:
        request = PublishRequest(
            root=self.storage.root,
            view=self.name,
            digest=self.digest,
            to_version=self.version if to_version is None else to_version,
            commit=1,
        )
        return run_publish(self.storage, request, now)

    @property
    def version(self) -> int:
        return Table.create(self.storage, self.path, view_schema(self.spec)).version

    def keys(self, keys: Sequence[tuple[Any, ...]]) -> pa.Table:
        return pa.table(
            {
                key.name: pa.array([each[n] for each in keys], arrow_type(key.type))
                for n, key in enumerate(self.spec.entity.join_keys)
            }
        )

    def query(self, names: Sequence[str] | None = None) -> OnlineQuery:
        asked = [output for output in outputs(self.spec) if names is None or output.name in names]
        return OnlineQuery(self.name, self.spec, self.digest, tuple(asked))

    def read(self, keys: Sequence[tuple[Any, ...]], now: int, names: Sequence[str] | None = None) -> Answer:
        """Output name to the value and status of each entity, online: one by one, and as one of many.

        What is asked so of the store itself is asked in the ways of programs, too.
        """
        try:
            shown, commits = self._of_the_store(keys, now, names)
        except StorageError:
            self._refuse_in_other_ways(keys, now, names)
            raise
        times = [time for time, _ in shown["event time"]]
        columns = {name: column for name, column in shown.items() if name != "event time"}
        wanted = {
            name: [(*value, time) for value, time in zip(column, times, strict=True)]
            for name, column in columns.items()
        }
        for way, often in self._next_ways():
            often = often if len(keys) < ENOUGH else FEW
            answered = self._read_in(way, list(keys) * often, now, names)
            assert answered.commits == commits
            for name, column in wanted.items():
                assert repr(answered.values[name]) == repr(column * often), (way, often, name)
            assert answered.values.keys() == wanted.keys()
        return shown

    def await_newest(self, key: tuple[Any, ...], now: int) -> None:
        """Wait until reads are of what was published last: while a large generation is loaded, the one before is read."""
        eventually(lambda: self._of_the_store([key], now, None)[1] == {self.name: self.version})
        for way in WAYS:
            eventually(
                lambda way=way: self._read_in(way, [key], now, None).commits == {self.name: self.version}
            )

    def read_of_the_store(self, keys: Sequence[tuple[Any, ...]], now: int) -> Answer:
        """The same of the store itself alone, which programs need not know."""
        return self._of_the_store(keys, now, None)[0]

    def _of_the_store(
        self, keys: Sequence[tuple[Any, ...]], now: int, names: Sequence[str] | None
    ) -> tuple[Answer, dict[str, int]]:
        texts = key_texts(self.keys(keys)).to_pylist()
        reader = self.online.reader([self.query(names)])
        few, *many = [
            self._read(reader, texts * n, len(keys), now)
            for n in ((FEW, MANY) if len(keys) < ENOUGH else (FEW,))
        ]
        assert {repr(few)} >= set(map(repr, many))
        return few

    def _read(self, reader: OnlineReader, texts: Keys, rows: int, now: int) -> tuple[Answer, dict[str, int]]:
        [values] = reader.read([texts], now)
        return self.shown_online(values, rows), {self.name: values.version}

    def _next_ways(self) -> Sequence[tuple[str, int]]:
        return list(product(WAYS, (FEW, MANY))) if self.in_every_way else [next(self._ways)]

    def _read_in(
        self, way: str, keys: Sequence[tuple[Any, ...]], now: int, names: Sequence[str] | None
    ) -> Read:
        if self._client is None:
            promote(self.storage, self.name, ActiveBuild(self.digest, self.spec_digest))
            self._client = OnlineClient(self.storage.root)
        self._client.now_us = now
        kinds = dict(self.query(names).kinds)
        return self._client.read(way, [f"{self.name}:{name}" for name in kinds], kinds, self.keys(keys))

    def _refuse_in_other_ways(
        self, keys: Sequence[tuple[Any, ...]], now: int, names: Sequence[str] | None
    ) -> None:
        for way, _ in self._next_ways():
            with pytest.raises(StorageError):
                self._read_in(way, keys, now, names)

    def join(self, keys: Sequence[tuple[Any, ...]], times: Sequence[int]) -> list[Answer]:
        """The same from the offline store, for each of the times."""
        asked = [key for _ in times for key in keys]
        at = Times(np.repeat(np.array(times, np.int64), len(keys)), np.ones(len(asked), np.bool_))
        query = FeatureQuery(self.name, self.spec, self.digest, outputs(self.spec), self.keys(asked))
        shown = self.shown(point_in_time(self.storage, query, at))
        starts = range(0, len(asked), len(keys))
        return [{name: each[start : start + len(keys)] for name, each in shown.items()} for start in starts]

    def shown(self, looked: FeatureValues) -> Answer:
        kinds = {output.name: output.type for output in outputs(self.spec)}
        columns = {
            name: ArrowColumn(kinds[name], column, looked.statuses[name])
            for name, column in looked.columns.items()
        }
        return self.shown_online(OnlineValues(columns, event_time_column(looked), 0), len(looked.event_times))

    def shown_online(self, values: OnlineValues, rows: int) -> Answer:
        """Of the first rows; all forms of the values are the same."""
        types = {output.name: arrow_type(output.type) for output in outputs(self.spec)}
        shown: Answer = {"event time": [(time, "") for time in values.event_times.to_list()[:rows]]}
        for name, column in values.columns.items():
            listed, arrow = column.to_list(), column.to_arrow()
            assert arrow.type == types[name]
            assert repr(ArrowColumn(column.kind, arrow, column.statuses).to_list()) == repr(listed)
            statuses = [Status(code) for code in column.statuses]
            assert [value is None for value in listed] == [it != Status.PRESENT for it in statuses]
            shown[name] = list(zip(listed, map(str, statuses), strict=True))[:rows]
        return shown

    def _next(self) -> str:
        return f"{self.commits + 1}.parquet"

    def _commit(
        self, add: Mapping[str, list[Row]], remove: Sequence[str], written: Sequence[str] = ()
    ) -> int:
        self.commits += 1
        schema = view_schema(self.spec)
        table = Table.create(self.storage, self.path, schema)
        for name, rows in add.items():
            content = pa.Table.from_pylist([self._record(row) for row in rows], schema=schema)
            pq.write_table(content, self.storage.uri(f"{self.path}/{name}"))
        gone = [file for file in table.files() if file.path in remove]
        added = [describe(self.storage, self.path, name) for name in (*add, *written)]
        after = table.commit(app_id=self.digest, number=self.commits, add=added, remove=gone, metadata={})
        for name in remove:
            del self.files[name]
        self.files |= add
        return after.version

    def _record(self, row: Row) -> dict[str, Any]:
        keys = [key.name for key in self.spec.entity.join_keys]
        return {
            **dict(zip(keys, row.keys, strict=True)),
            "event_timestamp": row.event,
            "created_timestamp": row.created,
            **dict(zip(("__batch", "__file", "__row"), row.at, strict=True)),
            **row.values,
        }


MakeView = Callable[..., View]


@pytest.fixture(scope="session")
def view_in(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., View]:
    """``view_in(redis_url or None, features, keys={name: type}, ttl=…)``: a view in a storage root of its own."""

    def make(
        url: str | None,
        features: Sequence[Mapping[str, Any]] = (X,),
        keys: Mapping[str, str] | None = None,
        ttl: str | None = None,
        name: str = "things",
        root: Path | None = None,
    ) -> View:
        storage = Storage(str(root or tmp_path_factory.mktemp("store")))
        online = {"duckdb": {}} if url is None else {"redis": {"url": url}}
        store = FeatureStore.model_validate(
            {
                "kind": "FeatureStore",
                "metadata": {"name": "default"},
                "spec": {"offline": {"uri": storage.root}, "online": online},
            }
        )
        join_keys = [{"name": k, "type": t} for k, t in (keys or {"k": "string"}).items()]
        spec = {
            "entity": {"name": "thing", "joinKeys": join_keys},
            "source": {"pipeline": "p"},
            "timestampField": "ts",
            "ttl": ttl,
            "features": list(features),
        }
        resource = FeatureView.model_validate(
            # Tests here compare by themselves.
            {
                "kind": "FeatureView",
                "metadata": {"name": name},
                "spec": {"online": {"sampleEntities": 0}, **spec},
            }
        )
        registry = Registry(storage)
        registry.accept(store)
        spec_digest = registry.accept(resource)
        digest = build_digest(resource.spec, Ledger(storage, "p").uid())
        return View(name, resource.spec, digest, spec_digest, storage, store)

    return make


@pytest.fixture(scope="session")
def redis_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three masters without replicas. Slots stay where they are."""
    try:
        with cluster(tmp_path_factory.mktemp("cluster")) as started:
            yield started
    except MissingError as missing:
        unavailable(missing)


@pytest.fixture
def cluster_url(redis_cluster: Cluster) -> str:
    """URL of a Redis Cluster, empty at the start of each test."""
    redis_cluster.empty()
    return redis_cluster.url


@pytest.fixture(params=["duckdb", "redis", "cluster"])
def online_url(request: pytest.FixtureRequest) -> str | None:
    """None for the embedded store, else the URL of an empty Redis, or Redis Cluster."""
    return None if request.param == "duckdb" else str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
def view(online_url: str | None, view_in: Callable[..., View]) -> MakeView:
    """``view(features, keys=…, ttl=…)``: a view without rows, once in each kind of online store."""
    return lambda *args, **kwargs: view_in(online_url, *args, **kwargs)


@pytest.fixture
def in_every_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each read of the test is tried in every way; of a Redis Cluster, and with the lowest libraries, if everything is."""
    is_first = "[cluster" not in request.node.name and examples(100) > 10
    monkeypatch.setattr(View, "in_every_way", exhaustive() or is_first)


@pytest.fixture(scope="session")
def row() -> type[Row]:
    return Row
