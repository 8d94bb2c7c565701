"""What routes ask: the store's prepared readers, within the time and the number of entities that the server allows."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http import HTTPStatus
from typing import Any, TypeVar

from featurestore.client.answers import Answer
from featurestore.client.connection import Store
from featurestore.client.feature_reader import FeatureReader
from featurestore.online.deadline import Deadline
from featurestore.overview.lookout import Lookout
from featurestore.server.audit_log import AuditLog, Read
from featurestore.server.caller import ANYBODY, Authenticator, Caller, bearer_token
from featurestore.server.measurements import Measurements
from featurestore.server.problem_details import HttpProblem
from featurestore.server.readiness import Readiness
from featurestore.server.route import HttpRequest
from featurestore.server.server_settings import ServerSettings

Result = TypeVar("Result")

_READERS = 256
"""Kept, of those that were asked for last: callers may make up as many lists of features as they like."""
_FRESH_S, _BEARABLE_S = 1.0, 3.0
"""How long what a reader knows of builds is trusted, and until when it is looked up beside reads and not before them."""
_FEW = 1_000
"""Up to so many entities are read without the detour of a thread, which costs more."""


class Backend:
    """One per process. ``readiness`` and ``measurements`` are shared by all routes."""

    def __init__(
        self,
        store: Store,
        settings: ServerSettings,
        measurements: Measurements,
        authenticator: Authenticator,
        audit_log: AuditLog,
    ) -> None:
        self.store, self.settings, self.measurements = store, settings, measurements
        self.authenticator, self.audit_log = authenticator, audit_log
        self.readiness = Readiness(store)
        self.lookout = Lookout(store.project)
        self.in_flight = 0
        self._readers: OrderedDict[tuple[object, bool], _Kept] = OrderedDict()
        self._threads = ThreadPoolExecutor(settings.threads, thread_name_prefix="read")

    async def run(self, work: Callable[..., Result], *arguments: Any) -> Result:
        """What ``work`` returns, from a thread: it may wait for storage."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, partial(work, *arguments))

    async def caller(
        self, headers: Mapping[bytes, bytes], token: Callable[[Mapping[bytes, bytes]], str] = bearer_token
    ) -> Caller:
        """Who asks. ``token``: where they say it.

        Raises:
            HttpProblem: they do not say, or it is not so (401); or it cannot be found out (503).
        """
        if not self.authenticator.asks:
            return ANYBODY
        return await self._asked(self.authenticator.caller, token(headers))

    async def read(
        self,
        request: HttpRequest,
        features: str | Sequence[str],
        entities: dict[str, list[Any]],
        *,
        full_feature_names: bool,
    ) -> Answer:
        """The features of each entity, as of now.

        Raises:
            HttpProblem: there are too many entities (422), or the caller may not read one of the views (403).
            NotFound, RequestError, StorageError: see :meth:`Store.reader`.
        """
        rows = max(map(len, entities.values()), default=0)
        if rows > self.settings.max_entities:
            raise HttpProblem(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                f"there are too many entities: wanted at most {self.settings.max_entities:,}, got {rows:,}",
                hint="Ask for them in several requests",
            )
        reader = await self._reader(features, full_feature_names)
        await self._admit(request, reader, [features] if isinstance(features, str) else features, rows)
        if rows <= _FEW:
            answer = await reader.read_async(entities)
        else:
            answer = await self.run(_read_by, request.until_s, reader, entities)
        self.measurements.count(answer)
        return answer

    async def admit_push(self, caller: Caller, pipeline: str) -> None:
        """Raises unless the caller may push to a pipeline.

        Raises:
            HttpProblem: the caller may not push to it (403), or it cannot be found out now (503).
        """
        if not await self._asked(self.authenticator.may_push, caller, pipeline):
            raise HttpProblem(
                HTTPStatus.FORBIDDEN,
                f"{caller.name!r} may not push to {pipeline!r}",
                hint="It takes the verb `create` on datapipelines/push, or `push` in the file of tokens",
            )

    async def _admit(
        self, request: HttpRequest, reader: FeatureReader, features: Sequence[str], rows: int
    ) -> None:
        if not self.authenticator.asks and not self.audit_log.writes:
            return
        resolution = reader.resolution()
        views = {read.view.name for read in resolution.reads}
        views |= {computed.view.name for computed in resolution.computed}
        request.read = Read(views, features, rows)
        if not self.authenticator.asks:
            return
        readable = await self._asked(self.authenticator.readable, request.caller, views)
        if hidden := sorted(views - readable):
            raise HttpProblem(
                HTTPStatus.FORBIDDEN,
                f"{request.caller.name!r} may not read {', '.join(hidden)}",
                hint="It takes the verb `get` on these featureviews",
            )

    async def _asked(self, question: Callable[..., Result], *arguments: Any) -> Result:
        """What the authenticator answers."""
        return await self.run(question, *arguments) if self.authenticator.waits else question(*arguments)

    async def _reader(self, features: str | Sequence[str], full_feature_names: bool) -> FeatureReader:
        """The reader of these features. Nothing that waits for storage is done in the loop."""
        key = (features if isinstance(features, str) else tuple(features), full_feature_names)
        kept = self._readers.get(key)
        if kept is None:
            make = partial(
                self.store.reader, full_feature_names=full_feature_names, timeout=self.settings.timeout_s
            )
            kept = self._readers[key] = _Kept(await self.run(make, features))
            while len(self._readers) > _READERS:
                self._readers.popitem(last=False)
            return kept.reader
        self._readers.move_to_end(key)
        age_s = time.monotonic() - kept.looked_s
        if age_s > _FRESH_S:
            looking = kept.look(self)
            if age_s > _BEARABLE_S:
                await looking
        return kept.reader

    def close(self) -> None:
        """Let go of the threads; what they do is not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _read_by(until_s: float, reader: FeatureReader, entities: dict[str, list[Any]]) -> Answer:
    """A read whose thread is free again when the request that it is for has been answered."""
    with Deadline(until_s - time.monotonic()):
        return reader.read(entities)


class _Kept:
    """A reader, and when it was last looked up which builds serve."""

    def __init__(self, reader: FeatureReader) -> None:
        self.reader, self.looked_s = reader, time.monotonic()
        self._looking: asyncio.Future[None] | None = None

    def look(self, backend: Backend) -> asyncio.Future[None]:
        """Look it up once for all who wait. Whoever gives up waiting does not end it for the others."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.ensure_future(self._look(backend))
            self._looking.add_done_callback(_retrieve_exception)
        return asyncio.shield(self._looking)

    async def _look(self, backend: Backend) -> None:
        await backend.run(self.reader.prepare)
        self.looked_s = time.monotonic()


def _retrieve_exception(looked: asyncio.Future[None]) -> None:
    """What failed is told to the reads that meet it, and not to the log as an error that nobody awaited."""
    if not looked.cancelled():
        looked.exception()
