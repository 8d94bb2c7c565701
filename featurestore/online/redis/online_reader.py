"""Reading from Redis: one ``MGET`` for all views, and no Arrow where rows are few or of a fixed width."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from featurestore.errors import StorageError
from featurestore.online.answer import answer
from featurestore.online.packed.newest_row import NewestRow
from featurestore.online.packed.packing import Packing
from featurestore.online.reading import UNKNOWN, Keys, OnlineQuery, OnlineValues, array_values, few_values
from featurestore.online.redis.last_values import LastValues
from featurestore.online.redis.server import BuildKeys, RedisServer, read_held
from featurestore.online.versions import PACKED_LAYOUT, OnlineVersion

_READ_AT_ONCE = 10_000
"""Keys of one MGET: the server does nothing else meanwhile."""
_FEW = 10
"""Up to so many entities, one value at a time is faster than arrays."""

Values = list[bytes | None]


class RedisReader:
    """See :class:`featurestore.online.reading.OnlineReader`."""

    def __init__(
        self, server: RedisServer, queries: Sequence[OnlineQuery], last: LastValues | None = None
    ) -> None:
        self._server, self._last = server, last
        self._views = [_View(server, query) for query in queries]
        self._held = [view.keys.held.encode() for view in self._views]

    def read(self, keys: Sequence[Keys], now_us: int) -> list[OnlineValues]:
        names = self._names(keys)
        values: Values = []
        try:
            for first in range(0, len(names), _READ_AT_ONCE):
                values += self._server.get_many(names[first : first + _READ_AT_ONCE])
        except StorageError as failure:
            return self._stale_answers(keys, names, now_us, failure)
        return self._answers(keys, names, values, now_us)

    async def read_async(self, keys: Sequence[Keys], now_us: int) -> list[OnlineValues]:
        names = self._names(keys)
        values: Values = []
        try:
            for first in range(0, len(names), _READ_AT_ONCE):
                values += await self._server.get_many_async(names[first : first + _READ_AT_ONCE])
        except StorageError as failure:
            return self._stale_answers(keys, names, now_us, failure)
        return self._answers(keys, names, values, now_us)

    async def aclose(self) -> None:
        await self._server.aclose()

    def _names(self, keys: Sequence[Keys]) -> list[bytes]:
        names = list(self._held)
        for view, wanted in zip(self._views, keys, strict=True):
            prefix = view.keys.prefix
            names += (
                [prefix + key for key in wanted if key is not None]
                if None in wanted
                else [prefix + key for key in wanted]  # type: ignore[operator]
            )
        return names

    def _stale_answers(
        self, keys: Sequence[Keys], names: list[bytes], now_us: int, failure: StorageError
    ) -> list[OnlineValues]:
        """What was answered last, as it is to be read now: a value grows too old also while the server is away."""
        if self._last is None:
            raise failure
        answers = self._decoded(keys, names, self._last.find(names, failure), now_us)
        for values in answers:
            values.is_stale = True
        return answers

    def _answers(
        self, keys: Sequence[Keys], names: list[bytes], values: Values, now_us: int
    ) -> list[OnlineValues]:
        answers = self._decoded(keys, names, values, now_us)
        if self._last is not None:
            self._last.keep(names, values)
        return answers

    def _decoded(
        self, keys: Sequence[Keys], names: list[bytes], values: Values, now_us: int
    ) -> list[OnlineValues]:
        answers, at = [], len(self._views)
        for place, (view, wanted) in enumerate(zip(self._views, keys, strict=True)):
            end = at + len(wanted) - wanted.count(None)
            version = view.version(values[place])
            answers.append(view.values(wanted, names[at:end], values[at:end], now_us, version))
            at = end
        return answers


class _View:
    """One view as it is read. ``_seen``: what its key said last."""

    def __init__(self, server: RedisServer, query: OnlineQuery) -> None:
        self.keys = BuildKeys.of(query.view, query.digest)
        self._server, self._query = server, query
        self._packing = Packing(query.form, self.keys.prefix, self.keys.checksum)
        self._newest = None if query.has_windows else NewestRow(query, self._packing)
        self._needed = query.form.needed(query.outputs)
        self._seen: tuple[bytes, OnlineVersion] | None = None

    def version(self, data: bytes | None) -> int:
        """Of the view's table, by what its key says.

        Raises:
            StorageError: the view is not held.
        """
        known = self._seen
        if known is not None and known[0] == data:
            return known[1].version
        held = read_held(data)
        if held is None or data is None:
            raise StorageError(
                f"the online store does not hold the view {self._query.view!r}",
                where=f"{self.keys.held} at {self._server.url}",
                wanted=f"layout {PACKED_LAYOUT}",
                got="nothing" if data is None else data.decode(errors="replace"),
                hint="`featurestore run` publishes it from the offline store",
            )
        self._seen = data, held
        return held.version

    def values(
        self, wanted: Keys, names: list[bytes], values: Values, now_us: int, version: int
    ) -> OnlineValues:
        """``names`` and ``values``: of the wanted keys that are not null."""
        present = [value for value in values if value is not None]
        if len(present) < len(values):
            names = [name for name, value in zip(names, values, strict=True) if value is not None]
        self._packing.require_sound(names, present)
        newest = self._newest
        if newest is not None and len(wanted) <= _FEW:
            read = newest.few
            rows = iter([UNKNOWN if value is None else read(value, now_us) for value in values])
            if len(values) == len(wanted):
                return few_values(self._query, list(rows), version)
            few = [UNKNOWN if key is None else next(rows) for key in wanted]
            return few_values(self._query, few, version)
        places = None if len(present) == len(wanted) else self._places(wanted, values)
        if newest is not None and newest.is_flat:
            many = newest.many(present, places, len(wanted), now_us, version)
            if many is not None:
                return many
        place = np.full(len(wanted), -1, np.int64)
        place[slice(None) if places is None else places] = np.arange(len(present))
        # Answers do not look at keys.
        keys = pa.array(names, pa.binary())
        stored = self._packing.unpack_sound(keys, present, self._needed)
        answered = answer(self._query, stored, place, now_us)
        return array_values(self._query, answered, version)

    def _places(self, wanted: Keys, values: Values) -> list[int]:
        """Of which of the wanted keys there is a value."""
        asked = [place for place, key in enumerate(wanted) if key is not None]
        return [place for place, value in zip(asked, values, strict=True) if value is not None]
