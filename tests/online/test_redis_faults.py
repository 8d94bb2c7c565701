"""A Redis that is slow, cut off, emptied, full or killed: readers get right values or an error, and the error in time."""

from __future__ import annotations

import asyncio
import http.client
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import storage_server
from cluster.binaries import MissingError, installed
from eventually import eventually
from faulty_link import FaultyLink, faulty_link
from feature_server import FeatureServer, make_project, serving_features
from server import Server, accepts, free_port
from unavailable import unavailable

from featurestore.errors import StorageError
from featurestore.online.redis.opening import open_redis

MakeView = Callable[..., Any]
MakeRow = Callable[..., Any]
Read = Callable[[int], list[Any]]
MANY = 20_001
"""Entities of a read that asks Redis three times."""
SOON_S = 0.4
"""A deadline that no answer of a faulty link meets."""


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2].partition("/")[0])


@pytest.fixture
def link(redis_url: str) -> Iterator[FaultyLink]:
    with faulty_link(port_of(redis_url)) as made:
        yield made


@pytest.fixture
def client(redis_url: str) -> Iterator[Any]:
    with redis.Redis.from_url(redis_url) as made:
        yield made


@pytest.fixture
def things(link: FaultyLink, view_in: MakeView, row: MakeRow) -> Any:
    """A published view with the entity ``a``, over the link."""
    made = view_in(f"redis://127.0.0.1:{link.port}/0")
    made.add(row(("a",), 1, {"x": 1}))
    made.publish(5)
    return made


def read_by(kind: str, reader: Any) -> Read:
    """``read(n)``: the values of ``a``, asked for n times in one read."""

    async def awaited(entities: int) -> Any:
        try:
            return await reader.read_async([[b"a"] * entities], 10)
        finally:
            await reader.aclose()

    def read(entities: int = 1) -> list[Any]:
        keys = [[b"a"] * entities]
        [values] = reader.read(keys, 10) if kind == "sync" else asyncio.run(awaited(entities))
        return list(values.columns["x"].to_list())

    return read


@pytest.fixture(params=["sync", "awaited"])
def reading(request: pytest.FixtureRequest, things: Any) -> Callable[..., Read]:
    """``reading(timeout_s)``: how a reader of ``things`` reads."""
    return lambda *args, **more: read_by(request.param, things.online.reader([things.query()], *args, **more))


def right(read: Read, entities: int = 1, wanted: int = 1) -> None:
    """It answers again, and never anything else meanwhile."""

    def answers() -> bool:
        try:
            values = read(entities)
        except StorageError:
            return False
        assert values == [wanted] * entities
        return True

    eventually(answers, 60)


@pytest.mark.parametrize("entities", [1, MANY])
@pytest.mark.parametrize("fault", ["held", "trickling"])
def test_an_answer_that_does_not_end_is_told_at_the_deadline_and_not_taken_for_the_next_one(
    fault: str, entities: int, reading: Callable[..., Read], link: FaultyLink
) -> None:
    read = reading(SOON_S)
    right(read, entities)
    link.hold() if fault == "held" else link.trickle(SOON_S / 4)
    with pytest.raises(StorageError, match="the online store did not answer") as raised:
        read(entities)
    assert raised.value.retryable
    assert raised.value.where == f"redis://127.0.0.1:{link.port}/0"
    link.heal()
    right(read, entities)


def test_requests_of_one_read_have_one_deadline_together(
    reading: Callable[..., Read], link: FaultyLink
) -> None:
    read = reading(8 * SOON_S)
    right(read, MANY)
    # Each piece comes in time, and there are more than twenty.
    link.delay(SOON_S)
    with pytest.raises(StorageError, match="did not answer"):
        read(MANY)
    link.heal()
    right(read, MANY)


def test_connecting_is_part_of_a_read(reading: Callable[..., Read], link: FaultyLink) -> None:
    read = reading(SOON_S)
    # A login takes several answers.
    link.delay(SOON_S / 2)
    with pytest.raises(StorageError, match="did not answer"):
        read(1)
    link.heal()
    right(read)


def test_what_was_read_before_is_answered_at_the_deadline(
    reading: Callable[..., Read], things: Any, link: FaultyLink
) -> None:
    reader = things.online.reader([things.query()], SOON_S, allow_stale=True)
    right(read_by("sync", reader))
    link.trickle(SOON_S / 4)
    keys = [[b"a"]]
    [answered] = reader.read(keys, 10)
    assert answered.is_stale
    assert answered.columns["x"].to_list() == [1]


def test_an_answer_that_is_cut_anywhere_is_an_error_or_asked_for_again_and_never_a_part_of_it(
    reading: Callable[..., Read], link: FaultyLink
) -> None:
    read = reading(60)
    right(read, 500)
    for after_bytes in (0, 1, 17, 300, 5_000):
        link.cut(after_bytes)
        with pytest.raises(StorageError, match="did not answer"):
            read(500)
        link.heal()
        assert read(500) == [1] * 500
    link.cut(5_000, once=True)
    assert read(500) == [1] * 500


def test_a_redis_that_is_emptied_is_told_and_its_entities_are_not_unknown(
    reading: Callable[..., Read], things: Any, link: FaultyLink, client: Any
) -> None:
    read = reading()
    assert read(1) == [1]
    client.flushall()
    with pytest.raises(StorageError, match="does not hold the view 'things'"):
        read(1)
    assert things.publish(6).entities == 1
    assert read(MANY) == [1] * MANY
    link.before_next_request(client.flushall)
    with pytest.raises(StorageError, match="does not hold the view 'things'"):
        read(MANY)


def test_a_version_that_is_published_between_the_requests_of_a_read_is_not_told_of_all_of_it(
    things: Any, link: FaultyLink, row: MakeRow
) -> None:
    reader = things.online.reader([things.query()])
    [before] = reader.read([[b"a"] * MANY], 10)
    things.add(row(("a",), 2, {"x": 2}, at=(2, 0, 0)))
    link.before_next_request(lambda: things.publish(6))
    [across] = reader.read([[b"a"] * MANY], 10)
    assert across.version == before.version
    assert set(across.columns["x"].to_list()) == {1, 2}
    [after] = reader.read([[b"a"]], 10)
    assert (after.version, after.columns["x"].to_list()) == (before.version + 1, [2])


def test_what_does_not_fit_into_memory_is_told_and_what_serves_stays_until_it_does(
    things: Any, client: Any, row: MakeRow
) -> None:
    keys = [f"k{n}" for n in range(12_000)]

    def rows(value: int) -> list[Any]:
        return [row((key,), value, {"x": value}, at=(things.commits + 1, 0, n)) for n, key in enumerate(keys)]

    def values() -> list[Any]:
        [read] = things.online.reader([things.query()]).read([[b"a", *(key.encode() for key in keys)]], 10)
        return list(read.columns["x"].to_list())

    # Room for some calls of the thousand entities that each brings, and not for all.
    client.config_set("maxmemory", client.info("memory")["used_memory"] + 700_000)
    try:
        things.add(*rows(2))
        with pytest.raises(StorageError, match="the memory of the Redis server is full"):
            things.publish(6)
        assert 0 < client.dbsize() - 4 < len(keys)
        assert things.online.index.version(things.name, things.digest).version == 1
        first, *others = values()
        assert first == 1
        assert set(others) == {None, 2}
    finally:
        client.config_set("maxmemory", "0")
    assert things.publish(6).entities == len(keys) + 1
    assert values() == [1] + [2] * len(keys)


def test_a_redis_that_is_killed_amid_a_read_is_told_and_comes_back_empty_and_not_with_unknown_entities(
    tmp_path: Path, view_in: MakeView, row: MakeRow
) -> None:
    port = free_port()
    try:
        command = [installed("redis-server"), "--port", port, "--bind", "127.0.0.1", "--save", ""]
    except MissingError as missing:
        unavailable(missing)
    server = Server([*command, "--dir", tmp_path], tmp_path / "log", lambda: accepts(port))
    server.start()
    try:
        with faulty_link(port) as link:
            things = view_in(f"redis://127.0.0.1:{link.port}/0")
            things.add(row(("a",), 1, {"x": 1}))
            things.publish(5)
            reader = things.online.reader([things.query()])
            for kind in ("sync", "awaited"):
                read = read_by(kind, reader)
                assert read(MANY) == [1] * MANY
                link.before_next_request(server.kill)
                with pytest.raises(StorageError, match="did not answer"):
                    read(MANY)
                server.start()
                with pytest.raises(StorageError, match="does not hold the view 'things'"):
                    read(1)
                assert things.publish(6).entities == 1
                assert read(MANY) == [1] * MANY
    finally:
        server.stop()


@pytest.fixture
def named(redis_url: str, tmp_path: Path) -> Iterator[tuple[FaultyLink, str]]:
    """A link to the Redis that is the master by what a Sentinel says, and the URL that asks the Sentinel for it."""
    port = free_port()
    with faulty_link(port_of(redis_url)) as link:
        config = tmp_path / "sentinel.conf"
        config.write_text(
            f"sentinel monitor things 127.0.0.1 {link.port} 1\n"
            "sentinel down-after-milliseconds things 3600000\n"
        )
        try:
            command = [installed("redis-server"), config, "--sentinel", "--port", port]
        except MissingError as missing:
            unavailable(missing)
        command += ["--bind", "127.0.0.1", "--dir", tmp_path]
        server = Server(command, tmp_path / "log", lambda: accepts(port))
        server.start()
        try:
            yield link, f"redis+sentinel://127.0.0.1:{port}/things/0"
        finally:
            server.stop()


def test_a_late_answer_of_a_master_that_sentinel_named_is_not_taken_for_another_one(
    named: tuple[FaultyLink, str], client: Any
) -> None:
    link, url = named
    client.mset({"one": 1, "two": 2})
    opened = open_redis(url).within(SOON_S)
    script = "return redis.call('GET', KEYS[1])"
    asked: list[Callable[[bytes], Any]] = [
        lambda name: opened.get_many([name])[0],
        lambda name: next(iter(opened.evaluate([(script, [name], [])]))),  # type: ignore[list-item]
        lambda name: asyncio.run(awaited(opened, name)),
    ]
    for ask in asked:
        eventually(lambda ask=ask: answered(ask, b"one") == b"1", 60)
        link.hold()
        with pytest.raises(StorageError, match="did not answer"):
            ask(b"one")
        link.heal()
        for _ in range(3):
            assert answered(ask, b"two") in (b"2", None)
        eventually(lambda ask=ask: answered(ask, b"two") == b"2", 60)


def answered(ask: Callable[[bytes], Any], name: bytes) -> Any:
    """None for an error, which may be on a machine that is busy."""
    try:
        return ask(name)
    except StorageError:
        return None


async def awaited(opened: Any, name: bytes) -> Any:
    try:
        return (await opened.get_many_async([name]))[0]
    finally:
        await opened.aclose()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_processes_that_are_forked_from_one_that_reads_have_connections_of_their_own(
    things: Any, link: FaultyLink
) -> None:
    read = read_by("sync", things.online.reader([things.query()]))
    assert read(MANY) == [1] * MANY
    opened = link.accepted
    children = []
    for _ in range(3):
        if not (child := os.fork()):
            try:
                os._exit(0 if all(read(500) == [1] * 500 for _ in range(20)) else 1)
            finally:
                os._exit(2)
        children.append(child)
    assert all(read(500) == [1] * 500 for _ in range(20))
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0, 0]
    assert read(MANY) == [1] * MANY
    assert link.accepted == opened + 3


DELAYS = ["aircraft-delays:delay"]
FEW, THOUSANDS = {"tailnum": ["E1", "nobody"]}, {"tailnum": ["E1", "nobody"] * 1_000}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[FeatureServer, FaultyLink, Any]]:
    """A feature server whose requests may take two seconds, the link to its Redis, and a client of that."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "redis").mkdir()
    try:
        with storage_server.redis(folder / "redis") as url, faulty_link(port_of(url)) as link:
            project = make_project(
                folder / "project", 3, f"{{redis: {{url: 'redis://127.0.0.1:{link.port}/0'}}}}"
            )
            with (
                redis.Redis.from_url(url) as client,
                serving_features(project, folder / "log", "--timeout", "2") as server,
            ):
                yield server, link, client
    except MissingError as missing:
        unavailable(missing)


def asked(server: FeatureServer, entities: dict[str, list[str]]) -> int:
    """The status of an answer, which is right or a problem that is told."""
    answer = server.ask("POST", "/v1/features", {"features": DELAYS, "entities": entities})
    if answer.status == 200:
        assert answer.json["features"]["delay"] == [1, None] * (len(entities["tailnum"]) // 2)
    else:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json["status"] == answer.status
    return answer.status


def serves(server: FeatureServer) -> bool:
    return [asked(server, each) for each in (FEW, THOUSANDS)] == [200, 200]


def test_a_feature_server_that_is_killed_under_load_gave_right_answers_or_none(
    served: tuple[FeatureServer, FaultyLink, Any],
) -> None:
    server, _, _ = served
    over, wrong = threading.Event(), list[BaseException]()
    counts = [0] * 4

    def load(place: int) -> None:
        while not over.is_set():
            try:
                counts[place] += asked(server, (FEW, THOUSANDS)[place % 2]) == 200
            except (OSError, http.client.HTTPException):
                over.wait(0.01)  # It was told.
            except BaseException as error:  # noqa: BLE001
                wrong.append(error)
                return

    def more() -> None:
        before = list(counts)
        eventually(lambda: wrong or all(now > then + 3 for now, then in zip(counts, before, strict=True)), 60)
        assert wrong == []

    threads = [threading.Thread(target=load, args=(place,)) for place in range(len(counts))]
    for each in threads:
        each.start()
    try:
        for _ in range(2):
            more()
            server.process.kill()
            server.process.start()
            more()
    finally:
        over.set()
        for each in threads:
            each.join()
    assert wrong == []


def test_a_feature_server_tells_what_is_wrong_with_its_redis_and_no_wrong_value(
    served: tuple[FeatureServer, FaultyLink, Any],
) -> None:
    server, link, client = served
    eventually(lambda: serves(server), 60)
    for begin in (link.hold, lambda: link.trickle(SOON_S), lambda: link.cut(7)):
        begin()
        assert {asked(server, FEW), asked(server, THOUSANDS)} <= {503, 504}
        link.heal()
        eventually(lambda: serves(server), 60)
    values = {key: client.dump(key) for key in client.scan_iter()}
    client.flushall()
    assert [asked(server, each) for each in (FEW, THOUSANDS)] == [503, 503]
    for key, value in values.items():
        client.restore(key, 0, value)
    eventually(lambda: serves(server), 60)
