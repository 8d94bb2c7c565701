"""Subscriptions to what carries notifications: one for all pipelines that want the same, each in a thread of its own."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from threading import Event, Lock, Thread

from featurestore.arrivals.notifications.carriers import bodies
from featurestore.arrivals.notifications.object_events import read_message
from featurestore.arrivals.notifications.receiver import MOST_BYTES
from featurestore.errors import FeatureStoreError, RequestError
from featurestore.resources.notifications import Carrier

logger = logging.getLogger(__name__)

_PATIENCE_S = 5.0
Login = tuple[tuple[str, str], ...] | None


class Subscriptions:
    """``take``: is given a pipeline, and URLs of objects that may be new in its source. Called by several threads at once."""

    def __init__(self, take: Callable[[str, Sequence[str]], None]) -> None:
        self.take = take
        self._lock = Lock()
        self._wanted: dict[str, tuple[Carrier, Login]] = {}
        self._running: dict[tuple[Carrier, Login], _Subscription] = {}

    def attend(self, address: str, carrier: Carrier | None, environ: Mapping[str, str] | None) -> None:
        """Subscribe for a pipeline to what it wants, and to nothing else; None: to nothing.

        ``environ``: has what it takes to log in; None for the process's own environment.
        """
        login = None if environ is None else tuple(sorted(environ.items()))
        with self._lock:
            wanted = None if carrier is None else (carrier, login)
            if self._wanted.get(address) == wanted:
                return
            self._wanted.pop(address, None)
            if wanted is not None:
                self._wanted[address] = wanted
                if wanted not in self._running:
                    self._running[wanted] = _Subscription(*wanted, self._hear)
            for key in self._running.keys() - set(self._wanted.values()):
                self._running.pop(key).stop.set()

    def attend_only(self, carriers: Mapping[str, Carrier], environ: Mapping[str, str] | None) -> None:
        """The same for all pipelines."""
        for address in [*self._wanted.keys() - carriers.keys()]:
            self.attend(address, None, None)
        for address, carrier in carriers.items():
            self.attend(address, carrier, environ)

    def failure(self, address: str) -> str | None:
        """Why nothing is heard for a pipeline; empty as long as that is not known, None if all is well."""
        with self._lock:
            wanted = self._wanted.get(address)
            return "" if wanted is None else self._running[wanted].failure

    def close(self) -> None:
        """Subscribe to nothing more, and wait until nobody listens."""
        with self._lock:
            running, self._running, self._wanted = [*self._running.values()], {}, {}
        for subscription in running:
            subscription.stop.set()
        for subscription in running:
            subscription.thread.join()

    def _hear(self, key: tuple[Carrier, Login], urls: Sequence[str]) -> None:
        with self._lock:
            addresses = [address for address, wanted in self._wanted.items() if wanted == key]
        for address in addresses:
            self.take(address, urls)


class _Subscription:
    """``failure``: as :meth:`Subscriptions.failure` says."""

    def __init__(
        self,
        carrier: Carrier,
        login: Login,
        hear: Callable[[tuple[Carrier, Login], Sequence[str]], None],
    ) -> None:
        self.stop = Event()
        self._carrier, self._login, self._hear = carrier, login, hear
        self.failure: str | None = ""
        self.thread = Thread(target=self._run, name=f"notifications-{carrier.place}", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        while not self.stop.is_set():
            try:
                self._listen(bodies(self._carrier, self._environ, self.stop))
            except FeatureStoreError as error:
                if self.failure != str(error):
                    logger.warning("notifications are not heard, files are found by listing: %s", error)
                self.failure = str(error)
            except Exception:
                logger.exception("notifications of %s are not heard because of a bug", self._carrier.place)
                self.failure = "an unexpected error, see the log"
            self.stop.wait(_PATIENCE_S)

    @property
    def _environ(self) -> Mapping[str, str] | None:
        return None if self._login is None else dict(self._login)

    def _listen(self, heard: Iterable[bytes | None]) -> None:
        for body in heard:
            self.failure = None
            if body is None or len(body) > MOST_BYTES:
                continue
            try:
                urls = read_message(body).urls
            except RequestError:
                continue  # Whatever else is sent there.
            if urls:
                self._hear((self._carrier, self._login), urls)
