"""Notifications of object storage in a cluster: whom they are for, and what they make happen."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from featurestore.errors import TransientError
from featurestore_operator.controllers.pipelines import Pipelines
from featurestore_operator.informer.cache import Cache
from featurestore_operator.kube.object_key import Key


class NotificationInbox:
    """See :class:`featurestore.arrivals.notifications.receiver.NotificationDoor`: an address is ``<namespace>/<pipeline>``.

    ``leads``: whether this process works. One that stands by has its senders ask again: nobody there would look.
    """

    def __init__(self, cache: Cache, pipelines: Pipelines) -> None:
        self._cache, self._pipelines = cache, pipelines
        self.leads: Callable[[], bool] = lambda: True
        pipelines.subscriptions.take = self.take

    def token(self, address: str) -> str | None:
        if not self.leads():
            raise TransientError("another operator takes notifications", where=address)
        key = _key(address)
        return None if self._cache.get(key) is None else self._pipelines.token(key.namespace, key.name)

    def take(self, address: str, urls: Sequence[str]) -> None:
        key = _key(address)
        if self._pipelines.hint(key.namespace, key.name, urls):
            self._cache.wake(key)

    def failure(self, address: str) -> str | None:
        """As :meth:`featurestore.arrivals.notifications.subscriptions.Subscriptions.failure` says."""
        return self._pipelines.subscriptions.failure(address)

    def close(self) -> None:
        """Hear of nothing more."""
        self._pipelines.subscriptions.close()


def _key(address: str) -> Key:
    namespace, _, name = address.partition("/")
    return Key("DataPipeline", namespace, name)
