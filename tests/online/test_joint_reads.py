"""Reads of one moment are asked for together, and each is answered as if it were alone."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest

from featurestore.errors import StorageError
from featurestore.online.redis.joint_reads import JointReads
from featurestore.online.redis.server import RedisServer


def asked_of(server: RedisServer, reads: list[list[bytes]]) -> list[Any]:
    """The answers to reads that begin at once."""

    async def all_of_them() -> list[Any]:
        try:
            return await asyncio.gather(
                *(server.get_many_async(names) for names in reads), return_exceptions=True
            )
        finally:
            await server.aclose()

    return asyncio.run(all_of_them())


def test_reads_of_one_moment_are_few_commands_and_each_has_its_own_values(redis_url: str) -> None:
    server = RedisServer(redis_url)
    with server.client as client:
        client.mset({f"k{n}": n for n in range(1000)})
        client.config_resetstat()
    reads = [[b"k%d" % (n + m) for m in range(n % 7)] + [b"none"] for n in range(200)]
    reads.append([b"k%d" % n for n in range(1000)] * 2)
    answers = asked_of(server, reads)
    assert answers == [
        [None if name == b"none" else name.removeprefix(b"k") for name in names] for names in reads
    ]
    with server.client as client:
        assert client.info("commandstats")["cmdstat_mget"]["calls"] < 20


def test_none_is_refused_for_what_another_has_asked(redis_url: str) -> None:
    server = RedisServer(redis_url)
    with server.client as client:
        client.set("mine", 1)
        client.acl_setuser("some", enabled=True, passwords="+pw", keys=["mine"], commands=["+mget"])
    one = RedisServer(redis_url, {"REDIS_USERNAME": "some", "REDIS_PASSWORD": "pw"})
    mine, theirs, again = asked_of(one, [[b"mine"], [b"theirs"], [b"mine"]])
    with server.client as client:
        client.acl_deluser("some")
    assert (mine, again) == ([b"1"], [b"1"])
    assert isinstance(theirs, StorageError)
    assert "permission" in str(theirs).lower()


def test_whoever_goes_away_takes_no_answer_of_another() -> None:
    async def story() -> None:
        may_answer = asyncio.Event()

        async def get(names: Any, until_s: float) -> list[bytes | None]:
            await may_answer.wait()
            return [name.upper() for name in names]

        reads = JointReads(get, LookupError)
        gone, stays = (asyncio.create_task(reads.values([name], math.inf)) for name in (b"a", b"b"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        gone.cancel()
        may_answer.set()
        assert await stays == [b"B"]
        with pytest.raises(asyncio.CancelledError):
            await gone
        assert await reads.values([b"c"], math.inf) == [b"C"]

    asyncio.run(story())


def test_all_who_asked_are_told_of_a_failure_and_the_next_one_is_answered() -> None:
    async def story() -> None:
        failing = True

        async def get(names: Any, until_s: float) -> list[bytes | None]:
            if failing:
                raise OSError("away")
            return list(names)

        reads = JointReads(get, LookupError)
        both = await asyncio.gather(
            reads.values([b"a"], math.inf), reads.values([b"b"], math.inf), return_exceptions=True
        )
        assert [str(each) for each in both] == ["away", "away"]
        failing = False
        assert await reads.values([b"c"], math.inf) == [b"c"]

    asyncio.run(story())
