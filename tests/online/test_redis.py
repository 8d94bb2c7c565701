"""What is Redis's own: its failures, its keys, its memory."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import redis

from featurestore.errors import Conflict, StorageError
from featurestore.online.layout import Form
from featurestore.online.redis.build_keys import BuildKeys
from featurestore.online.redis.server import RedisServer
from featurestore.online.redis.store import RedisStore

MakeView = Callable[..., Any]
MakeRow = Callable[..., Any]


@pytest.fixture
def things(redis_url: str, view_in: MakeView, row: MakeRow) -> Any:
    """A published view with one entity, ``a``."""
    made = view_in(redis_url)
    made.add(row(("a",), 1, {"x": 1}))
    made.publish(5)
    return made


@pytest.fixture
def client(redis_url: str) -> Any:
    with redis.Redis.from_url(redis_url) as made:
        yield made


def prefix_of(things: Any) -> str:
    return BuildKeys.whole("things", things.digest).parts[0].prefix.decode()


def test_keys_are_named_so_that_people_find_them(things: Any, client: Any) -> None:
    prefix = prefix_of(things)
    assert sorted(client.keys()) == sorted(
        [
            f"{prefix}a".encode(),
            f"fs-keys:{prefix[:6]}".encode(),
            f"fs-publisher:things:{things.digest}".encode(),
            f"fs:things:{things.digest}".encode(),
        ]
    )
    assert client.get(f"fs-keys:{prefix[:6]}") == f"things:{things.digest}".encode()
    held = json.loads(client.get(f"fs:things:{things.digest}"))
    assert held == {"layout": 2, "prefix": prefix, "version": 1, "entities": 1}


def test_reading_many_entities_of_several_views_takes_one_command(things: Any, client: Any) -> None:
    client.config_resetstat()
    reader = things.online.reader([things.query(), things.query()])
    reader.read([[b"k%d" % n for n in range(500)], [b"a"]], 10)
    commands = client.info("commandstats")
    assert commands["cmdstat_mget"]["calls"] == 1
    assert not commands.keys() - {
        "cmdstat_mget",
        "cmdstat_client",
        "cmdstat_config|resetstat",
        "cmdstat_hello",
        "cmdstat_select",
    }


def test_a_server_that_is_away_is_an_error_that_a_retry_may_cure(view_in: MakeView) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    store = RedisStore(RedisServer(f"redis://user:hidden@127.0.0.1:{port}/3"))
    for call in (
        lambda: store.index.version("v", "d"),
        lambda: store.index.delete("v", "d"),
        lambda: store.publication("v", "d", Form.of(view_in(None).spec), 1, 1 << 30),
    ):
        with pytest.raises(StorageError) as raised:
            call()
        assert raised.value.retryable
        assert raised.value.where == f"redis://127.0.0.1:{port}/3"
        assert "hidden" not in str(raised.value)


def test_a_password_comes_from_the_environment(
    redis_url: str, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.execute_command("ACL", "SETUSER", "reader", "on", ">s3cret", "~*", "+@all")
    monkeypatch.setenv("REDIS_USERNAME", "reader")
    monkeypatch.setenv("REDIS_PASSWORD", "wrong")
    with pytest.raises(StorageError, match="invalid username-password"):
        RedisStore(RedisServer(redis_url)).index.version("v", "d")
    monkeypatch.setenv("REDIS_PASSWORD", "s3cret")
    assert RedisStore(RedisServer(redis_url)).index.version("v", "d") is None
    client.execute_command("ACL", "DELUSER", "reader")


@pytest.mark.new_process
def test_without_the_extra_the_error_says_what_to_install() -> None:
    code = """
import sys
sys.modules["redis"] = None
from featurestore.errors import CodeError
from featurestore.online.redis.server import RedisServer
try:
    RedisServer("redis://localhost")
except CodeError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'featurestore[redis]'" in done.stdout


def test_a_held_view_of_another_layout_is_not_read_and_is_made_anew(
    things: Any, client: Any, row: MakeRow
) -> None:
    held, value = f"fs:things:{things.digest}", f"{prefix_of(things)}a"
    client.set(held, json.dumps({"layout": 3, "version": 9, "entities": 1}))
    client.set(value, b"\x03" + client.get(value)[1:])
    client.set(f"{prefix_of(things)}ghost", b"\x03ghost")
    assert things.online.index.version("things", things.digest) is None
    with pytest.raises(StorageError, match='"layout": 3'):
        things.read([("a",)], 10)
    things.add(row(("b",), 1, {"x": 2}, at=(2, 0, 0)))
    assert things.publish(6).entities == 2
    assert [x for x, _ in things.read([("a",), ("b",), ("ghost",)], 10)["x"]] == [1, 2, None]


@pytest.mark.parametrize(
    "value", [b"", b"not ours", b"[1]", b'{"layout":2}', b'{"layout":2,"version":"x","entities":1}']
)
def test_what_others_wrote_is_not_taken_for_a_held_view(things: Any, client: Any, value: bytes) -> None:
    client.set(f"fs:things:{things.digest}", value)
    assert things.online.index.version("things", things.digest) is None
    assert things.publish(6).entities == 1


def test_a_damaged_value_is_an_error_for_readers_and_mended_by_publishing(
    things: Any, client: Any, row: MakeRow
) -> None:
    client.append(f"{prefix_of(things)}a", b"!")
    with pytest.raises(StorageError, match="is damaged"):
        things.read([("a",)], 10)
    things.add(row(("a",), 0, {"x": 0}, at=(2, 0, 0)))
    assert things.publish(6).entities == 1
    assert things.read([("a",)], 10)["x"] == [(1, "PRESENT")]


def test_a_publisher_that_was_overtaken_writes_nothing_more(things: Any, client: Any) -> None:
    form = Form.of(things.spec)
    slow = things.online.publication("things", things.digest, form, 2, 1 << 30)
    quick = things.online.publication("things", things.digest, form, 3, 1 << 30)
    before = client.get(f"{prefix_of(things)}a")
    stored = slow.fetch(quick.fetch(things_keys("a")).keys)
    for write in (
        lambda: slow.put(stored),
        lambda: slow.remove(stored.keys),
        lambda: slow.finish(),
    ):
        with pytest.raises(Conflict):
            write()
    assert client.get(f"{prefix_of(things)}a") == before
    assert quick.bases == (1, 2)
    assert quick.finish().version == 3


def things_keys(*keys: str) -> Any:
    import pyarrow as pa

    return pa.array([key.encode() for key in keys], pa.binary())


def test_a_publisher_whose_server_was_emptied_meanwhile_does_not_go_on(things: Any, client: Any) -> None:
    publication = things.online.publication("things", things.digest, Form.of(things.spec), 2, 1 << 30)
    stored = publication.fetch(things_keys("a"))
    client.flushall()
    with pytest.raises(Conflict):
        publication.put(stored)
    assert client.keys() == []


def test_a_server_that_forgets_values_when_its_memory_is_full_is_refused(
    things: Any, client: Any, row: MakeRow
) -> None:
    client.config_set("maxmemory-policy", "allkeys-lru")
    client.config_set("maxmemory", "1gb")
    try:
        things.add(row(("b",), 1, {"x": 1}, at=(2, 0, 0)))
        with pytest.raises(StorageError, match="noeviction"):
            things.publish(6)
    finally:
        client.config_set("maxmemory", "0")
        client.config_set("maxmemory-policy", "noeviction")
    assert things.publish(6).entities == 2


def test_a_build_whose_prefix_is_taken_is_not_published_and_its_deletion_spares_the_other(
    things: Any, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = BuildKeys.whole("things", things.digest)
    [part] = taken.parts
    other = replace(
        taken, build="others:d", parts=(replace(part, held=b"fs:o", publisher=b"fs-publisher:o"),)
    )
    with monkeypatch.context() as patched:
        patched.setattr(BuildKeys, "whole", lambda view, digest: other)
        with pytest.raises(StorageError, match="another build has keys with the same prefix"):
            things.online.publication("others", "d", Form.of(things.spec), 1, 1 << 30)
        things.online.index.delete("others", "d")
    assert things.read([("a",)], 10)["x"] == [(1, "PRESENT")]


def test_an_entity_of_ten_numbers_takes_at_most_200_bytes(
    redis_url: str, client: Any, view_in: MakeView, row: MakeRow
) -> None:
    features = [{"name": f"f{n}", "type": "float64", "column": f"f{n}"} for n in range(10)]
    made = view_in(redis_url, features)
    made.add(row(("N012345",), 1, {f"f{n}": n + 0.5 for n in range(10)}))
    made.publish(5)
    name = BuildKeys.whole("things", made.digest).parts[0].prefix + b"N012345"
    assert client.memory_usage(name) <= 200
