"""Keys that were erased: kept as salted hashes, so that no batch, replay or rebuild brings their rows back.

Erasures of a storage root are numbered 1, 2, 3 … and never change. From the moment that one is written, batches of its
pipelines leave out rows with its keys. What was there before is removed by the data engine, one table after the other;
each Delta commit of that holds the erasure's number under :data:`ERASURE`. Every other commit of a dataset or of a
quarantine names the number that it found, so that one which does not know of an erasure cannot follow it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence

from pydantic import Field

from featurestore.arrivals.result import BatchResult
from featurestore.errors import Conflict
from featurestore.resources.model import Model
from featurestore.storage import paths
from featurestore.storage.json_record import read_record
from featurestore.storage.objects import Storage, understanding

ERASURE = "erasure"
"""The application whose transactions tell which erasures a Delta table has seen."""
_RESTORE = "Restore it from a backup, or from the versions that the bucket keeps"


class Erasure(Model):
    """Whose rows are erased, and where. ``keys``: names and types of the join keys, by name.

    ``pipelines``: to the last batch whose arrivals are meant; None for all that ever come. ``hashes``: of the keys, as
    :meth:`hash_of` gives them, sorted. ``lengths``: of the texts of each join key, in characters: where to look for keys
    in longer texts. ``asked_us``: UTC microseconds. ``request``: names the wish that it was begun for; "" for none.
    """

    number: int
    entity: str
    keys: tuple[tuple[str, str], ...]
    pipelines: dict[str, int | None]
    salt: str
    hashes: tuple[str, ...]
    lengths: tuple[tuple[int, ...], ...]
    asked_us: int
    asked_by: str = ""
    request: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """Of the join keys."""
        return tuple(name for name, _ in self.keys)

    def hash_of(self, texts: Sequence[str]) -> str:
        """The salted hash of one key: the texts of its join keys, in the order of ``keys``."""
        return hash_key(self.salt, texts)


def hash_key(salt: str, texts: Sequence[str]) -> str:
    """The salted hash of a key, 32 hexadecimal digits.

    >>> hash_key("00" * 32, ["N14228"]) == hash_key("01" * 32, ["N14228"])
    False
    """
    text = json.dumps(list(texts), ensure_ascii=False)
    return hashlib.blake2b(text.encode(), key=bytes.fromhex(salt), digest_size=16).hexdigest()


def lengths_of(keys: Iterable[Sequence[str]]) -> tuple[tuple[int, ...], ...]:
    """The lengths that the texts of each join key have, each once.

    >>> lengths_of([("AA", "1"), ("UA", "12")])
    ((2,), (1, 2))
    """
    return tuple(tuple(sorted(set(map(len, texts)))) for texts in zip(*keys, strict=True))


class ErasedHistory(Model):
    """What a pipeline is after an erasure, when batches 1 … ``last`` were committed; ``result``: of the last, since then.

    ``generation``: of the dataset. ``caught``: batch to file to how many of its quarantined rows were erased.
    """

    erasure: int
    last: int
    generation: int
    result: BatchResult
    caught: dict[int, dict[int, int]] = Field(default_factory=dict)


class Erasures:
    """The erasures of one storage root. All methods raise :class:`StorageError` if storage does not answer."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def numbers(self) -> list[int]:
        """All numbers, the first one first."""
        return sorted(int(name) for name in self._storage.names(paths.ERASURES) if name.isdigit())

    def last(self) -> int:
        """The greatest number; 0 if nothing was ever erased."""
        return max(self.numbers(), default=0)

    def get(self, number: int) -> Erasure | None:
        """The erasure of that number, if there is one."""
        path = paths.erasure(number)
        return read_record(self._storage, path, Erasure, "the record of an erasure", _RESTORE)

    def upto(self, last: int, pipeline: str) -> list[Erasure]:
        """The erasures 1 … ``last`` that are about this pipeline."""
        erasures = (self.get(number) for number in self.numbers() if number <= last)
        return [each for each in erasures if each is not None and pipeline in each.pipelines]

    def try_begin(self, erasure: Erasure) -> bool:
        """True if it is written now; False if another one has the number."""
        data = erasure.model_dump_json(by_alias=True).encode()
        return self._storage.put_if_absent(paths.erasure(erasure.number), data)

    def require_last(self, last: int, where: str) -> None:
        """Raises Conflict if keys were erased since ``last`` was the greatest number."""
        now = self.last()
        if now != last:
            raise Conflict(
                "keys were erased meanwhile", where=where, wanted=f"erasure {last}", got=f"erasure {now}"
            )


class ErasedHistories:
    """What erasures left of one pipeline, for those who load no data engine."""

    __slots__ = ("_folder", "_known", "_storage")

    def __init__(self, storage: Storage, pipeline: str) -> None:
        self._storage, self._folder = storage, paths.erased_histories(pipeline)
        self._known: dict[str, ErasedHistory] = {}

    def all(self) -> Iterable[ErasedHistory]:
        """All of them, the first one first."""
        for name in self._storage.names(self._folder):
            if name not in self._known:
                path = f"{self._folder}/{name}"
                with understanding("the record of an erasure", self._storage.uri(path), _RESTORE):
                    self._known[name] = ErasedHistory.model_validate_json(self._storage.read(path))
        return [self._known[name] for name in sorted(self._known)]

    def put(self, history: ErasedHistory) -> None:
        """Write it down, unless it is there."""
        path = f"{self._folder}/{paths.number(history.erasure)}.json"
        self._storage.put_if_absent(path, history.model_dump_json(by_alias=True).encode())
