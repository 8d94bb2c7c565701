"""What is a Redis Cluster's own: slots that move, masters that are emptied, replaced or hang."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cluster.binaries import MissingError
from eventually import eventually
from feature_server import make_project, serving_features
from redis_cluster import SLOTS, Cluster, ClusterNode, cluster
from unavailable import unavailable

from featurestore.client.connection import connect
from featurestore.errors import StorageError
from featurestore.online.layout import Form
from featurestore.online.redis.build_keys import BuildKeys, slot_of
from featurestore.online.redis.cluster_client import RedisCluster
from featurestore.online.redis.index import RedisIndex
from featurestore.online.redis.store import RedisStore

MakeView = Callable[..., Any]
MakeRow = Callable[..., Any]
KEYS = [f"k{n}" for n in range(300)]


@pytest.fixture
def things(cluster_url: str, view_in: MakeView, row: MakeRow) -> Any:
    """A published view with an entity for each of ``KEYS``, of all parts."""
    return published(view_in(cluster_url), row)


@pytest.fixture(scope="module")
def replicated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three masters with a replica each, of which one follows within some seconds."""
    try:
        with cluster(tmp_path_factory.mktemp("replicated"), replicas=True, node_timeout_ms=1000) as started:
            yield started
    except MissingError as missing:
        unavailable(missing)


def published(things: Any, row: MakeRow, value: int = 1) -> Any:
    rows = [row((key,), value, {"x": value}, at=(things.commits + 1, 0, n)) for n, key in enumerate(KEYS)]
    things.add(*rows)
    assert things.publish(5).entities == len(KEYS)
    return things


def values(things: Any, *keys: str) -> list[Any]:
    return [value for value, _ in things.read([(key,) for key in keys], 10)["x"]]


def keys_at(things: Any, node: ClusterNode, nodes: Cluster) -> list[str]:
    """The entities whose values a master was given."""
    names = BuildKeys.spread(things.name, things.digest).names([key.encode() for key in KEYS])
    return [key for key, name in zip(KEYS, names, strict=True) if nodes.owner(slot_of(name)) is node]


def test_a_part_has_all_its_keys_in_one_slot_and_parts_are_spread_evenly() -> None:
    for digest in ("0a1b", "ffff", "another"):
        keys = BuildKeys.spread("flights", digest)
        slots = []
        for part in keys.parts:
            names = part.held, part.publisher, part.owner, part.prefix + b"a{b}c", part.prefix
            assert len({slot_of(name) for name in names}) == 1
            slots.append(slot_of(part.held))
        assert [slot * len(keys.parts) // SLOTS for slot in slots] == list(range(len(keys.parts)))


def test_each_master_has_its_share_of_the_values(things: Any, redis_cluster: Cluster) -> None:
    shares = [len(keys_at(things, node, redis_cluster)) for node in redis_cluster.masters]
    for node, share in zip(redis_cluster.masters, shares, strict=True):
        assert len(list(node.client.scan_iter("{*k*"))) == share
        assert share > len(KEYS) // 5


def test_what_a_master_lost_is_an_error_for_its_readers_until_it_is_published_again(
    things: Any, redis_cluster: Cluster
) -> None:
    emptied, *others = redis_cluster.masters
    emptied.client.flushall()
    for key in keys_at(things, emptied, redis_cluster)[:5]:
        with pytest.raises(StorageError, match="does not hold the view 'things'"):
            values(things, key)
    with pytest.raises(StorageError, match="does not hold"):
        values(things, *KEYS)
    kept = keys_at(things, others[0], redis_cluster)
    assert values(things, *kept) == [1] * len(kept)
    assert things.online.index.version(things.name, things.digest) is None
    assert things.publish(6).entities == len(KEYS)
    assert values(things, *KEYS) == [1] * len(KEYS)


def test_another_set_of_masters_is_another_store(redis_cluster: Cluster) -> None:
    identity = RedisIndex(RedisCluster(redis_cluster.url)).instance_id()
    runs = [node.client.info("server")["run_id"] for node in redis_cluster.masters]
    assert sorted(identity.split()) == sorted(runs)


def test_a_cluster_that_is_away_is_an_error_that_a_retry_may_cure(view_in: MakeView) -> None:
    store = RedisStore(RedisCluster("redis+cluster://user:hidden@127.0.0.1:1,127.0.0.1:2"))
    for call in (
        lambda: store.index.version("v", "d"),
        lambda: store.index.delete("v", "d"),
        lambda: store.index.instance_id(),
        lambda: store.publication("v", "d", Form.of(view_in(None).spec), 1, 1 << 30),
    ):
        with pytest.raises(StorageError, match="did not answer") as raised:
            call()
        assert raised.value.retryable
        assert "hidden" not in str(raised.value)


class Move:
    """A slot with its keys, from the master that has it to the next."""

    def __init__(self, nodes: Cluster, slot: int) -> None:
        self.nodes, self.slot = nodes, slot
        self.source = nodes.owner(slot)
        self.target = nodes.masters[(nodes.masters.index(self.source) + 1) % len(nodes.masters)]

    def begin(self) -> None:
        self.target.client.execute_command("CLUSTER SETSLOT", self.slot, "IMPORTING", self.source.id)
        self.source.client.execute_command("CLUSTER SETSLOT", self.slot, "MIGRATING", self.target.id)

    def move(self, begins: str = "") -> None:
        """The keys whose names begin so."""
        names = self.source.client.execute_command("CLUSTER GETKEYSINSLOT", self.slot, 1 << 20)
        for name in names:
            if not name.startswith(begins):
                continue
            self.source.client.execute_command("MIGRATE", "127.0.0.1", self.target.port, name, 0, 5000)

    def end(self) -> None:
        for node in (self.target, self.source, *self.nodes.masters):
            node.client.execute_command("CLUSTER SETSLOT", self.slot, "NODE", self.target.id)

    def back(self) -> None:
        """Have the slot where it was."""
        self.source, self.target = self.target, self.source
        self.begin()
        self.move()
        self.end()


@pytest.fixture
def move(things: Any, redis_cluster: Cluster) -> Iterator[Move]:
    """Of the slot that has ``k0``."""
    [name] = BuildKeys.spread(things.name, things.digest).names([b"k0"])
    made = Move(redis_cluster, slot_of(name))
    yield made
    made.move()
    made.end()
    made.back()


def test_reads_go_on_while_a_slot_is_moved(things: Any, move: Move) -> None:
    unknown = [f"unknown {n}" for n in range(200)]
    wanted = [1] * len(KEYS) + [None] * len(unknown)
    move.begin()
    assert values(things, *KEYS, *unknown) == wanted
    for begins in ("fs:", "{", ""):
        move.move(begins)
        assert values(things, *KEYS, *unknown) == wanted
    move.end()
    assert values(things, *KEYS, *unknown) == wanted


def test_a_publication_that_meets_a_moving_slot_ends_in_time_and_the_next_one_goes_on_from_there(
    things: Any, move: Move, row: MakeRow
) -> None:
    things._online = RedisStore(RedisCluster(things.store.spec.online.redis.url, timeout_s=1))
    move.begin()
    move.move("fs-publisher:")
    things.add(*(row((key,), 2, {"x": 2}, at=(2, 0, n)) for n, key in enumerate([*KEYS, "new"])))
    began = time.monotonic()
    with pytest.raises(StorageError, match="did not answer"):
        RedisStore(RedisCluster(things.store.spec.online.redis.url, timeout_s=1)).publication(
            things.name, things.digest, Form.of(things.spec), 2, 1 << 30
        )
    assert time.monotonic() - began < 30
    assert set(values(things, *KEYS)) == {1}
    move.move()
    move.end()
    assert things.publish(6).entities == len(KEYS) + 1
    assert values(things, *KEYS, "new") == [2] * (len(KEYS) + 1)


def test_keys_that_were_listed_while_a_slot_moved_are_not_taken_for_all(things: Any, move: Move) -> None:
    redis = RedisCluster(things.store.spec.online.redis.url)
    listed = redis.scan(b"{*")
    next(listed)
    move.begin()
    with pytest.raises(StorageError, match="moved while its keys were listed"):
        for _ in listed:
            pass


class Load:
    """Reads all keys over and over in a thread, and counts what came."""

    def __init__(self, things: Any, allowed: set[int]) -> None:
        self.things, self.allowed = things, allowed
        self.answers, self.errors, self.slowest_s = 0, 0, 0.0
        self.wrong: list[Any] = []
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join()

    def more(self, answers: int = 3) -> None:
        """Return when so many more reads were answered."""
        wanted = self.answers + answers
        eventually(lambda: self.answers >= wanted, 60)

    def _run(self) -> None:
        store = RedisStore(RedisCluster(self.things.store.spec.online.redis.url, timeout_s=1))
        reader = store.reader([self.things.query()])
        keys = [key.encode() for key in KEYS]
        # Without a pause it takes a processor for itself, and finds no more.
        while not self._ends.wait(0.01):
            began = time.monotonic()
            try:
                [read] = reader.read([keys], 10)
            except StorageError:
                self.errors += 1
            else:
                found = read.columns["x"].to_list()
                self.wrong += [value for value in found if value not in self.allowed]
                self.answers += 1
            self.slowest_s = max(self.slowest_s, time.monotonic() - began)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "hung"])
def test_when_a_master_is_lost_under_load_no_value_is_wrong_and_its_replica_goes_on(
    number: signal.Signals, replicated: Cluster, view_in: MakeView, row: MakeRow
) -> None:
    lost = replicated.masters[0 if number == signal.SIGKILL else 1]
    things = published(view_in(replicated.url, name=f"view-{number.name.lower()}"), row)
    stale = RedisStore(RedisCluster(replicated.url, timeout_s=1)).reader([things.query()], allow_stale=True)
    keys = [[key.encode() for key in KEYS]]
    before = stale.read(keys, 10)[0].columns["x"].to_list()
    follower = replicated.replicas[replicated.masters.index(lost)]
    eventually(lambda: _offset(follower, "slave_repl_offset") >= _offset(lost, "master_repl_offset"))
    with Load(things, {1, 2}) as load:
        load.more()
        lost.server.signal(number)
        [answered] = stale.read(keys, 10)
        assert answered.columns["x"].to_list() == before
        load.more()
        things._online = None
        published_again(things, row)
        load.more()
    if number == signal.SIGSTOP:
        lost.server.signal(signal.SIGCONT)
    assert load.wrong == []
    assert load.slowest_s < 30
    assert set(values(things, *KEYS)) == {2}


def _offset(node: ClusterNode, name: str) -> int:
    return int(node.client.info("replication")[name])


def published_again(things: Any, row: MakeRow) -> None:
    """Commit value 2 for all, and publish until it is done: a publication may meet the loss."""
    things.add(*(row((key,), 2, {"x": 2}, at=(2, 0, n)) for n, key in enumerate(KEYS)))

    def done() -> bool:
        try:
            return bool(things.publish(6).entities == len(KEYS))
        except StorageError:
            return False

    eventually(done, 60)


def test_awaited_reads_answer_what_the_others_do(things: Any) -> None:
    reader = things.online.reader([things.query(), things.query()])
    keys = [[key.encode() for key in KEYS], [b"k1", None, b"unknown"]]

    async def awaited() -> Any:
        try:
            return await reader.read_async(keys, 10)
        finally:
            await reader.aclose()

    one, two = (
        [(list(it.columns["x"].statuses), it.columns["x"].to_list(), it.version) for it in read]
        for read in (reader.read(keys, 10), asyncio.run(awaited()))
    )
    assert one == two
    assert one[1][1:] == ([1, None, None], 1)


def test_the_feature_server_answers_from_a_cluster(cluster_url: str, tmp_path: Path) -> None:
    project = make_project(tmp_path / "project", count=200, online=f"{{redis: {{url: '{cluster_url}'}}}}")
    names = ["N1", "N2", "nobody", *(f"E{n}" for n in range(200))]
    features = ["aircraft-delays", "routes:delay", "delay-share"]
    entities = {"tailnum": names, "number": [1] * len(names), "minutes": [2.0] * len(names)}
    expected = connect(project).get_features(features, entities, full_feature_names=True)
    with (
        serving_features(project, tmp_path / "log", "--workers", "2") as server,
        ThreadPoolExecutor(8) as threads,
    ):
        answers = list(
            threads.map(
                lambda _: server.read(features, entities, statuses=True, full_feature_names=True), range(24)
            )
        )
    given = expected.to_arrow().drop_columns(["tailnum", "number", "minutes"])
    for answer in answers:
        assert answer["rows"] == len(names)
        assert answer["statuses"] == {
            name: [it.name for it in column] for name, column in expected.statuses().items()
        }
        for name in ("aircraft-delays__delay", "aircraft-delays__note", "delay-share__share"):
            assert answer["features"][name] == given[name].to_pylist()
    assert answers[0]["features"]["aircraft-delays__delay"][:3] == [2**53 + 1, None, None]
