"""Values of rows that were pushed and that no publication has brought yet: beside the published ones, never among them.

A push is announced before its rows are durable, and its values are put afterwards, only while it is announced. A publication
settles: it takes back the pushes whose rows are in what it published, or never will be, and then every value of a push that
is not announced. So a value never outlives the publication of its batch, whoever is killed, late or sent again.

The key ``fs-early:…`` of an entity holds one or a few values after each other, each with a head: which push it is of (40
characters), its order (40 digits, see :func:`order_text`), and how long it is (4 bytes, big-endian). A value is packed as
a published one is, and sealed for the key of the published one, in the place of which it is read.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from featurestore.online.redis.build_keys import BuildKeys, PartKeys
from featurestore.online.redis.deployment import RedisDeployment, ScriptCall

_HEAD = struct.Struct(">40s40sI")
_BIAS = 1 << 63
_AT_ONCE = 500
_MOST_LATER = 16
"""Values of an entity whose time is yet to come: those after them are read when their batch is published."""

_READ = """
local function read(text)
  local values, at = {}, 1
  while at <= #text do
    local push, order, size = struct.unpack('>c40c40I4', text, at)
    table.insert(values, {push, order, string.sub(text, at, at + 83 + size)})
    at = at + 84 + size
  end
  return values
end
"""
_ANNOUNCE = """
if redis.call('EXISTS', KEYS[2]) == 0 then return 0 end
redis.call('HSETNX', KEYS[1], ARGV[1], ARGV[2])
return 1
"""
_PUT = (
    _READ
    + """
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
for i = 3, #KEYS do
  local values = {}
  for _, value in ipairs(read(redis.call('GET', KEYS[i]) or '')) do
    if value[1] ~= ARGV[1] then table.insert(values, value) end
  end
  for _, value in ipairs(read(ARGV[2 * i])) do table.insert(values, value) end
  for n, value in ipairs(values) do value[4] = n end
  table.sort(values, function(a, b)
    if a[2] == b[2] then return a[4] < b[4] end
    return a[2] < b[2]
  end)
  local first = 1
  for n, value in ipairs(values) do
    if string.sub(value[2], 1, 20) <= ARGV[3] then first = n end
  end
  local kept = {}
  for n = first, math.min(#values, first + tonumber(ARGV[4])) do table.insert(kept, values[n][3]) end
  redis.call('SET', KEYS[i], table.concat(kept))
  redis.call('SADD', KEYS[2], ARGV[2 * i - 1])
end
return 1
"""
)
_SETTLE = (
    _READ
    + """
for i = 3, #KEYS do
  local text = redis.call('GET', KEYS[i])
  local kept = {}
  for _, value in ipairs(read(text or '')) do
    if redis.call('HEXISTS', KEYS[1], value[1]) == 1 then table.insert(kept, value[3]) end
  end
  if #kept == 0 then
    redis.call('UNLINK', KEYS[i])
    redis.call('SREM', KEYS[2], ARGV[i - 2])
  else
    redis.call('SET', KEYS[i], table.concat(kept))
  end
end
return 1
"""
)
_PENDING = "return redis.call('HGETALL', KEYS[1])"
_KEYS = "return redis.call('SMEMBERS', KEYS[1])"
_TAKE_BACK = "return redis.call('HDEL', KEYS[1], unpack(ARGV))"


class EarlyValue(NamedTuple):
    """``order``: event time and created time. ``packed``: as a published value is."""

    order: tuple[int, int]
    packed: bytes


def order_text(event_us: int, created_us: int) -> bytes:
    """Digits that sort as the two numbers do, each an int64, in every locale.

    >>> order_text(-5, 7) < order_text(-4, -7) < order_text(3, -7)
    True
    """
    return f"{event_us + _BIAS:020d}{created_us + _BIAS:020d}".encode()


def early_value(push: str, event_us: int, created_us: int, packed: bytes) -> bytes:
    """One value with its head. ``push``: 40 characters.

    >>> [(value.order, value.packed) for value in read_early(early_value("a" * 40, 1, -2, b"v") * 2)]
    [((1, -2), b'v'), ((1, -2), b'v')]
    """
    return _HEAD.pack(push.encode(), order_text(event_us, created_us), len(packed)) + packed


def read_early(data: bytes) -> Iterator[EarlyValue]:
    """The values of one entity, each with its head."""
    at = 0
    while at < len(data):
        _, order, size = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        event_us, created_us = int(order[:20]) - _BIAS, int(order[20:]) - _BIAS
        yield EarlyValue((event_us, created_us), data[at : at + size])
        at += size


class EarlyValues:
    """Of one build. Everything may be done twice, and raises StorageError if the server does not answer."""

    def __init__(self, redis: RedisDeployment, keys: BuildKeys) -> None:
        self._redis, self._keys = redis, keys

    def announce(self, push: str, note: str, keys: Sequence[bytes]) -> bool:
        """Say that a push may put values of these entities. False if nothing of the build is published yet.

        ``note``: what is to be known of it when it is settled.
        """
        calls = [
            ScriptCall(_ANNOUNCE, (part.pending, part.held), (push, note))
            for part, _ in self._keys.grouped(keys)
        ]
        return all(bool(answer) for answer in self._redis.evaluate(calls))

    def put(self, push: str, note: str, values: Mapping[bytes, bytes], now_us: int) -> bool:
        """Put what the entities with these keys have in this push; False if it is not announced any more."""
        keys = list(values)
        names = self._keys.early_names(keys)
        calls = []
        for part, chosen in self._keys.grouped(keys):
            for first in range(0, len(chosen), _AT_ONCE):
                now = chosen[first : first + _AT_ONCE]
                arguments: list[bytes | str] = [push, note, f"{now_us + _BIAS:020d}", str(_MOST_LATER)]
                for place in now:
                    arguments += [keys[place], values[keys[place]]]
                all_names = [part.pending, part.early_keys, *(names[place] for place in now)]
                calls.append(ScriptCall(_PUT, all_names, arguments))
        return all(bool(answer) for answer in self._redis.evaluate(calls))

    def pending(self) -> dict[str, str]:
        """The pushes that are announced, and what is noted of each."""
        pending: dict[str, str] = {}
        for answer in self._redis.evaluate(
            ScriptCall(_PENDING, (part.pending,), ()) for part in self._keys.parts
        ):
            texts = [text.decode() for text in answer]
            pending.update(zip(texts[::2], texts[1::2], strict=True))
        return pending

    def settle(self, pushes: Collection[str]) -> None:
        """Take these pushes back, and every value that is not of a push that is announced."""
        names = sorted(pushes)
        for first in range(0, len(names), _AT_ONCE):
            some = names[first : first + _AT_ONCE]
            calls = [ScriptCall(_TAKE_BACK, (part.pending,), some) for part in self._keys.parts]
            list(self._redis.evaluate(calls))
        self._sweep()

    def clear(self) -> None:
        """Take all pushes back, and all values."""
        self._redis.unlink([part.pending for part in self._keys.parts])
        self._sweep()

    def _sweep(self) -> None:
        parts = self._keys.parts
        answers = self._redis.evaluate(ScriptCall(_KEYS, (part.early_keys,), ()) for part in parts)
        calls = [call for part, keys in zip(parts, answers, strict=True) for call in _settling(part, keys)]
        list(self._redis.evaluate(calls))


def _settling(part: PartKeys, keys: Sequence[bytes]) -> Iterator[ScriptCall]:
    for first in range(0, len(keys), _AT_ONCE):
        some = keys[first : first + _AT_ONCE]
        names = [part.pending, part.early_keys, *(part.early_prefix + key for key in some)]
        yield ScriptCall(_SETTLE, names, some)
