"""The names of the keys that one build has in Redis.

fs:<view>:<digest>                what is held: layout, version, entities, what its keys begin with; written last
<six characters>:<key>            the packed value of an entity; the characters are a hash of view and digest
fs-keys:<six characters>          the build whose keys these are: no other publishes under them
fs-publisher:<view>:<digest>      who publishes now, and up to which versions others have tried
fs-early:<six characters>:<key>   values of an entity from pushes that no publication has settled (``early_values.py``)
fs-early-keys:<view>:<digest>     the entities that have such values
fs-pending:<view>:<digest>        the pushes that no publication has settled, and where their rows stand

In a cluster a build has 64 parts, and each of them has all of these keys in one slot: what is not in one slot cannot be read or
compared together, and what a master lost is told by its own parts. ``<tag>``: the six characters, and two for the part.

fs:<view>:<digest>:{<tag>}   {<tag>}<key>   fs-keys:{<tag>}   fs-publisher:<view>:<digest>:{<tag>}
fs-early:{<tag>}<key>   fs-early-keys:<view>:<digest>:{<tag>}   fs-pending:<view>:<digest>:{<tag>}
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from binascii import crc_hqx
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from itertools import product
from string import ascii_lowercase
from zlib import crc32

SLOTS = 16384
_PARTS = 64
"""Of a build in a cluster: enough to share it evenly among some ten masters, and few enough for one read to ask all."""
_SUFFIXES = [(a + b).encode() for a, b in product(ascii_lowercase, repeat=2)]
"""Some of them fall into each part's range of slots: CRCs are linear, so what stands before them only permutes the ranges."""
_PREFIX_CHARACTERS = 6
"""36 bits: of 1,000 builds, two share a prefix once in 100,000 stores, and then the later one is not published."""


@dataclass(frozen=True, slots=True)
class PartKeys:
    """Keys that are changed together. What follows ``prefix`` is :func:`featurestore.online.entity_keys.key_texts`."""

    prefix: bytes
    held: bytes
    publisher: bytes
    owner: bytes
    early_keys: bytes
    pending: bytes

    @property
    def early_prefix(self) -> bytes:
        """What follows is the same as after ``prefix``."""
        return b"fs-early:" + self.prefix


@dataclass(frozen=True, slots=True)
class BuildKeys:
    """``pattern``: the names of its entities' keys match it, as ``SCAN`` takes it."""

    build: str
    parts: tuple[PartKeys, ...]
    pattern: bytes

    @classmethod
    def whole(cls, view: str, digest: str) -> BuildKeys:
        """In one server: a single part.

        >>> BuildKeys.whole("flights", "0a1b").parts[0].prefix
        b'hJ5Yi4:'
        """
        build = f"{view}:{digest}"
        start = _hash(build)
        prefix = start + b":"
        names = (f"{name}:{rest}".encode() for name, rest in _named(build, start.decode()))
        return cls(build, (PartKeys(prefix, *names),), prefix + b"*")

    @classmethod
    @lru_cache(maxsize=100)
    def spread(cls, view: str, digest: str) -> BuildKeys:
        """In a cluster: parts whose slots are spread evenly, so that any number of masters has its share."""
        build = f"{view}:{digest}"
        start = _hash(build)
        tags: dict[int, bytes] = {}
        for suffix in _SUFFIXES:
            tags.setdefault(slot_of(start + suffix) * _PARTS // SLOTS, start + suffix)
        parts = []
        for place in range(_PARTS):
            marked = f"{{{tags[place].decode()}}}"
            names = (f"{name}:{rest}".encode() for name, rest in _named(f"{build}:{marked}", marked))
            parts.append(PartKeys(marked.encode(), *names))
        return cls(build, tuple(parts), b"{" + start + b"*")

    @property
    def checksum(self) -> int:
        """What the checksums of the build's values begin with."""
        return crc32(self.build.encode())

    def names(self, keys: Sequence[bytes]) -> list[bytes]:
        """The key in Redis of each entity."""
        if len(self.parts) == 1:
            prefix = self.parts[0].prefix
            return [prefix + key for key in keys]
        return [self.parts[self._part(key)].prefix + key for key in keys]

    def early_names(self, keys: Sequence[bytes]) -> list[bytes]:
        """The key in Redis of each entity's values from pushes that are not settled."""
        return [b"fs-early:" + name for name in self.names(keys)]

    def grouped(self, keys: Sequence[bytes]) -> Iterator[tuple[PartKeys, Sequence[int]]]:
        """Places of the entities of each part that has some."""
        if len(self.parts) == 1:
            yield self.parts[0], range(len(keys))
            return
        groups: dict[int, list[int]] = defaultdict(list)
        for place, key in enumerate(keys):
            groups[self._part(key)].append(place)
        for part, places in groups.items():
            yield self.parts[part], places

    def held(self, keys: Sequence[bytes]) -> list[bytes]:
        """The keys that say what is held of these entities' parts; of one part at least."""
        if len(self.parts) == 1:
            return [self.parts[0].held]
        return [self.parts[place].held for place in sorted(set(map(self._part, keys)) or {0})]

    def key(self, name: bytes) -> bytes:
        """The entity with this key in Redis: all prefixes are of one length."""
        return name[len(self.parts[0].prefix) :]

    def _part(self, key: bytes) -> int:
        return crc32(key) % len(self.parts)


def slot_of(name: bytes) -> int:
    """The slot of a key (https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec).

    >>> slot_of(b"123456789"), slot_of(b"{user}.a") == slot_of(b"user")
    (12739, True)
    """
    start = name.find(b"{")
    if start >= 0:
        end = name.find(b"}", start)
        if end > start + 1:
            name = name[start + 1 : end]
    return crc_hqx(name, 0) % SLOTS


def _hash(build: str) -> bytes:
    return urlsafe_b64encode(sha256(build.encode()).digest())[:_PREFIX_CHARACTERS]


def _named(build: str, start: str) -> Iterable[tuple[str, str]]:
    return (
        ("fs", build),
        ("fs-publisher", build),
        ("fs-keys", start),
        ("fs-early-keys", build),
        ("fs-pending", build),
    )
