"""Deleting a resource with its data, for those who ask for it: ``deletionPolicy: Delete``.

A finalizer holds the object until its data is gone. Storage that is gone for good would hold it for ever: the
annotation ``featurestore.dev/abandon-data: "true"`` lets it go, and leaves the data where it is.
"""

from __future__ import annotations

from typing import Any

from featurestore import layout
from featurestore.backoff import SECOND_US
from featurestore.condition import Condition, false
from featurestore.reason import Reason
from featurestore_operator.api import Api
from featurestore_operator.key import Key
from featurestore_operator.resource import JOB, LABEL_OF, OF_KIND
from featurestore_operator.store import OpenStore
from featurestore_operator.teller import Teller

FINALIZER = "featurestore.dev/delete-data"
ABANDON = "featurestore.dev/abandon-data"
_AGAIN_US = 2 * SECOND_US
_AT_ONCE = 20
"""Folders and files that are deleted before it is said how far it has come."""


class Deletion:
    def __init__(self, api: Api, teller: Teller) -> None:
        self._api, self._teller = api, teller

    def guard(self, key: Key, found: dict[str, Any]) -> None:
        """Set the finalizer if the resource is to be deleted with its data, else take it away."""
        wanted = found["spec"].get("deletionPolicy") == "Delete"
        if wanted != (FINALIZER in _finalizers(found)):
            self._set(key, found, [FINALIZER] if wanted else [])

    def abandon(self, key: Key, found: dict[str, Any]) -> bool:
        """Let the object go without a look at storage, if that is what its annotation says."""
        asked = (found["metadata"].get("annotations") or {}).get(ABANDON) == "true"
        if asked and FINALIZER in _finalizers(found):
            self._set(key, found, [])
        return asked

    def proceed(
        self,
        key: Key,
        found: dict[str, Any],
        store: OpenStore | Condition,
        jobs: list[dict[str, Any]],
        now_us: int,
    ) -> int | None:
        """Delete some of the data, or let the object go; when to go on (UTC microseconds).

        Raises:
            StorageError: storage did not answer.
        """
        if FINALIZER not in _finalizers(found):
            return None
        if isinstance(store, Condition):
            self._teller.say(found, (hindered(key, store.message),), {})
            return None
        own = [it["metadata"] for it in jobs if it["metadata"]["labels"].get(LABEL_OF[key.kind]) == key.name]
        if own:
            # They would write into what is being deleted. In the foreground: the last goes when its pods are gone.
            for metadata in own:
                self._api.delete(JOB, key.namespace, metadata["name"], metadata["uid"], "Foreground")
            return now_us + _AGAIN_US
        store.registry.remove(key.accepted_as, key.name)
        left = _delete_some(key, store)
        if left:
            said = false("Ready", Reason.DELETING, f"Its data is being deleted: {left} is left.")
            self._teller.say(found, (said,), {})
            return now_us
        self._set(key, found, [])
        return None

    def _set(self, key: Key, found: dict[str, Any], ours: list[str]) -> None:
        others = [it for it in _finalizers(found) if it != FINALIZER]
        # With the version: what others add meanwhile is not lost.
        change = {
            "metadata": {
                "finalizers": others + ours,
                "resourceVersion": found["metadata"]["resourceVersion"],
            }
        }
        self._api.patch(OF_KIND[key.kind], key.namespace, key.name, change)


def hindered(key: Key, why: str) -> Condition:
    """That its data cannot be deleted now, and what to do if that does not change."""
    how = f"kubectl annotate {key.kind.lower()} {key.name} {ABANDON}=true leaves the data and lets it go."
    return false("Ready", Reason.DELETING, f"Its data cannot be deleted: {why} {how}")


def _delete_some(key: Key, store: OpenStore) -> str:
    """Delete at most so much at once; the folder in which something is left, or ""."""
    if key.kind == "FeatureView":
        for name in store.storage.names(layout.builds(key.name)):
            store.marks.drop(key.name, name.removesuffix(".json"))
    room = _AT_ONCE
    for folder in layout.data(key.accepted_as, key.name):
        names = store.storage.names(folder)
        for name in names[:room]:
            store.storage.delete(f"{folder}/{name}")
        room -= len(names)
        if room < 0:
            return store.storage.uri(folder)
    return ""


def _finalizers(found: dict[str, Any]) -> list[str]:
    return list(found["metadata"].get("finalizers") or ())
