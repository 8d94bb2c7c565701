"""How a Redis is reached: TLS, users with few rights, and the master that Sentinel names."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis
from cluster.binaries import MissingError, installed
from cluster.certificate import Authority
from eventually import eventually
from pydantic import ValidationError
from server import Server, accepts, free_port
from unavailable import unavailable

from featurestore.errors import StorageError
from featurestore.online.redis.opening import open_redis
from featurestore.online.redis.store import RedisStore
from featurestore.resources.feature_store import FeatureStoreSpec
from featurestore.resources.redis_url import RedisUrl

MakeView = Callable[..., Any]
MakeRow = Callable[..., Any]
READER = "+mget"
PUBLISHER = (
    "+mget +eval +get +set +hset +hget +hgetall +hkeys +hexists +hsetnx +hdel +hincrby"
    " +sadd +srem +smembers +exists +mset +unlink +scan +info"
)
IN_A_CLUSTER = {"publisher": "+asking +cluster|slots +cluster|nodes", "reader": "+asking +cluster|slots"}
"""What docs/online-layout.md says."""


@dataclass(frozen=True)
class Secured:
    """A server that speaks TLS alone. ``environ``: what opens it."""

    url: str
    environ: dict[str, str]
    authority: Authority


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    folder = tmp_path_factory.mktemp("tls")
    try:
        authority = Authority.create(folder, "tests")
        own = authority.sign("server", "redis", hosts=["127.0.0.1"])
        ours = authority.sign("client", "us")
        port = free_port()
        command: list[object] = [installed("redis-server"), "--port", 0, "--tls-port", port, "--save", ""]
        command += ["--bind", "127.0.0.1", "--dir", folder, "--tls-auth-clients", "yes"]
        command += ["--tls-cert-file", own.certificate, "--tls-key-file", own.key]
        command += ["--tls-ca-cert-file", authority.own.certificate]
        server = Server(command, folder / "log", lambda: accepts(port))
        server.start()
    except MissingError as missing:
        unavailable(missing)
    try:
        environ = {
            "REDIS_CA": authority.own.certificate.read_text(),
            "REDIS_CERTIFICATE": ours.certificate.read_text(),
            "REDIS_KEY": ours.key.read_text(),
        }
        yield Secured(f"rediss://127.0.0.1:{port}/0", environ, authority)
    finally:
        server.stop()


def test_with_a_certificate_and_the_authority_that_signed_it_all_is_read_over_tls(secured: Secured) -> None:
    server = open_redis(secured.url, secured.environ)
    assert server.get_many([b"a", b"b"]) == [None, None]
    assert len(server.info("server")) == 1

    async def awaited() -> list[bytes | None]:
        try:
            return await server.get_many_async([b"a"])
        finally:
            await server.aclose()

    assert asyncio.run(awaited()) == [None]


@pytest.mark.parametrize(
    ("left_out", "host", "said"),
    [
        ("REDIS_CA", "127.0.0.1", "certificate verify failed"),
        (
            "REDIS_CERTIFICATE REDIS_KEY",
            "127.0.0.1",
            "certificate required|[Cc]onnection closed|[Cc]onnection reset|EOF occurred|Broken pipe",
        ),
        ("", "localhost", "not valid for 'localhost'"),
    ],
    ids=["authority is not known", "client has none", "of another host"],
)
def test_a_certificate_that_does_not_fit_is_an_error_that_says_so(
    secured: Secured, left_out: str, host: str, said: str
) -> None:
    environ = {name: pem for name, pem in secured.environ.items() if name not in left_out.split()}
    url = secured.url.replace("127.0.0.1", host)
    for kind in ("rediss://", "rediss+cluster://"):
        opened = open_redis(url.removesuffix("/0").replace("rediss://", kind), environ)
        with pytest.raises(StorageError, match=said):
            opened.get_many([b"a"])


@pytest.fixture
def users(redis_url: str) -> Iterator[Callable[[str, str], dict[str, str]]]:
    """``users(name, rights)``: a user with these rights and no others; the environment that logs in."""
    with redis.Redis.from_url(redis_url) as client:
        made = []

        def make(name: str, rights: str) -> dict[str, str]:
            made.append(name)
            client.execute_command(
                "ACL", "SETUSER", name, "reset", "on", ">pw", "~*", "-@all", *rights.split()
            )
            return {"REDIS_USERNAME": name, "REDIS_PASSWORD": "pw"}

        yield make
        for name in made:
            client.execute_command("ACL", "DELUSER", name)


def test_the_documented_rights_are_enough_to_publish_to_read_and_to_delete(
    redis_url: str,
    users: Callable[..., Any],
    view_in: MakeView,
    row: MakeRow,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    things = view_in(redis_url)
    for name, value in users("publisher", PUBLISHER).items():
        monkeypatch.setenv(name, value)
    things.add(row(("a",), 1, {"x": 1}), row(("b",), 1, {"x": 2}, at=(1, 0, 1)))
    assert things.publish(5).entities == 2
    things.remove(lambda it: it.keys == ("b",))
    assert things.publish(5).entities == 1
    reader = RedisStore(open_redis(redis_url, users("reader", READER)))
    assert reader.reader([things.query()]).read([[b"a"]], 10)[0].columns["x"].to_list() == [1]
    with pytest.raises(StorageError, match="no permissions"):
        reader.index.delete(things.name, things.digest)
    assert things.online.inspect(things.name, things.digest, things.query().form).sound
    assert things.online.index.instance_id()
    things.online.index.delete(things.name, things.digest)
    assert things.online.index.version(things.name, things.digest) is None


def test_the_documented_rights_are_all_that_a_cluster_needs(
    redis_cluster: Any, cluster_url: str, view_in: MakeView, row: MakeRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    for user, rights in (("publisher", PUBLISHER), ("reader", READER)):
        for node in redis_cluster.masters:
            setting = [
                user,
                "reset",
                "on",
                ">pw",
                "~*",
                "-@all",
                *rights.split(),
                *IN_A_CLUSTER[user].split(),
            ]
            node.client.execute_command("ACL", "SETUSER", *setting)
    things = view_in(cluster_url)
    monkeypatch.setenv("REDIS_USERNAME", "publisher")
    monkeypatch.setenv("REDIS_PASSWORD", "pw")
    things.add(row(("a",), 1, {"x": 1}))
    assert things.publish(5).entities == 1
    reader = RedisStore(open_redis(cluster_url, {"REDIS_USERNAME": "reader", "REDIS_PASSWORD": "pw"}))
    assert reader.reader([things.query()]).read([[b"a"]], 10)[0].columns["x"].to_list() == [1]
    assert things.online.index.instance_id()
    things.online.index.delete(things.name, things.digest)
    for node in redis_cluster.masters:
        node.client.execute_command("ACL", "DELUSER", "publisher", "reader")


@dataclass
class Watched:
    """A master with a replica, which two Sentinels watch."""

    master: Server
    url: str


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    try:
        ports = [free_port() for _ in range(4)]
        servers = []
        for place, port in enumerate(ports):
            home = tmp_path / str(port)
            home.mkdir()
            if place < 2:
                more = ["--replicaof", f"127.0.0.1 {ports[0]}", "--repl-diskless-sync-delay", "0"]
                command = ["redis-server", "--save", "", *(more if place else [])]
            else:
                said = (
                    f"sentinel monitor things 127.0.0.1 {ports[0]} 2",
                    "sentinel down-after-milliseconds things 1000",
                    "sentinel failover-timeout things 5000",
                    "requirepass watching",
                    "sentinel sentinel-pass watching",
                )
                (home / "sentinel.conf").write_text("\n".join(said) + "\n")
                command = ["redis-server", str(home / "sentinel.conf"), "--sentinel"]
            command[0] = str(installed("redis-server"))
            command += ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(home)]
            servers.append(Server(command, home / "log", lambda port=port: accepts(port)))
    except MissingError as missing:
        unavailable(missing)
    try:
        for server in servers:
            server.start()
        for port in ports[2:]:
            with redis.Redis(port=port, password="watching") as sentinel:
                eventually(lambda: _sees_all(sentinel), 60)
        nodes = ",".join(f"127.0.0.1:{port}" for port in (free_port(), *ports[2:]))
        yield Watched(servers[0], f"redis+sentinel://{nodes}/things/0")
    finally:
        for server in servers:
            server.stop()


def _sees_all(sentinel: Any) -> bool:
    [master] = sentinel.sentinel_masters().values()
    [*replicas] = sentinel.sentinel_slaves("things")
    return (
        master["num-other-sentinels"] == 1
        and len(replicas) == 1
        and replicas[0]["master-link-status"] == "ok"
    )


def test_the_master_that_sentinel_names_is_used_and_after_a_failover_the_next_one(
    watched: Watched, view_in: MakeView, row: MakeRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    things = view_in(watched.url)
    with pytest.raises(StorageError, match="did not answer"):
        things.online.index.version(things.name, things.digest)
    monkeypatch.setenv("REDIS_SENTINEL_PASSWORD", "watching")
    things._online = None
    things.add(row(("a",), 1, {"x": 1}))
    assert things.publish(5).entities == 1
    identity = things.online.index.instance_id()
    reader = things.online.reader([things.query()])

    def read() -> list[Any]:
        return list(reader.read([[b"a"]], 10)[0].columns["x"].to_list())

    async def awaited() -> list[Any]:
        try:
            return list((await reader.read_async([[b"a"]], 10))[0].columns["x"].to_list())
        finally:
            await reader.aclose()

    assert read() == asyncio.run(awaited()) == [1]
    watched.master.kill()
    with pytest.raises(StorageError, match="did not answer"):
        read()

    def answers() -> bool:
        try:
            # What the replica had not got is not held, and never read as unknown.
            return things.publish(6).entities == 1 and read() == [1]
        except StorageError:
            return False

    eventually(answers, 60)
    assert asyncio.run(awaited()) == [1]
    assert things.online.index.instance_id() != identity


@pytest.mark.parametrize(
    "url",
    [
        "redis://a/0",
        "rediss://a:1?protocol=3",
        "redis+cluster://a:1,b:2",
        "rediss+cluster://a/",
        "redis+sentinel://a,b:2/main/1",
    ],
)
def test_these_urls_name_a_redis(url: str) -> None:
    FeatureStoreSpec.model_validate({"offline": {"uri": "s3://a/b"}, "online": {"redis": {"url": url}}})
    assert RedisUrl.parse(url).nodes


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis://a:1,b:2/0", "several hosts are those of"),
        ("redis+cluster://a:1,b:2/3", "it has one database"),
        ("redis+sentinel://a:1,b:2", "a master is named to Sentinel as"),
        ("redis+sentinel://a:1,b:2/main/x", "a master is named to Sentinel as"),
        ("redis+sentinel://user:pw@a:1/main", "credentials stand in a Secret"),
        ("redis+other://a:1", "pattern"),
    ],
)
def test_a_url_that_names_none_is_refused_with_what_is_wanted(url: str, said: str) -> None:
    spec = {"offline": {"uri": "s3://a/b"}, "online": {"redis": {"url": url}}}
    with pytest.raises(ValidationError, match=said):
        FeatureStoreSpec.model_validate(spec)
