"""Beginning an erasure: its intent is written once, whoever asks for it again."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from featurestore.arrivals.erasure import Erasure, Erasures, hash_key, lengths_of
from featurestore.arrivals.ledger import Ledger
from featurestore.erasure.coverage import Coverage
from featurestore.erasure.record import read_erasure_record
from featurestore.errors import StorageError
from featurestore.failpoint import hit
from featurestore.storage.objects import Storage

_ATTEMPTS = 20


@dataclass(frozen=True, slots=True)
class Intent:
    """What is to be erased. ``asked_by``: by whom. ``request``: what names a wish that may be repeated; "" for none."""

    coverage: Coverage
    keys: tuple[tuple[str, ...], ...]
    allow_return: bool
    asked_by: str
    request: str = ""


def begin_erasure(storage: Storage, intent: Intent, now_us: int) -> int:
    """The number of the erasure, whose intent is written now; of the same one that was begun before.

    It is the same if its request is; without one, if it erases the same keys and is not finished.

    Raises:
        StorageError: storage did not answer, or others were always first.
    """
    coverage, erasures = intent.coverage, Erasures(storage)
    for _ in range(_ATTEMPTS):
        number = _begun(storage, intent)
        if number is not None:
            return number
        last = {
            name: Ledger(storage, name).last_batch() if intent.allow_return else None
            for name in coverage.pipelines
        }
        before = erasures.last()
        known = erasures.get(before)
        # One for all: so a batch hashes each of its keys once, however many erasures there are.
        salt = known.salt if known is not None else secrets.token_hex(32)
        erasure = Erasure(
            number=before + 1,
            entity=coverage.entity,
            keys=coverage.keys,
            pipelines=last,
            salt=salt,
            hashes=tuple(sorted(hash_key(salt, key) for key in intent.keys)),
            lengths=lengths_of(intent.keys),
            asked_us=now_us,
            asked_by=intent.asked_by,
            request=intent.request,
        )
        if erasures.try_begin(erasure):
            hit("after-intent-erasure")
            return erasure.number
    raise StorageError(
        "the erasure was not begun: others began theirs at the same time, again and again",
        where=storage.root,
        hint="Ask again: nothing was erased",
    )


def requested_erasure(storage: Storage, request: str) -> Erasure | None:
    """The erasure that was begun for a request.

    Raises:
        StorageError: storage did not answer.
    """
    erasures = Erasures(storage)
    newest_first = (erasures.get(number) for number in reversed(erasures.numbers()))
    return next(
        (erasure for erasure in newest_first if erasure is not None and erasure.request == request), None
    )


def unfinished(storage: Storage) -> list[int]:
    """Numbers of the erasures that were begun and are not finished.

    Raises:
        StorageError: storage did not answer.
    """
    return [number for number in Erasures(storage).numbers() if read_erasure_record(storage, number) is None]


def _begun(storage: Storage, intent: Intent) -> int | None:
    if intent.request:
        known = requested_erasure(storage, intent.request)
        return None if known is None else known.number
    erasures = Erasures(storage)
    for number in reversed(unfinished(storage)):
        erasure = erasures.get(number)
        if erasure is not None and _is_same(erasure, intent):
            return number
    return None


def _is_same(erasure: Erasure, intent: Intent) -> bool:
    coverage = intent.coverage
    return (erasure.entity, erasure.keys, tuple(sorted(erasure.pipelines)), erasure.hashes) == (
        coverage.entity,
        coverage.keys,
        coverage.pipelines,
        tuple(sorted(erasure.hash_of(key) for key in intent.keys)),
    ) and intent.allow_return == any(last is not None for last in erasure.pipelines.values())
