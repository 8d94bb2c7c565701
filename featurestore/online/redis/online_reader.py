"""Reading from Redis: one ``MGET``, in a cluster one for each part. No Arrow where rows are few or of a fixed width."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa

from featurestore.errors import StorageError
from featurestore.online.answer import answer
from featurestore.online.deadline import Deadline
from featurestore.online.layout import CREATED_US, EVENT_US, ROWS
from featurestore.online.packed.newest_row import NewestRow
from featurestore.online.packed.packed_entity import PackedEntity
from featurestore.online.packed.packing import Packing
from featurestore.online.reading import (
    UNKNOWN,
    FewRow,
    Keys,
    OnlineQuery,
    OnlineValues,
    array_values,
    few_values,
)
from featurestore.online.redis.deployment import RedisDeployment
from featurestore.online.redis.early_values import read_early
from featurestore.online.redis.held import read_held
from featurestore.online.redis.last_values import LastValues
from featurestore.online.versions import PACKED_LAYOUT
from featurestore.resources.immediate_check import is_immediate

_READ_AT_ONCE = 10_000
"""Keys of one MGET: the server does nothing else meanwhile."""
_FEW = 10
"""Up to so many entities, one value at a time is faster than arrays."""

Values = list[bytes | None]


class RedisReader:
    """See :class:`featurestore.online.reading.OnlineReader`.

    ``timeout_s``: for a whole read; None for what the deployment waits, once for each ``MGET``.
    """

    def __init__(
        self,
        redis: RedisDeployment,
        queries: Sequence[OnlineQuery],
        timeout_s: float | None = None,
        last: LastValues | None = None,
    ) -> None:
        self._redis, self._timeout_s, self._last = redis, timeout_s, last
        self._views = [_View(redis, query) for query in queries]

    def read(self, keys: Sequence[Keys], now_us: int) -> list[OnlineValues]:
        held, names = self._names(keys)
        requests = _requests(names, sum(held))
        try:
            with self._deadline(requests):
                answers = [self._redis.get_many(request) for request in requests]
        except StorageError as failure:
            return self._stale_answers(keys, held, names, now_us, failure)
        return self._answers(keys, held, names, _joined(answers, sum(held)), now_us)

    async def read_async(self, keys: Sequence[Keys], now_us: int) -> list[OnlineValues]:
        held, names = self._names(keys)
        requests = _requests(names, sum(held))
        try:
            with self._deadline(requests):
                answers = [await self._redis.get_many_async(request) for request in requests]
        except StorageError as failure:
            return self._stale_answers(keys, held, names, now_us, failure)
        return self._answers(keys, held, names, _joined(answers, sum(held)), now_us)

    async def aclose(self) -> None:
        await self._redis.aclose()

    def _deadline(self, requests: Sequence[object]) -> Deadline:
        return Deadline(self._redis.timeout_s * len(requests) if self._timeout_s is None else self._timeout_s)

    def _names(self, keys: Sequence[Keys]) -> tuple[list[int], list[bytes]]:
        """Keys in Redis: those that say what is held, of each view so many, and then those of the entities."""
        held: list[bytes] = []
        names: list[bytes] = []
        counts: list[int] = []
        for view, wanted in zip(self._views, keys, strict=True):
            asked: Sequence[bytes] = [key for key in wanted if key is not None] if None in wanted else wanted  # type: ignore[assignment]
            more = view.keys.held(asked)
            held += more
            counts.append(len(more))
            if view.has_early:
                # First: what is settled between the two is in the published value by then.
                names += view.keys.early_names(asked)
            names += view.keys.names(asked)
        return counts, held + names

    def _stale_answers(
        self, keys: Sequence[Keys], held: list[int], names: list[bytes], now_us: int, failure: StorageError
    ) -> list[OnlineValues]:
        """What was answered last, as it is to be read now: a value grows too old also while the server is away."""
        if self._last is None:
            raise failure
        answers = self._decoded(keys, held, names, self._last.find(names, failure), now_us)
        for values in answers:
            values.is_stale = True
        return answers

    def _answers(
        self, keys: Sequence[Keys], held: list[int], names: list[bytes], values: Values, now_us: int
    ) -> list[OnlineValues]:
        answers = self._decoded(keys, held, names, values, now_us)
        if self._last is not None:
            self._last.keep(names, values)
        return answers

    def _decoded(
        self, keys: Sequence[Keys], held: list[int], names: list[bytes], values: Values, now_us: int
    ) -> list[OnlineValues]:
        answers, at, of_held = [], sum(held), 0
        for view, wanted, count in zip(self._views, keys, held, strict=True):
            asked = len(wanted) - wanted.count(None)
            early: Values = values[at : at + asked] if view.has_early else []
            at += len(early)
            end = at + asked
            version = min(map(view.version, values[of_held : of_held + count]))
            of_held += count
            newest = view.with_early(names[at:end], values[at:end], early, now_us)
            answers.append(view.values(wanted, names[at:end], newest, now_us, version))
            at = end
        return answers


def _requests(names: list[bytes], held: int) -> list[list[bytes]]:
    """What is asked for at once. Each begins with the keys that say what is held, ``held`` of them.

    A server that is emptied between two of them would otherwise have no entity of the second, and nobody would be told.
    """
    if len(names) <= _READ_AT_ONCE:
        return [names]
    number = -(-(len(names) - held) // _READ_AT_ONCE)
    # Of one size: none is so small that an awaited one is joined with reads that have another deadline.
    ends = [held + (len(names) - held) * place // number for place in range(number + 1)]
    return [names[:held] + names[first:end] for first, end in pairwise(ends)]


def _joined(answers: list[Values], held: int) -> Values:
    """One answer to all requests: of what each says is held the oldest."""
    if len(answers) == 1:
        return answers[0]
    oldest = [min(each, key=_version) for each in zip(*(values[:held] for values in answers), strict=True)]
    return oldest + [value for values in answers for value in values[held:]]


def _version(data: bytes | None) -> int:
    """Below all others if it is not held."""
    held = read_held(data)
    return -1 if held is None else held.version


class _View:
    """One view as it is read. ``has_early``: values of pushes count that are not published yet.

    ``_known``: the versions that its keys named last.
    """

    def __init__(self, redis: RedisDeployment, query: OnlineQuery) -> None:
        self.keys = redis.keys_of(query.view, query.digest)
        self._url, self._query = redis.url, query
        self._packing = Packing(query.form, self.keys.checksum)
        self._newest = NewestRow(query.plain, self._packing)
        self._needed = query.form.needed(query.outputs)
        self._known: dict[bytes, int] = {}
        self.has_early = is_immediate(query.spec)
        self._order = [[EVENT_US, CREATED_US], *([] for _ in query.form.sections[1:])]

    def version(self, data: bytes | None) -> int:
        """Of the view's table, by what one of its keys says.

        Raises:
            StorageError: the view is not held, or not the part of it that has the key.
        """
        if data is not None:
            known = self._known.get(data)
            if known is not None:
                return known
        held = read_held(data)
        if held is None or data is None:
            raise StorageError(
                f"the online store does not hold the view {self._query.view!r}",
                where=f"{self.keys.held(())[0].decode()} at {self._url}",
                wanted=f"layout {PACKED_LAYOUT}",
                got="nothing" if data is None else data.decode(errors="replace"),
                hint="`featurestore run` publishes it from the offline store",
            )
        if len(self._known) > 2 * len(self.keys.parts):
            self._known.clear()
        self._known[data] = held.version
        return held.version

    def with_early(self, names: list[bytes], values: Values, early: Values, now_us: int) -> Values:
        """The values, and in the place of each that an earlier row is in, what was pushed since. ``early``: [] for none."""
        places = [place for place, data in enumerate(early) if data is not None]
        if not places:
            return values
        values = list(values)
        published = self._orders(
            [names[place] for place in places], [values[place] for place in places], now_us
        )
        for place, order in zip(places, published, strict=True):
            for value in read_early(early[place] or b""):
                # A clock that is behind the one that put it reads as of then.
                at_us = max(now_us, Packing.published_us(value.packed))
                if value.order[0] <= at_us and (order is None or value.order >= order):
                    values[place], order = value.packed, value.order
        return values

    def _orders(self, names: list[bytes], values: Values, now_us: int) -> list[tuple[int, int] | None]:
        """Event time and created time of the row that each value is read by; None where there is none."""
        present = [value for value in values if value is not None]
        chosen = [name for name, value in zip(names, values, strict=True) if value is not None]
        self._packing.require_sound(chosen, present)
        stored = self._packing.unpack_sound(pa.array(chosen, pa.binary()), present, self._order)
        rows = stored.sections[ROWS]
        known: dict[int, tuple[int, int]] = {}
        at_us = np.maximum(stored.published_us, now_us)
        for entity, event_us, created_us in zip(
            rows.entity.tolist(),
            rows.integers(EVENT_US).tolist(),
            rows.integers(CREATED_US).tolist(),
            strict=True,
        ):
            if event_us <= at_us[entity]:
                known[entity] = event_us, created_us
        place = iter(range(len(present)))
        return [None if value is None else known.get(next(place)) for value in values]

    def values(
        self, wanted: Keys, names: list[bytes], values: Values, now_us: int, version: int
    ) -> OnlineValues:
        """``names`` and ``values``: of the wanted keys that are not null."""
        present = [value for value in values if value is not None]
        if len(present) < len(values):
            names = [name for name, value in zip(names, values, strict=True) if value is not None]
        self._packing.require_sound(names, present)
        query, newest = self._query, self._newest
        if len(wanted) <= _FEW:
            read = self._with_windows if query.has_windows else newest.few
            rows = iter([UNKNOWN if value is None else read(value, now_us) for value in values])
            if len(values) == len(wanted):
                return few_values(query, list(rows), version)
            return few_values(query, [UNKNOWN if key is None else next(rows) for key in wanted], version)
        places = None if len(present) == len(wanted) else self._places(wanted, values)
        if newest.is_flat and not query.has_windows:
            many = newest.many(present, places, len(wanted), now_us, version)
            if many is not None:
                return many
        place = np.full(len(wanted), -1, np.int64)
        place[slice(None) if places is None else places] = np.arange(len(present))
        # Answers do not look at keys.
        keys = pa.array(names, pa.binary())
        stored = self._packing.unpack_sound(keys, present, self._needed)
        return array_values(query, answer(query, stored, place, now_us), version)

    def _with_windows(self, value: bytes, now_us: int) -> FewRow:
        newest = self._newest.few(value, now_us)
        return self._query.with_windows(newest, PackedEntity(self._packing, self._newest, value), now_us)

    def _places(self, wanted: Keys, values: Values) -> list[int]:
        """Of which of the wanted keys there is a value."""
        asked = [place for place, key in enumerate(wanted) if key is not None]
        return [place for place, value in zip(asked, values, strict=True) if value is not None]
