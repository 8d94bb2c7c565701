"""A prepared read: names, types and connections are resolved once, and followed as builds are promoted."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from featurestore.client.resolution import Resolution, changed, resolve
from featurestore.errors import RequestError, StorageError
from featurestore.online.deadline import Deadline
from featurestore.resources.feature_view import OnlineEnabled
from featurestore.views.served import ServedViews

if TYPE_CHECKING:
    from collections.abc import Sequence

    from featurestore.client.answers import Answer
    from featurestore.client.on_demand import Values
    from featurestore.client.resolution import ViewRead
    from featurestore.online.backends import OnlineStore
    from featurestore.online.reading import Keys, OnlineReader, OnlineValues

_FRESH_S = 1.0
"""How long it is trusted which builds serve."""
_BEARABLE_S = 5.0
"""How old that may be while it is looked up again beside the reads, where a look takes a round trip to storage."""


@dataclass(frozen=True)
class _Prepared:
    """``columns``: of each of the result's its name, the place of what answers it, and what that calls it. ``online``:
    None while nothing was read. ``seen_s``: when it was looked up which builds serve."""

    resolution: Resolution
    columns: list[tuple[str, int, str]]
    online: OnlineReader | None
    seen_s: float


class FeatureReader:
    """Reads the same features again and again. Made by :meth:`featurestore.client.connection.Store.reader`.

    Safe to use from several threads, and in processes that are forked after it was made.
    """

    def __init__(
        self,
        views: ServedViews,
        online_store: Callable[[], OnlineStore],
        features: object,
        *,
        full_feature_names: bool = False,
        timeout_s: float | None = None,
        allow_stale: bool = False,
        clock_us: Callable[[], int],
        is_local: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._views, self._online_store, self._features = views, online_store, features
        self._full_feature_names = full_feature_names
        self._timeout_s, self._allow_stale = timeout_s, allow_stale
        self._clock_us, self._clock = clock_us, clock
        self._bearable_s = _FRESH_S if is_local else _BEARABLE_S
        self._known: _Prepared | None = None
        self._entity_keys: Callable[[Sequence[ViewRead], Any], tuple[int, list[Keys]]]
        self._answer: type[Answer]
        self._renewing: threading.Thread | None = None

    def read(self, entities: Any) -> Answer:
        """The features of each entity, now.

        ``entities``: a dict of lists or a list of dicts with the join keys, or any frame; other columns are ignored.

        Raises:
            RequestError: a join key is missing or of the wrong type.
            StorageError: the online store did not answer, or does not hold a view.
        """
        return self.answer(entities)[1]

    async def read_async(self, entities: Any) -> Answer:
        """:meth:`read` without blocking the loop that runs."""
        began_s = self._clock()
        prepared = self._prepared()
        length, keys = self._entity_keys(prepared.resolution.reads, entities)
        try:
            values = await _of(prepared).read_async(keys, self._clock_us())
        except StorageError:
            renewed = self._renewed_after(prepared, began_s)
            if renewed is None:
                raise
            prepared = renewed
            with Deadline(self._left_s(began_s)):
                values = await _of(prepared).read_async(keys, self._clock_us())
        return self._answered(prepared, values, length, entities)

    async def aclose(self) -> None:
        """Close the connections of awaited reads in the loop that runs; the next one opens them again."""
        known = self._known
        if known is not None and known.online is not None:
            await known.online.aclose()

    def answer(self, entities: Any) -> tuple[Resolution, Answer]:
        """:meth:`read`, and what the names meant."""
        began_s = self._clock()
        prepared = self._prepared()
        length, keys = self._entity_keys(prepared.resolution.reads, entities)
        try:
            values = _of(prepared).read(keys, self._clock_us())
        except StorageError:
            renewed = self._renewed_after(prepared, began_s)
            if renewed is None:
                raise
            prepared = renewed
            with Deadline(self._left_s(began_s)):
                values = _of(prepared).read(keys, self._clock_us())
        return prepared.resolution, self._answered(prepared, values, length, entities)

    def _answered(
        self, prepared: _Prepared, read: Sequence[OnlineValues], length: int, entities: Any
    ) -> Answer:
        answers: Sequence[Values] = read
        if prepared.resolution.computed:
            from featurestore.client.frames import read_frame
            from featurestore.client.on_demand import with_computed

            answers = with_computed(prepared.resolution, read, lambda: read_frame(entities), length)
        columns, times = {}, {}
        for name, place, output in prepared.columns:
            values = answers[place]
            columns[name] = values.columns[output]
            times[name] = values.event_times
        commits: dict[str, int] = {}
        is_stale = False
        for asked, answered in zip(prepared.resolution.reads, read, strict=True):
            name = asked.view.name
            # Of a view in several roles all is of the least of them, or later.
            if name not in commits or answered.version < commits[name]:
                commits[name] = answered.version
            is_stale = is_stale or answered.is_stale
        return self._answer(columns, times, commits, length, is_stale)

    def resolution(self) -> Resolution:
        """What the names mean.

        Raises:
            NotFound: a view or feature is unknown.
            RequestError: a name is malformed, or names clash.
        """
        return self._current().resolution

    def check(self) -> None:
        """Raises unless the online store answers now, and holds all views that are read.

        Raises:
            NotFound: a view or feature is unknown.
            StorageError: storage or the online store did not answer, or does not hold a view.
        """
        index = self._online_store().index
        for read in self._prepared().resolution.reads:
            if index.version(read.view.name, read.view.digest) is None:
                raise StorageError(
                    "the online store does not hold a view",
                    where=index.address,
                    wanted=f"the view {read.view.name!r}, build {read.view.digest}",
                    hint="Wait until it is published: `featurestore get views`",
                )

    def prepare(self) -> None:
        """Raises RequestError if a view is not published online."""
        self._prepared()

    def _prepared(self) -> _Prepared:
        known = self._current()
        return known if known.online is not None else self._opened(known)

    def _opened(self, known: _Prepared) -> _Prepared:
        from featurestore.client.answers import Answer
        from featurestore.client.entity_rows import entity_keys
        from featurestore.online.reading import OnlineQuery

        # Looked up once: an import takes as long as a read of an entity in memory.
        self._entity_keys, self._answer = entity_keys, Answer
        for read in known.resolution.reads:
            if read.view.spec.online.enabled is OnlineEnabled.NEVER:
                raise RequestError(
                    f"the view {read.view.name!r} is not published online",
                    where="features",
                    hint="Pass a timestamp_column to read it offline, or set its online.enabled to Always",
                )
        queries = [
            OnlineQuery(read.view.name, read.view.spec, read.view.digest, read.outputs)
            for read in known.resolution.reads
        ]
        online = self._online_store().reader(queries, self._timeout_s, allow_stale=self._allow_stale)
        self._known = opened = _Prepared(known.resolution, known.columns, online, known.seen_s)
        return opened

    def _current(self) -> _Prepared:
        known = self._known
        if known is None:
            return self._renewed(None, _FRESH_S)
        age_s = self._clock() - known.seen_s
        if age_s < _FRESH_S:
            return known
        if age_s >= self._bearable_s:
            try:
                return self._renewed(known, _FRESH_S)
            except StorageError:
                # No answer does not mean that another build serves: the online store still has what it had.
                return known
        self._renew_beside(known)
        return known

    def _renewed(self, known: _Prepared | None, max_age_s: float) -> _Prepared:
        seen_s = self._clock()
        resolution = resolve(self._features, self._views, max_age_s)
        names = resolution.names((), self._full_feature_names)
        columns = [
            (name, column.place, column.output.name)
            for name, column in zip(names, resolution.columns, strict=True)
        ]
        online = known.online if known is not None and known.resolution == resolution else None
        self._known = renewed = _Prepared(resolution, columns, online, seen_s)
        return renewed

    def _left_s(self, began_s: float) -> float:
        """Of the time that a read may take which began then."""
        return math.inf if self._timeout_s is None else began_s + self._timeout_s - self._clock()

    def _renewed_after(self, failed: _Prepared, began_s: float) -> _Prepared | None:
        """After a read that failed; None if the same builds still serve, or its time is over.

        A build that was replaced may be deleted while its pointer is still young enough to go by.
        """
        if self._left_s(began_s) <= 0:
            return None
        renewed = self._renewed(None, 0.0)
        if not changed(renewed.resolution.reads, failed.resolution.reads):
            self._known = failed
            return None
        return self._opened(renewed)

    def _renew_beside(self, known: _Prepared) -> None:
        running = self._renewing
        if running is not None and running.is_alive():
            return

        def renew() -> None:
            try:
                renewed = self._renewed(known, _FRESH_S)
                if renewed.online is None:
                    self._opened(renewed)
            except Exception:  # noqa: BLE001 - a read that finds it too old asks again, and is told
                return

        self._renewing = thread = threading.Thread(target=renew, name="featurestore-renew", daemon=True)
        thread.start()


def _of(prepared: _Prepared) -> OnlineReader:
    assert prepared.online is not None
    return prepared.online
