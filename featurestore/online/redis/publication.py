"""Publishing to Redis: packed values in chunks, while readers go on reading.

Whoever begins to publish leaves a token; each chunk is written by a script that looks at the token first. So
a publisher that was overtaken ends with a Conflict, and can never put an older value over a newer one.
The version that is tried is noted before the first value is written. When a publisher is killed, the next one
knows that values are of the version before or of one that was tried, and brings all of them up.

All of that stands for each part of a build, so that a master of a cluster that was replaced says by itself up to where it
had come, and values of one part never go by what another says.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Self

import numpy as np
import pyarrow as pa

from featurestore.errors import Conflict, StorageError
from featurestore.failpoint import hit
from featurestore.online.entities import Stored
from featurestore.online.layout import Form
from featurestore.online.packed.packing import Packing
from featurestore.online.redis.build_keys import BuildKeys, PartKeys
from featurestore.online.redis.deployment import RedisDeployment, ScriptCall
from featurestore.online.redis.held import read_held
from featurestore.online.redis.put_keys import PutKeys
from featurestore.online.versions import PACKED_LAYOUT, OnlineVersion

_PACKED_AT_ONCE, _PACKED_BYTES = 50_000, 8 << 20
_WRITTEN_AT_ONCE = 1000
"""Keys of one call: few enough for the arguments of a Lua function, and for others to be served between."""
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

    def __init__(self, redis: RedisDeployment, keys: BuildKeys, form: Form, version: int) -> None:
        self._redis, self._keys, self._version = redis, keys, version
        self._packing = Packing(form, keys.checksum)
        self._token = uuid.uuid4().hex
        self._bases: tuple[int, ...] | None = None
        self._has_others = True
        self._anew: dict[PartKeys, int] | None = None
        self._put_keys: PutKeys | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._put_keys is not None:
            self._put_keys.close()

    @classmethod
    def begin(cls, redis: RedisDeployment, keys: BuildKeys, form: Form, to_version: int) -> RedisPublication:
        """Begin a publication; any other in progress ends.

        Raises:
            StorageError: the server is set up to forget values when its memory is full, or another build has the same prefix.
        """
        begun = cls(redis, keys, form, to_version)
        _require_memory(redis)
        arguments = begun._token, f"{_TRIED}{to_version}", keys.build
        calls = [
            ScriptCall(_BEGIN, (part.publisher, part.held, part.owner), arguments) for part in keys.parts
        ]
        parts = list(zip(keys.parts, redis.evaluate(calls), strict=True))
        for part, (_, _, owner, _) in parts:
            if owner != keys.build.encode():
                raise StorageError(
                    "another build has keys with the same prefix",
                    where=f"{part.owner.decode()} at {redis.url}",
                    wanted=keys.build,
                    got=owner.decode(errors="replace"),
                    hint="A view under another name, or with any other feature, has another prefix",
                )
        # Whoever forgets a build lets its prefix go last: under one that was free there are no values.
        begun._has_others = any(not is_first or data is not None for _, (data, _, _, is_first) in parts)
        held = [(read_held(data), fields) for _, (data, fields, _, _) in parts]
        bases: set[int] = set()
        for version, fields in held:
            if version is None:
                return begun
            names = [field.decode() for field in fields]
            tried = {int(name.removeprefix(_TRIED)) for name in names if name.startswith(_TRIED)}
            bases |= {version.version, *(tried - {to_version})}
        begun._bases = tuple(sorted(bases))
        return begun

    @property
    def bases(self) -> tuple[int, ...] | None:
        return self._bases

    def fetch(self, keys: pa.Array) -> Stored:
        packed: list[bytes] = []
        stored: list[bytes] = []
        places: list[int] = []
        for first in range(0, len(keys), _WRITTEN_AT_ONCE):
            names = self._keys.names(keys.slice(first, _WRITTEN_AT_ONCE).to_pylist())
            values = self._redis.get_many(names)
            packed += [value for value in values if value is not None]
            present = [place for place, value in enumerate(values) if value is not None]
            stored += [names[place] for place in present]
            places += [first + place for place in present]
        return self._packing.unpack(keys.take(pa.array(places, pa.int64())), stored, packed)

    def put(self, stored: Stored) -> None:
        entity_bytes = sum(section.rows.nbytes for section in stored.sections) // max(1, len(stored))
        at_once = max(_WRITTEN_AT_ONCE, min(_PACKED_AT_ONCE, _PACKED_BYTES // max(1, entity_bytes)))
        for first in range(0, len(stored), at_once):
            entities = stored.take(np.arange(first, min(first + at_once, len(stored))))
            keys = entities.keys.to_pylist()
            names = self._keys.names(keys)
            values = self._packing.pack(entities, names).to_pylist()
            for _ in self._answers(self._calls(_WRITE, keys, names, values)):
                hit("during-publish")
            if self._anew is not None:
                for part, chosen in self._keys.grouped(keys):
                    self._anew[part] += len(chosen)
        if self._put_keys is not None:
            self._put_keys.add(stored.keys)

    def replace(self, stored: Stored) -> None:
        self.put(stored)  # one value takes the place of the other

    def remove(self, keys: pa.Array) -> None:
        texts = keys.to_pylist()
        for _ in self._answers(self._calls(_REMOVE, texts, self._keys.names(texts))):
            pass

    def begin_anew(self) -> None:
        self._anew = dict.fromkeys(self._keys.parts, 0)
        if self._has_others:
            self._put_keys = PutKeys()

    def finish(self) -> OnlineVersion:
        if self._put_keys is not None:
            for others in self._put_keys.others(self._stored_keys()):
                self.remove(others)
        calls = []
        for part in self._keys.parts:
            entities = "" if self._anew is None else str(self._anew[part])
            arguments = str(PACKED_LAYOUT), str(self._version), entities, _TRIED, part.prefix
            calls.append(self._call(_FINISH, part, [part.held], arguments))
        return OnlineVersion(self._version, sum(self._answers(calls)))

    def _stored_keys(self) -> Iterator[pa.Array]:
        """The keys of all entities that there are of the build."""
        for names in self._redis.scan(self._keys.pattern):
            yield pa.array([self._keys.key(name) for name in names], pa.binary())

    def _calls(
        self, script: str, keys: list[bytes], names: list[bytes], values: list[bytes] | None = None
    ) -> Iterator[ScriptCall]:
        """Of a script for these entities: so many at once, and of one part each."""
        for part, chosen in self._keys.grouped(keys):
            for first in range(0, len(chosen), _WRITTEN_AT_ONCE):
                now = chosen[first : first + _WRITTEN_AT_ONCE]
                arguments = [] if values is None else [values[each] for each in now]
                yield self._call(script, part, [names[each] for each in now], arguments)

    def _call(
        self, script: str, part: PartKeys, names: Sequence[bytes], arguments: Sequence[bytes | str]
    ) -> ScriptCall:
        return ScriptCall(script, [part.publisher, *names], [self._token, *arguments])

    def _answers(self, calls: Iterable[ScriptCall]) -> Iterator[int]:
        """What the scripts answer, unless another publication has begun."""
        for answer in self._redis.evaluate(calls):
            if answer == _OVERTAKEN:
                where = f"{self._keys.build} at {self._redis.url}"
                raise Conflict("another publication has begun", where=where)
            yield answer


def _require_memory(redis: RedisDeployment) -> None:
    for memory in redis.info("memory"):
        policy = memory.get("maxmemory_policy", "noeviction")
        if memory.get("maxmemory") and policy.startswith("allkeys"):
            # Of the world outside, and no mistake of the spec: whoever sets it right is noticed within a minute.
            raise StorageError(
                "the Redis server would evict values when its memory is full",
                where=redis.url,
                wanted="maxmemory-policy noeviction, or one that evicts only keys that expire",
                got=policy,
                hint="An evicted value would look like an unknown entity: "
                "`redis-cli CONFIG SET maxmemory-policy noeviction`, and in its configuration",
            )
