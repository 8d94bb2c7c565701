"""Copies of what the API server has, small and indexed, and the keys that a change concerns.

An object is kept as packed JSON without ``managedFields`` and parsed on each use, because few of
many are ever looked at. It is packed by what the first one of its kind looked like, as all of a kind look much alike.
Who works on a key is woken (``wake``) by every change that may matter to it:

    changed                             wakes
    FeatureStore, but for its status    itself, and all of its namespace
    FeatureStore's readiness            all of its namespace
    any other, but for its status       itself, and those that name it: a pipeline's views, those that look it up;
                                        of a view and a service, the other one of its name
    what its status tells those         those that name it: see ``tells`` in the table of kinds
    any status that is wiped            itself
    Job, Pod                            the pipeline or view in its labels; a Job that ended or is gone also the
                                        pipeline's views
    Pod of workers that stay            the FeatureStores of its namespace

Status is what the operator itself writes: were it woken by that, every write would cost another look.
"""

from __future__ import annotations

import threading
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from sys import intern
from typing import Any, NamedTuple

from pydantic_core import from_json, to_json

from featurestore.resources.kinds import KINDS, ResourceKind
from featurestore_operator.informer.status_summary import StatusSummary
from featurestore_operator.kube.api_resources import (
    FEATURE_VIEW,
    JOB,
    POD,
    WORKERS_LABEL,
    ApiResource,
)
from featurestore_operator.kube.object_key import Key

JOB_LABEL = "batch.kubernetes.io/job-name"
_OF_NO_USE = ("managedFields", "resourceVersion")
"""In metadata: who wrote which field, and the version, which is kept apart."""

Object = dict[str, Any]
Place = tuple[str, str, str]
"""Kind, namespace, name."""
Wake = Callable[[Key, float], None]


class _Entry(NamedTuple):
    """``content``: packed, by what was ``like`` it."""

    uid: str
    version: int
    content: bytes
    like: bytes
    beyond_status: int
    groups: tuple[Place, ...]
    standing: StatusSummary | None
    busy: bool


class Cache:
    """Objects by kind, namespace and name; safe to use from threads.

    ``wake(key, after_s)`` is called for each key that a change concerns.
    """

    def __init__(self, wake: Wake) -> None:
        self._wake = wake
        self._lock = threading.RLock()
        self._woken: set[Key] = set()
        self._entries: dict[Place, _Entry] = {}
        # Group, such as the jobs of one pipeline, to the names in it. A dict and not a set: in order of arrival.
        self._groups: defaultdict[Place, dict[str, None]] = defaultdict(dict)
        self._busy: defaultdict[str, dict[str, None]] = defaultdict(dict)
        self._when_a_job_ends: list[Callable[[], None]] = []
        self._synced = threading.Event()
        # Kind, and whether the status says anything, to the JSON of the first such object.
        self._like: dict[tuple[str, bool], bytes] = {}

    @property
    def synced(self) -> bool:
        """Whether everything that existed at the start is here. Before that, an absent object may exist."""
        return self._synced.is_set()

    def wait_until_synced(self, timeout_s: float) -> bool:
        return self._synced.wait(timeout_s)

    def mark_synced(self) -> None:
        self._synced.set()

    def get(self, key: Key) -> Object | None:
        """The object, or None if there is none."""
        return self._object((key.kind, key.namespace, key.name))

    def stores(self, namespace: str) -> list[Object]:
        """The FeatureStores of a namespace, by name."""
        return sorted(self._members("FeatureStore", ("FeatureStore", namespace, "")), key=_name)

    def names(self, kind: str, namespace: str) -> list[str]:
        """Names of the resources of a kind in a namespace, in order."""
        return self._names((kind, namespace, ""))

    def readers(self, key: Key) -> list[Key]:
        """The resources whose specs name this one, whether it is there or not, by kind and name."""
        return [
            Key(kind.name, key.namespace, name)
            for kind in KINDS.values()
            if any(reference.kind == key.kind for reference in kind.references)
            for name in self._names((f"{kind.name} of {key.kind}", key.namespace, key.name))
        ]

    def jobs(self, namespace: str, *, pipeline: str | None = None, view: str | None = None) -> list[Object]:
        """The Jobs of a pipeline or of a view, from the oldest to the newest."""
        if pipeline is not None:
            return self.jobs_of(Key("DataPipeline", namespace, pipeline))
        return self.jobs_of(Key("FeatureView", namespace, view or ""))

    def jobs_of(self, key: Key) -> list[Object]:
        """The Jobs that are labelled with a resource, from the oldest to the newest."""
        return sorted(self._members("Job", (f"jobs-of-{key.row.noun}", key.namespace, key.name)), key=_age)

    def jobs_under_way(self) -> dict[str, int]:
        """Namespace to the number of its Jobs that may have a pod: they have not ended, and no queue holds them."""
        with self._lock:
            return {namespace: len(names) for namespace, names in self._busy.items()}

    def busy(self, namespace: str) -> list[Object]:
        """Those Jobs of a namespace."""
        with self._lock:
            entries = [self._entries["Job", namespace, name] for name in self._busy.get(namespace, ())]
        return list(map(_unpack, entries))

    def when_a_job_ends(self, call: Callable[[], None]) -> None:
        """Call this whenever a Job has ended, is gone, or is held by a queue."""
        self._when_a_job_ends.append(call)

    def pods(self, namespace: str, job: str) -> list[Object]:
        """The Pods of a Job, from the oldest to the newest."""
        return sorted(self._members("Pod", ("pods-of", namespace, job)), key=_age)

    def worker_pods(self, namespace: str, kind: str = "") -> list[Object]:
        """The pods of workers that stay, of one kind or of all."""
        return sorted(self._members("Pod", ("workers", namespace, kind)), key=_age)

    def all_keys(self) -> list[Key]:
        """Keys of all resources of ours."""
        with self._lock:
            return [Key(kind, namespace, name) for kind, namespace, name in self._entries if kind in KINDS]

    def standings(self) -> list[tuple[Key, StatusSummary]]:
        """How each of our resources stands; no object is parsed for it."""
        with self._lock:
            return [
                (Key(kind, namespace, name), entry.standing)
                for (kind, namespace, name), entry in self._entries.items()
                if entry.standing is not None
            ]

    def wake(self, key: Key, after_s: float = 0.0) -> None:
        """Wake the key, whether its object is here or not."""
        with self._lock:
            self._woken.add(key)
        self._wake(key, after_s)

    def take_woken(self, key: Key) -> bool:
        """Whether the key was woken since this was asked last; else only its own time has come."""
        with self._lock:
            woken = key in self._woken
            self._woken.discard(key)
        return woken

    def version(self, key: Key) -> int | None:
        """ApiResource version of the object; None if there is none."""
        with self._lock:
            entry = self._entries.get((key.kind, key.namespace, key.name))
        return None if entry is None else entry.version

    def versions(self, resource: ApiResource) -> dict[tuple[str, str], tuple[str, int]]:
        """Namespace and name to uid and resource version, of all that is here of a kind."""
        with self._lock:
            return {
                (namespace, name): (entry.uid, entry.version)
                for (kind, namespace, name), entry in self._entries.items()
                if kind == resource.kind
            }

    def put(self, resource: ApiResource, item: Object) -> None:
        """Put this version of the object in, unless a newer one is here."""
        place = (resource.kind, *_named(item))
        entry = _entry(resource, item, self._like)
        with self._lock:
            old = self._entries.get(place)
            # Whatever its uid: versions grow over all objects of a kind, and one that was created again is newer.
            if old and old.version >= entry.version:
                return
            self._remove(place)
            self._entries[place] = entry
            for group in entry.groups:
                self._groups[group][place[2]] = None
            if entry.busy:
                self._busy[place[1]][place[2]] = None
        before = _unpack(old) if old and old.beyond_status == entry.beyond_status else None
        self._tell(resource, item, before)
        self._tell_end(old, entry)

    def drop(self, resource: ApiResource, namespace: str, name: str, uid: str) -> None:
        """Remove the object with that uid."""
        place = (resource.kind, namespace, name)
        with self._lock:
            entry = self._entries.get(place)
            if entry is None or entry.uid != uid:
                return
            self._remove(place)
        self._tell(resource, _unpack(entry), None, gone=True)
        self._tell_end(entry, None)

    def _tell_end(self, before: _Entry | None, now: _Entry | None) -> None:
        if before is not None and before.busy and not (now is not None and now.busy):
            for call in self._when_a_job_ends:
                call()

    def _tell(
        self, resource: ApiResource, item: Object, before: Object | None, *, gone: bool = False
    ) -> None:
        for key in dict.fromkeys(self._concerned(resource, item, before, gone)):
            self.wake(key)

    def _concerned(
        self, resource: ApiResource, item: Object, before: Object | None, gone: bool
    ) -> Iterator[Key]:
        # ``before``: what it was, if nothing but its status is another now.
        namespace, name = _named(item)
        if resource in (JOB, POD):
            labels = item["metadata"].get("labels") or {}
            yield from self._concerned_by_work(namespace, labels, resource is JOB and (gone or _ended(item)))
            return
        key, kind = Key(resource.kind, namespace, name), KINDS[resource.kind]
        if before is None or (_says_anything(before) and not _says_anything(item)):
            yield key
            if key.twin is not None:
                yield key.twin
        if kind.only_one:
            if before is None or _readiness(item) != _readiness(before):
                others = (other.name for other in KINDS.values() if not other.only_one)
                yield from (
                    Key(other, namespace, name) for other in others for name in self.names(other, namespace)
                )
        elif before is None or _depended_on(kind, item) != _depended_on(kind, before):
            yield from self.readers(key)

    def _concerned_by_work(self, namespace: str, labels: Mapping[str, str], ended: bool) -> Iterator[Key]:
        if WORKERS_LABEL in labels:
            yield from (
                Key("FeatureStore", namespace, name) for name in self.names("FeatureStore", namespace)
            )
        for kind in KINDS.values():
            if name := kind.label and labels.get(kind.label):
                key = Key(kind.name, namespace, name)
                yield key
                if ended:
                    # The Job of a batch brings the views of its pipeline on.
                    yield from (reader for reader in self.readers(key) if reader.kind == FEATURE_VIEW.kind)

    def _remove(self, place: Place) -> None:
        entry = self._entries.pop(place, None)
        if entry is None:
            return
        if entry.busy:
            names = self._busy[place[1]]
            del names[place[2]]
            if not names:
                del self._busy[place[1]]
        for group in entry.groups:
            members = self._groups[group]
            members.pop(place[2], None)
            if not members:
                del self._groups[group]

    def _object(self, place: Place) -> Object | None:
        with self._lock:
            entry = self._entries.get(place)
        return None if entry is None else _unpack(entry)

    def _names(self, group: Place) -> list[str]:
        with self._lock:
            return sorted(self._groups.get(group, ()))

    def _members(self, kind: str, group: Place) -> Iterable[Object]:
        with self._lock:
            entries = [self._entries[kind, group[1], name] for name in self._groups.get(group, ())]
        return map(_unpack, entries)


def _entry(resource: ApiResource, item: Object, known: dict[tuple[str, bool], bytes]) -> _Entry:
    metadata = {key: value for key, value in item["metadata"].items() if key not in _OF_NO_USE}
    beyond_status = to_json(
        {
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            **{key: value for key, value in item.items() if key != "status"},
            "metadata": metadata,
        }
    )
    version = item["metadata"]["resourceVersion"]
    rest = to_json({"status": item.get("status"), "resourceVersion": version})
    like = known.setdefault((resource.kind, _says_anything(item)), beyond_status + rest)
    return _Entry(
        metadata["uid"],
        int(version),
        _pack(beyond_status + b"\n" + rest, like),
        like,
        hash(beyond_status),
        tuple(_groups(resource, item)),
        StatusSummary.of(item) if resource.kind in KINDS else None,
        resource is JOB and not _ended(item) and not item["spec"].get("suspend"),
    )


def _pack(content: bytes, like: bytes) -> bytes:
    packing = zlib.compressobj(1, zdict=like)
    return packing.compress(content) + packing.flush()


def _unpack(entry: _Entry) -> Object:
    content = zlib.decompressobj(zdict=entry.like).decompress(entry.content)
    beyond_status, _, rest = content.partition(b"\n")
    item: Object = from_json(beyond_status, cache_strings="keys")
    kept = from_json(rest, cache_strings="keys")
    item["metadata"]["resourceVersion"] = kept["resourceVersion"]
    if kept["status"] is not None:
        item["status"] = kept["status"]
    return item


def _groups(resource: ApiResource, item: Object) -> Iterator[Place]:
    spec, labels = item.get("spec") or {}, item["metadata"].get("labels") or {}
    namespace, _ = _named(item)
    if own := KINDS.get(resource.kind):
        yield (own.name, namespace, "")
        for named, _, name in own.named(spec):
            yield (intern(f"{own.name} of {named}"), namespace, intern(name))
    elif resource is JOB:
        for kind in KINDS.values():
            if kind.label and (worked_for := labels.get(kind.label)):
                yield (f"jobs-of-{kind.noun}", namespace, worked_for)
    elif job := labels.get(JOB_LABEL):
        yield ("pods-of", namespace, job)
    elif kind_of_workers := labels.get(WORKERS_LABEL):
        yield ("workers", namespace, kind_of_workers)
        yield ("workers", namespace, "")


def _named(item: Object) -> tuple[str, str]:
    """Namespace and name, each text once however many keys are made of it."""
    metadata = item["metadata"]
    return intern(metadata["namespace"]), intern(metadata["name"])


def _depended_on(kind: ResourceKind, item: Object) -> list[Any]:
    """The part of its status that the resources which name it depend on."""
    status = item.get("status") or {}
    return [_readiness(item) if field == "Ready" else status.get(field) for field in kind.tells]


def _readiness(store: Object) -> Any:
    conditions = (store.get("status") or {}).get("conditions") or ()
    return next((condition["status"] for condition in conditions if condition["type"] == "Ready"), None)


def _says_anything(item: Object) -> bool:
    # What the API server fills in of a status that is not there says that no generation was observed.
    return bool((item.get("status") or {}).get("observedGeneration"))


def _ended(job: Object) -> bool:
    conditions = (job.get("status") or {}).get("conditions") or ()
    return any(
        condition["type"] in ("Complete", "Failed") and condition["status"] == "True"
        for condition in conditions
    )


def _name(item: Object) -> str:
    return str(item["metadata"]["name"])


def _age(item: Object) -> tuple[str, str]:
    return item["metadata"].get("creationTimestamp") or "", item["metadata"]["name"]
