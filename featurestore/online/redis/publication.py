"""Publishing to Redis: packed values in chunks, while readers go on reading.

Whoever begins to publish leaves a token; each chunk is written by a script that looks at the token first. So
a publisher that was overtaken ends with a Conflict, and can never put an older value over a newer one.
The version that is tried is noted before the first value is written. When a publisher is killed, the next one
knows that values are of the version before or of one that was tried, and brings all of them up.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Self

import numpy as np
import pyarrow as pa

from featurestore.errors import Conflict, StorageError
from featurestore.failpoint import hit
from featurestore.online.entities import Stored
from featurestore.online.layout import Form
from featurestore.online.packed.packing import Packing
from featurestore.online.redis.put_keys import PutKeys
from featurestore.online.redis.server import BuildKeys, RedisServer, read_held
from featurestore.online.versions import PACKED_LAYOUT, OnlineVersion

_PACKED_AT_ONCE, _PACKED_BYTES = 50_000, 8 << 20
_WRITTEN_AT_ONCE = 1000
"""BuildKeys of one call: few enough for the arguments of a Lua function, and for others to be served between."""
_TRIED = "tried:"
_OVERTAKEN = -1

_BEGIN = """
local first = redis.call('SET', KEYS[3], ARGV[3], 'NX')
local owner = redis.call('GET', KEYS[3])
if owner ~= ARGV[3] then return {false, {}, owner, 0} end
redis.call('HSET', KEYS[1], 'token', ARGV[1], ARGV[2], 1)
return {redis.call('GET', KEYS[2]), redis.call('HKEYS', KEYS[1]), owner, first and 1 or 0}
"""
_WRITE = """
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then return -1 end
local there = redis.call('EXISTS', unpack(KEYS, 2))
local pairs = {}
for i = 2, #KEYS do
  pairs[2 * i - 3] = KEYS[i]
  pairs[2 * i - 2] = ARGV[i]
end
redis.call('MSET', unpack(pairs))
redis.call('HINCRBY', KEYS[1], 'entities', #KEYS - 1 - there)
return 0
"""
_REMOVE = """
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then return -1 end
local gone = redis.call('UNLINK', unpack(KEYS, 2))
if gone > 0 then redis.call('HINCRBY', KEYS[1], 'entities', -gone) end
return 0
"""
_FINISH = """
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then return -1 end
if ARGV[4] ~= '' then redis.call('HSET', KEYS[1], 'entities', ARGV[4]) end
for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
  if string.sub(field, 1, #ARGV[5]) == ARGV[5] then redis.call('HDEL', KEYS[1], field) end
end
local entities = tonumber(redis.call('HGET', KEYS[1], 'entities') or '0')
local held = '{"entities":' .. entities .. ',"layout":' .. ARGV[2] .. ',"prefix":"' .. ARGV[6]
redis.call('SET', KEYS[2], held .. '","version":' .. ARGV[3] .. '}')
return entities
"""


class RedisPublication:
    """See :class:`featurestore.online.publication.Publication`."""

    def __init__(self, server: RedisServer, keys: BuildKeys, packing: Packing, version: int) -> None:
        self._server, self._keys, self._packing, self._version = server, keys, packing, version
        self._token = uuid.uuid4().hex
        self._bases: tuple[int, ...] | None = None
        self._has_others = True
        self._anew: int | None = None
        self._put_keys: PutKeys | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._put_keys is not None:
            self._put_keys.close()

    @classmethod
    def begin(cls, server: RedisServer, keys: BuildKeys, form: Form, to_version: int) -> RedisPublication:
        """Begin a publication; any other in progress ends.

        Raises:
            StorageError: the server is set up to forget values when its memory is full, or another build has the same prefix.
        """
        begun = cls(server, keys, Packing(form, keys.prefix, keys.checksum), to_version)
        _require_memory(server)
        with server.answering() as client:
            data, fields, owner, is_first = client.eval(
                _BEGIN,
                3,
                *(keys.publisher, keys.held, keys.owner),
                *(begun._token, f"{_TRIED}{to_version}", keys.build),
            )
        if owner != keys.build.encode():
            raise StorageError(
                "another build has keys with the same prefix",
                where=f"{keys.owner} at {server.url}",
                wanted=keys.build,
                got=owner.decode(errors="replace"),
                hint="A view under another name, or with any other feature, has another prefix",
            )
        # Whoever forgets a build lets its prefix go last: under one that was free there are no values.
        begun._has_others = not is_first or data is not None
        held = read_held(data)
        if held is not None:
            names = [field.decode() for field in fields]
            tried = {int(name.removeprefix(_TRIED)) for name in names if name.startswith(_TRIED)}
            begun._bases = tuple(sorted({held.version, *(tried - {to_version})}))
        return begun

    @property
    def bases(self) -> tuple[int, ...] | None:
        return self._bases

    def fetch(self, keys: pa.Array) -> Stored:
        packed: list[bytes] = []
        places: list[int] = []
        for first in range(0, len(keys), _WRITTEN_AT_ONCE):
            names = self._names(keys.slice(first, _WRITTEN_AT_ONCE))
            with self._server.answering() as client:
                values = client.mget(names)
            packed += [value for value in values if value is not None]
            places += [first + place for place, value in enumerate(values) if value is not None]
        return self._packing.unpack(keys.take(pa.array(places, pa.int64())), packed)

    def put(self, stored: Stored) -> None:
        entity_bytes = sum(section.rows.nbytes for section in stored.sections) // max(1, len(stored))
        at_once = max(_WRITTEN_AT_ONCE, min(_PACKED_AT_ONCE, _PACKED_BYTES // max(1, entity_bytes)))
        for first in range(0, len(stored), at_once):
            part = stored.take(np.arange(first, min(first + at_once, len(stored))))
            names, values = self._names(part.keys), self._packing.pack(part).to_pylist()
            for low in range(0, len(names), _WRITTEN_AT_ONCE):
                high = low + _WRITTEN_AT_ONCE
                self._call(_WRITE, names[low:high], values[low:high])
                hit("during-publish")
        if self._anew is not None:
            self._anew += len(stored)
        if self._put_keys is not None:
            self._put_keys.add(stored.keys)

    def replace(self, stored: Stored) -> None:
        self.put(stored)  # one value takes the place of the other

    def remove(self, keys: pa.Array) -> None:
        for first in range(0, len(keys), _WRITTEN_AT_ONCE):
            self._remove(self._names(keys.slice(first, _WRITTEN_AT_ONCE)))

    def begin_anew(self) -> None:
        self._anew = 0
        if self._has_others:
            self._put_keys = PutKeys()

    def finish(self) -> OnlineVersion:
        if self._put_keys is not None:
            for others in self._put_keys.others(self._stored_keys()):
                self.remove(others)
        arguments: list[bytes | str] = [
            str(PACKED_LAYOUT),
            str(self._version),
            "" if self._anew is None else str(self._anew),
            _TRIED,
            self._keys.prefix,
        ]
        return OnlineVersion(self._version, self._call(_FINISH, [self._keys.held], arguments))

    def _stored_keys(self) -> Iterator[pa.Array]:
        """The keys of all entities that the server has of the build."""
        for names in self._server.entity_keys(self._keys):
            yield pa.array([name.removeprefix(self._keys.prefix) for name in names], pa.binary())

    def _remove(self, names: list[bytes]) -> None:
        if names:
            self._call(_REMOVE, names, [])

    def _names(self, keys: pa.Array) -> list[bytes]:
        return [self._keys.prefix + key for key in keys.to_pylist()]

    def _call(self, script: str, names: Sequence[bytes | str], arguments: Sequence[bytes | str]) -> int:
        """What the script answers, unless another publication has begun."""
        with self._server.answering() as client:
            answer: int = client.eval(
                script, 1 + len(names), self._keys.publisher, *names, self._token, *arguments
            )
        if answer == _OVERTAKEN:
            raise Conflict("another publication has begun", where=f"{self._keys.held} at {self._server.url}")
        return answer


def _require_memory(server: RedisServer) -> None:
    with server.answering() as client:
        memory = client.info("memory")
    policy = memory.get("maxmemory_policy", "noeviction")
    if memory.get("maxmemory") and policy.startswith("allkeys"):
        # Of the world outside, and no mistake of the spec: whoever sets it right is noticed within a minute.
        raise StorageError(
            "the Redis server would evict values when its memory is full",
            where=server.url,
            wanted="maxmemory-policy noeviction, or one that evicts only keys that expire",
            got=policy,
            hint="An evicted value would look like an unknown entity: "
            "`redis-cli CONFIG SET maxmemory-policy noeviction`, and in its configuration",
        )
