"""The cache kept up to date: kopf watches, and relisting makes sure that nothing was missed.

Kopf does what it is best at: lists, watches, reconnects, renews credentials. Its handlers decide nothing
and write nothing: no annotation, no finalizer, no event; what they hear goes into the cache.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import kopf
from kopf._cogs.structs.references import Insights
from kopf._core.engines.peering import Identity
from kopf._core.reactor.inventory import ResourceMemories, ResourceMemory
from kubernetes.client import Configuration

from featurestore.errors import FeatureStoreError, NotFound, TransientError
from featurestore_operator.informer.cache import Cache
from featurestore_operator.informer.relist import Relist
from featurestore_operator.kube.access import authorization
from featurestore_operator.kube.api import Api
from featurestore_operator.kube.api_resources import WATCHED, ApiResource

logger = logging.getLogger(__name__)

CENSUS_S = 60.0
"""How often the cache is compared with the API server: a watch that breaks at the wrong moment may stay silent."""
END_S = 5.0
MOST_BACKOFF_S = 10.0
_IDENTITY = Identity("featurestore-operator")
POLL_S = 0.05
RELIST_S = 5.0
PATIENCE_S = 5.0
"""How long a watch may fail to deliver a change before that is fetched."""


class Informer:
    """Keeps ``cache`` as the API server is, from ``start`` to ``stop``.

    ``namespaces``: names, or ``[None]`` for all. ``resync_s``: how often all keys are woken and all names are listed.
    """

    def __init__(
        self,
        configuration: Configuration,
        api: Api,
        cache: Cache,
        namespaces: Sequence[str | None],
        resync_s: float,
    ) -> None:
        self._configuration = configuration
        self._api, self._cache = api, cache
        self._namespaces = namespaces
        self._resync_s = resync_s
        self._stopping = threading.Event()
        self._relisted = threading.Event()
        self._deaf = threading.Event()
        self._end_kopf: Callable[[], object] = lambda: None
        self._threads = [
            threading.Thread(target=self._watch, name="watch", daemon=True),
            threading.Thread(target=self._count, name="census", daemon=True),
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self, within_s: float) -> None:
        """End the watches; return when they have, or after ``within_s``."""
        deadline = time.monotonic() + within_s
        self._stopping.set()
        self._relisted.set()
        self._end_kopf()
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    @property
    def alive(self) -> bool:
        """Whether it still works."""
        return all(thread.is_alive() for thread in self._threads)

    def _watch(self) -> None:
        # What is there is known sooner if nothing else is done meanwhile.
        while not self._cache.wait_until_synced(POLL_S):
            if self._stopping.is_set():
                return
        for delay_s in _Backoff():
            self._deaf.clear()
            kopf_ = threading.Thread(target=self._run_kopf, name="kopf", daemon=True)
            kopf_.start()
            while kopf_.is_alive() and not (self._deaf.is_set() or self._stopping.is_set()):
                kopf_.join(POLL_S)
            self._end_kopf()
            # One that does not end is left to itself: what it may still hear is true all the same.
            kopf_.join(END_S)
            if self._stopping.wait(delay_s):
                return

    def _run_kopf(self) -> None:
        try:
            asyncio.run(self._kopf())
        except TransientError as error:
            logger.error("%s", error)
        except Exception:
            # Whatever ends kopf, such as a kind that is deleted: an operator without watches is none.
            logger.exception("the watches ended and are restarted")

    async def _kopf(self) -> None:
        namespaces = [namespace for namespace in self._namespaces if namespace is not None]
        insights, ended, loop = Insights(), asyncio.Event(), asyncio.get_running_loop()

        def end() -> None:
            with suppress(RuntimeError):  # The loop has ended already.
                loop.call_soon_threadsafe(ended.set)

        self._end_kopf = end
        if self._stopping.is_set():
            return
        watching = asyncio.create_task(
            kopf.operator(
                registry=self._registry(),
                settings=_settings(),
                insights=insights,
                memories=_NoMemories(),
                # Kopf would look for the name of a user, which a container's number may lack.
                identity=_IDENTITY,
                standalone=True,
                clusterwide=not namespaces,
                namespaces=namespaces,
                # Of the loop: kopf waits for one of threads in a thread, which a loop that ends waits for.
                stop_flag=ended,
            )
        )
        discovered = asyncio.create_task(insights.ready_resources.wait())
        await asyncio.wait((watching, discovered), return_when=asyncio.FIRST_COMPLETED)
        discovered.cancel()
        # An API server that starts answers before it knows all kinds, and kopf looks for them only once.
        lacking = {resource.plural for resource in WATCHED} - {
            resource.plural for resource in insights.watched_resources
        }
        if lacking and not watching.done():
            watching.cancel()
            await asyncio.wait((watching,))
            raise TransientError("the API server does not know all kinds", where=", ".join(sorted(lacking)))
        self._relisted.set()
        await watching

    def _registry(self) -> kopf.OperatorRegistry:
        # Of our own: kopf's default one is filled by whatever module is imported.
        registry = kopf.OperatorRegistry()
        kopf.on.login(registry=registry, id="login")(self._login)
        for resource in WATCHED:
            group, _, version = resource.api_version.rpartition("/")
            decorate = kopf.on.event(group, version, resource.plural, registry=registry, id=resource.plural)
            decorate(self._hears(resource))
        return registry

    def _login(self, **_: Any) -> kopf.ConnectionInfo:
        configuration = self._configuration
        header = (authorization(configuration) or "").split(" ", 1)
        return kopf.ConnectionInfo(
            server=configuration.host,
            ca_path=configuration.ssl_ca_cert,
            insecure=not configuration.verify_ssl,
            scheme=header[0] if len(header) > 1 else None,
            token=header[-1] or None,
            certificate_path=configuration.cert_file,
            private_key_path=configuration.key_file,
        )

    def _hears(self, resource: ApiResource) -> Callable[..., Any]:
        async def hear(event: kopf.RawEvent, **_: Any) -> None:
            item: Any = event["object"]
            if event["type"] == "DELETED":
                metadata = item["metadata"]
                self._cache.drop(resource, metadata["namespace"], metadata["name"], metadata["uid"])
                return
            if event["type"] is None:
                self._relisted.set()
            self._cache.put(resource, item)

        return hear

    def _count(self) -> None:
        self._fill()
        resync_s = time.monotonic() + self._after(self._resync_s)
        while not self._stopping.is_set():
            wait_s = min(self._after(CENSUS_S), resync_s - time.monotonic())
            relisted = self._relisted.wait(max(0.0, wait_s))
            # One census for a whole list, which comes object by object.
            if self._stopping.wait(RELIST_S if relisted else 0.0):
                return
            self._relisted.clear()
            if time.monotonic() >= resync_s:
                self._resync()
                resync_s = time.monotonic() + self._after(self._resync_s)
            try:
                if self._settle():
                    self._deaf.set()
            except FeatureStoreError as error:
                logger.error("cannot tell what the watches missed: %s", _why(error))
                self._stopping.wait(MOST_BACKOFF_S)
                # It is owed still, and a minute is long for who waits for what was missed.
                self._relisted.set()

    def _fill(self) -> None:
        # Kopf needs a millisecond or more for each object, and never says that it has told of all.
        for resource, namespace in itertools.product(WATCHED, self._namespaces):
            # Each until it succeeds: of hundreds one always fails, on a day when one in hundred does.
            for delay_s in _Backoff():
                try:
                    for item in self._api.each(resource, namespace, WATCHED[resource]):
                        self._cache.put(resource, item)
                    break
                except FeatureStoreError as error:
                    logger.error("%s", _why(error))
                if self._stopping.wait(delay_s):
                    return
        self._cache.mark_synced()
        logger.info("the cache is complete: %d resources", len(self._cache.all_keys()))

    def _after(self, seconds: float) -> float:
        """Spread out, so that not all operators of a cluster list at once."""
        return seconds * random.uniform(0.9, 1.1)

    def _settle(self) -> bool:
        """Find out what the watches missed. True if they still have not delivered it, though they had time."""
        census = Relist(self._api, self._cache, self._namespaces)
        gone = census.drop_what_is_gone()
        missed = census.missed()
        patient_until = time.monotonic() + PATIENCE_S
        while missed and time.monotonic() < patient_until and not self._stopping.wait(POLL_S):
            before, missed = len(missed), census.missed()
            if len(missed) < before:
                patient_until = time.monotonic() + PATIENCE_S
        owed = census.fetch(missed)
        if gone or owed:
            logger.info("the watches had missed %d deletions and %d changes", gone, owed)
        return owed > 0

    def _resync(self) -> None:
        for key in self._cache.all_keys():
            # Spread, so that no storage meets all of its readers at once.
            self._cache.wake(key, random.uniform(0, self._resync_s / 10))


class _Backoff:
    """1 s, 2 s, 4 s … 10 s, for ever. Each request of kopf's takes it from the start."""

    def __iter__(self) -> Iterator[float]:
        return itertools.chain((1.0, 2.0, 4.0, 8.0), itertools.repeat(MOST_BACKOFF_S))


class _NoDiff(kopf.DiffBaseStorage):
    """Kopf need not find out what changed, which costs it more than all else, nor look for notes of its own."""

    def build(
        self, *, body: kopf.Body, extra_fields: Any = None, ignored_fields: Any = None
    ) -> kopf.BodyEssence:
        return kopf.BodyEssence()

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        raise AssertionError("nothing is written by watching")


class _NoMemories(ResourceMemories):
    """Kopf need not remember anything of an object from one event to the next: memory for thousands of them."""

    async def recall(self, raw_body: kopf.RawBody, **options: Any) -> ResourceMemory:
        return await super().recall(raw_body, **{**options, "ephemeral": True})


def _settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    # Kinds and namespaces are known: so no permission to watch those of the whole cluster is needed.
    settings.scanning.disabled = True
    settings.persistence.diffbase_storage = _NoDiff()
    settings.networking.error_backoffs = _Backoff()
    settings.networking.request_timeout = 30.0
    settings.watching.chunk_size = 100
    # Memory: a worker for each object, with all that belongs to it, stays for so long after its last event.
    settings.queueing.idle_timeout = 0.1
    for resource, labels in WATCHED.items():
        group, _, version = resource.api_version.rpartition("/")
        if labels:
            selector = ",".join(f"{key}={value}" for key, value in labels.items())
            settings.watching.label_selectors[group, version, resource.plural] = selector
    return settings


def _why(error: FeatureStoreError) -> str:
    if isinstance(error, NotFound):
        return f"{error}. Install the kinds first: kubectl apply --server-side -f crds/"
    return str(error)
