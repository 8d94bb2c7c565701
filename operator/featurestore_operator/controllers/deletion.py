"""Deleting a resource with its data, for those who ask for it: ``deletionPolicy: Delete``.

A finalizer holds the object until its data is gone. Storage that is gone for good would hold it for ever: the
annotation ``featurestore.dev/abandon-data: "true"`` lets it go, and leaves the data where it is.

A namespace that is being deleted waits for all in it, and nothing can be set right there any more. Its FeatureStore and
Secrets may go first; then data is deleted where it was last seen. What cannot be deleted is left.
"""

from __future__ import annotations

import logging
from typing import Any

from featurestore.errors import NotFound, StorageError
from featurestore.reconcile.conditions import Condition, false
from featurestore.reconcile.reasons import Reason
from featurestore.storage import paths
from featurestore.timestamps import SECOND_US, parse_us
from featurestore_operator.controllers.status_writer import StatusWriter
from featurestore_operator.jobs.workers import BatchWorkers
from featurestore_operator.kube.api import Api
from featurestore_operator.kube.api_resources import (
    JOB,
    NAMESPACE,
    OURS,
    PIPELINE_LABEL,
    POD,
    VIEW_LABEL,
)
from featurestore_operator.kube.object_key import Key
from featurestore_operator.namespaces.open_store import SECRET_US, OpenStore

logger = logging.getLogger(__name__)

FINALIZER = "featurestore.dev/delete-data"
ABANDON = "featurestore.dev/abandon-data"
_AGAIN_US = 2 * SECOND_US
_AT_ONCE = 20
"""How many folders and files are deleted between two reports of progress."""
PATIENCE_US = 60 * SECOND_US
"""How long to wait for storage that does not answer in a namespace that is being deleted."""


class Deletion:
    def __init__(self, api: Api, status_writer: StatusWriter, workers: BatchWorkers) -> None:
        self._api, self._status_writer, self._workers = api, status_writer, workers
        self._places: dict[Key, OpenStore] = {}

    def guard(self, key: Key, obj: dict[str, Any], store: OpenStore | None) -> None:
        """Set the finalizer if the resource is to be deleted with its data, otherwise remove it.

        ``store``: where its data is. It is remembered for as long. None if it does not answer now.
        """
        wanted = obj["spec"].get("deletionPolicy") == "Delete"
        if wanted and store is not None:
            self._places[key] = store
        elif not wanted:
            self.forget(key)
        if wanted != (FINALIZER in _finalizers(obj)):
            self._set(key, obj, [FINALIZER] if wanted else [])

    def forget(self, key: Key) -> None:
        """Forget a resource that has gone, or that leaves its data."""
        self._places.pop(key, None)

    def abandon(self, key: Key, obj: dict[str, Any]) -> bool:
        """Let the object go without looking at storage, if its annotation says so."""
        asked = (obj["metadata"].get("annotations") or {}).get(ABANDON) == "true"
        if asked and FINALIZER in _finalizers(obj):
            self._set(key, obj, [])
        return asked

    def proceed(
        self,
        key: Key,
        obj: dict[str, Any],
        store: OpenStore | Condition,
        jobs: list[dict[str, Any]],
        now_us: int,
    ) -> int | None:
        """Delete some of the data, or let the object go; when to go on (UTC microseconds).

        Raises:
            StorageError: storage did not answer.
        """
        if FINALIZER not in _finalizers(obj):
            return None
        if isinstance(store, Condition):
            if not self._goes_whole(key.namespace):
                self._status_writer.write(obj, (hindered(key, store.message),), {})
                return now_us + SECRET_US
            if key not in self._places:
                self._leave(key, obj, store.message)
                return None
            store = self._places[key]
        # First: a Job that begins from now on leaves it alone.
        store.registry.remove(key.row.model, key.name)
        own = [job["metadata"] for job in jobs if job["metadata"]["labels"].get(key.row.label) == key.name]
        for metadata in own:
            self._api.delete(JOB, key.namespace, metadata["name"], metadata["uid"], "Foreground")
        writing = self._writing(key, obj)
        if writing:
            deleting = false("Ready", Reason.DELETING, f"Its data is deleted when pod {writing} has ended.")
            self._status_writer.write(obj, (deleting,), {})
        if own or writing:
            return now_us + _AGAIN_US
        left = self._delete_some(key, store)
        if left:
            deleting = false("Ready", Reason.DELETING, f"Its data is being deleted: {left} is left.")
            self._status_writer.write(obj, (deleting,), {})
            return now_us
        self._set(key, obj, [])
        return None

    def gives_up(self, key: Key, obj: dict[str, Any], why: str, now_us: int) -> bool:
        """Whether the object was let go, and its data left, because storage does not answer: only with its namespace."""
        asked_us = parse_us(obj["metadata"]["deletionTimestamp"])
        if FINALIZER not in _finalizers(obj) or now_us < asked_us + PATIENCE_US:
            return False
        if not self._goes_whole(key.namespace):
            return False
        self._leave(key, obj, why)
        return True

    def _goes_whole(self, namespace: str) -> bool:
        """Whether the namespace is being deleted."""
        try:
            return "deletionTimestamp" in self._api.get(NAMESPACE, "", namespace)["metadata"]
        except NotFound:
            return True

    def _writing(self, key: Key, obj: dict[str, Any]) -> str:
        """Name of a pod that may still write what is to be deleted; "" if there is none.

        The Job of a batch brings views on, and a namespace that is being deleted takes Jobs before their pods.
        """
        pipeline = key.pipeline(obj)
        if pipeline and (worker := self._workers.end(key.namespace, pipeline)):
            return worker
        labelled = {PIPELINE_LABEL: pipeline} if pipeline else {key.row.label: key.name}
        for pod in self._api.list(POD, key.namespace, labelled):
            metadata = pod["metadata"]
            labels = metadata["labels"]
            brings_on = key.kind == "FeatureView" and VIEW_LABEL not in labels
            concerned = key.kind == "DataPipeline" or brings_on or labels.get(key.row.label) == key.name
            # One that is yet to begin finds the resource accepted no more.
            runs = pod["status"].get("phase") == "Running"
            # RFC 3339 in UTC, as all of the API server's: texts that are ordered as the moments are.
            if concerned and runs and metadata["creationTimestamp"] <= obj["metadata"]["deletionTimestamp"]:
                return str(metadata["name"])
        return ""

    def _leave(self, key: Key, obj: dict[str, Any], why: str) -> None:
        """Let the object go, with its data where it is."""
        # In the log alone: there can be no new Event in such a namespace.
        logger.warning(
            "goes with its namespace, and its data is left in storage, as it cannot be deleted: %s", why
        )
        self._set(key, obj, [])

    def _delete_some(self, key: Key, store: OpenStore) -> str:
        """Delete at most so much at once; the folder in which something is left, or ""."""
        if key.kind == "FeatureView":
            self._drop_online(key, store)
        room = _AT_ONCE
        for folder in paths.data(key.row.folder, key.name):
            names = store.storage.names(folder)
            for name in names[:room]:
                store.storage.delete(f"{folder}/{name}")
            room -= len(names)
            if room < 0:
                return store.storage.uri(folder)
        return ""

    def _drop_online(self, key: Key, store: OpenStore) -> None:
        builds = store.storage.names(paths.builds(key.name))
        try:
            for name in builds:
                store.index.delete(key.name, name.removesuffix(".json"))
        except StorageError as error:
            if not self._goes_whole(key.namespace):
                raise
            # A managed one goes with the namespace, and before it.
            logger.warning("what is online is left: %s", error)

    def _set(self, key: Key, obj: dict[str, Any], ours: list[str]) -> None:
        others = [finalizer for finalizer in _finalizers(obj) if finalizer != FINALIZER]
        # With the version: what others add meanwhile is not lost.
        change = {
            "metadata": {
                "finalizers": others + ours,
                "resourceVersion": obj["metadata"]["resourceVersion"],
            }
        }
        self._api.patch(OURS[key.kind], key.namespace, key.name, change)


def hindered(key: Key, why: str) -> Condition:
    """The condition that its data cannot be deleted now, and what to do if that does not change."""
    how = f"kubectl annotate {key.kind.lower()} {key.name} {ABANDON}=true leaves the data and lets it go."
    return false("Ready", Reason.DELETING, f"Its data cannot be deleted: {why} {how}")


def _finalizers(obj: dict[str, Any]) -> list[str]:
    return list(obj["metadata"].get("finalizers") or ())
