"""The calls to the Kubernetes API that the controller makes; objects are dicts, as in manifests.

All of them end in time, count themselves, and raise errors of our tree.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn, Protocol

import ijson
import urllib3
from kubernetes.client import ApiClient, Configuration
from kubernetes.client.exceptions import ApiException
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import DynamicApiError
from pydantic_core import from_json

from featurestore.errors import Busy, Conflict, FeatureStoreError, NotFound, SpecError, TransientError
from featurestore_operator.kube.api_resources import ApiResource

FIELD_MANAGER = "featurestore-operator"
CONNECT_S, READ_S = 5.0, 30.0

Object = dict[str, Any]
_APPLY, _MERGE, _JSON = "application/apply-patch+yaml", "application/merge-patch+json", "application/json"
_CHUNK = 1 << 16
_TERMINATING = "NamespaceTerminating"
_UNTYPED = "failed to create typed patch object"
"""What server-side apply says, with the code 500, of a field that is not in the schema, or is there twice."""
_METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


class Meter(Protocol):
    """Observes each call. ``code``: the HTTP status, or 0 where there was no answer."""

    def called(self, verb: str, resource: str, code: int, seconds: float) -> None: ...


class Forbidden(SpecError):
    """The API server does not let the operator do something that it must do."""


class Exists(Conflict):
    """An object of this name exists already."""


class Terminating(TransientError):
    """The namespace is being deleted: what exists can be changed, but nothing can be created."""


class Api:
    """The API server, for threads: calls may be made at the same time.

    Every call raises:
        Busy: the server asks to wait.
        Conflict: the object is another one than was read, or another writer was first.
        NotFound: the object, its namespace or its kind is not there.
        Forbidden: the operator lacks a permission.
        Terminating: the namespace is being deleted, and the object would be a new one.
        SpecError: the server refuses the object as invalid.
        TransientError: the server did not answer, or failed.
    """

    def __init__(self, configuration: Configuration, meter: Meter, connections: int = 16) -> None:
        configuration.connection_pool_maxsize = connections
        self._meter = meter
        # Paths are known, so that nothing need be discovered.
        self._client = DynamicClient(ApiClient(configuration), discoverer=lambda *_: None)  # type: ignore[no-untyped-call]

    def get(self, resource: ApiResource, namespace: str, name: str) -> Object:
        """The object as it is now."""
        return self._call("get", resource, namespace, name)

    def list(
        self, resource: ApiResource, namespace: str | None, labels: Mapping[str, str] | None = None
    ) -> list[Object]:
        """All objects with these labels as they are now, in one namespace or (None) in all."""
        listing = self._call("list", resource, namespace, "", query=_selecting(labels))
        return [_whole(resource, item) for item in listing["items"]]

    def each(
        self, resource: ApiResource, namespace: str | None, labels: Mapping[str, str] | None = None
    ) -> Iterator[Object]:
        """As ``list``, one by one, and as the API server remembers them, which may be slightly stale.

        That takes a tenth of its time: it reads and decodes nothing of its database.
        """
        return _items(resource, self._remembered(resource, namespace, labels, _JSON))

    def each_metadata(
        self, resource: ApiResource, namespace: str | None, labels: Mapping[str, str] | None = None
    ) -> Listing:
        """As ``each``, only the metadata."""
        return Listing(resource, self._remembered(resource, namespace, labels, _METADATA_ONLY))

    def apply(self, resource: ApiResource, manifest: Object) -> Object:
        """The object after server-side apply of the manifest, whose fields are ours from now on.

        Applied again, the same manifest writes nothing, unless ``labels`` or ``annotations`` are there and empty.
        """
        return self._apply(resource, manifest, "")

    def apply_status(self, resource: ApiResource, manifest: Object) -> Object:
        """Server-side apply of the manifest's ``status``. The object must be there."""
        return self._apply(resource, manifest, "status")

    def patch(self, resource: ApiResource, namespace: str, name: str, change: Object) -> Object:
        """Merge ``change`` into the object."""
        return self._call("patch", resource, namespace, name, body=change, content_type=_MERGE)

    def create(self, resource: ApiResource, manifest: Object) -> Object:
        """The new object.

        Raises:
            Exists: it exists already.
        """
        return self._call("create", resource, manifest["metadata"]["namespace"], "", body=manifest)

    def replace(self, resource: ApiResource, manifest: Object) -> Object:
        """The object as in the manifest, if it still has the manifest's resourceVersion.

        Raises:
            Conflict: it has another one.
        """
        metadata = manifest["metadata"]
        return self._call("update", resource, metadata["namespace"], metadata["name"], body=manifest)

    def delete(
        self,
        resource: ApiResource,
        namespace: str,
        name: str,
        uid: str | None = None,
        propagation: str = "Background",
    ) -> None:
        """Delete the object, and no other one of its name. It may be gone already."""
        options: Object = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": propagation}
        if uid is not None:
            options["preconditions"] = {"uid": uid}
        try:
            self._call("delete", resource, namespace, name, body=options)
        except NotFound:
            return

    def close(self) -> None:
        self._client.client.rest_client.pool_manager.clear()

    def _apply(self, resource: ApiResource, manifest: Object, subresource: str) -> Object:
        metadata = manifest["metadata"]
        return self._call(
            "patch",
            resource,
            metadata["namespace"],
            metadata["name"],
            subresource,
            body={"apiVersion": resource.api_version, "kind": resource.kind, **manifest},
            content_type=_APPLY,
            query={"fieldManager": FIELD_MANAGER, "force": "true"},
        )

    def _remembered(
        self, resource: ApiResource, namespace: str | None, labels: Mapping[str, str] | None, accept: str
    ) -> Iterator[bytes]:
        query = {**_selecting(labels), "resourceVersion": "0"}
        with self._answer("list", resource, namespace, "", accept=accept, query=query) as answer:
            yield from answer.stream(_CHUNK)

    def _call(
        self,
        verb: str,
        resource: ApiResource,
        namespace: str | None,
        name: str,
        subresource: str = "",
        *,
        body: Object | None = None,
        content_type: str = _JSON,
        query: Mapping[str, str] | None = None,
    ) -> Object:
        with self._answer(
            verb, resource, namespace, name, subresource, body=body, content_type=content_type, query=query
        ) as answer:
            answered: Object = from_json(answer.data, cache_strings="keys")
        return answered

    @contextmanager
    def _answer(
        self,
        verb: str,
        resource: ApiResource,
        namespace: str | None,
        name: str,
        subresource: str = "",
        *,
        body: Object | None = None,
        content_type: str = _JSON,
        accept: str = _JSON,
        query: Mapping[str, str] | None = None,
    ) -> Iterator[urllib3.BaseHTTPResponse]:
        """What the API server answers, to be read while this is entered."""
        where = f"{resource.plural}{'/' + subresource if subresource else ''}"
        start = time.monotonic()
        code = 0
        try:
            answer = self._client.request(
                _METHODS[verb],
                resource.path(namespace, name, subresource),
                body=body,
                content_type=content_type,
                header_params={"Accept": accept},
                query_params=list((query or {}).items()),
                _request_timeout=(CONNECT_S, READ_S),
                serialize=False,
            )
            code = answer.status
            yield answer
        except (DynamicApiError, ApiException) as refusal:
            code = int(refusal.status or 0)
            _raise(refusal, code, verb, resource.kind, where, namespace, name)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise TransientError(
                "the API server did not answer",
                where=f"{verb} {where}",
                got=f"{type(error).__name__}: {error}",
            ) from error
        finally:
            self._meter.called(verb, where, code, time.monotonic() - start)


class Listing:
    """The objects of a list, one by one as they come. ``version``: of the list, once all have come."""

    def __init__(self, resource: ApiResource, chunks: Iterator[bytes]) -> None:
        self._resource, self._chunks = resource, chunks
        self.version = 0

    def __iter__(self) -> Iterator[Object]:
        version = ijson.sendable_list()
        yield from _items(self._resource, self._chunks, ijson.items_coro(version, "metadata.resourceVersion"))
        self.version = int(version[0])


def _items(resource: ApiResource, chunks: Iterator[bytes], *readers: Any) -> Iterator[Object]:
    """The items of a list that comes in chunks, which ``readers`` are given, too.

    All at once would take 100 MiB if they are thousands: with its managed fields, an object takes ten times what is kept
    of it.

    Raises:
        TransientError: it ended too early.
    """
    items = ijson.sendable_list()
    readers = (ijson.items_coro(items, "items.item", use_float=True), *readers)
    try:
        for chunk in chunks:
            for reader in readers:
                reader.send(chunk)
            yield from (_whole(resource, item) for item in items)
            items.clear()
        for reader in readers:
            reader.close()
    except ijson.JSONError as error:
        raise TransientError(
            "the API server's answer ended too early", where=f"list {resource.plural}", got=str(error)
        ) from error


def _whole(resource: ApiResource, item: Object) -> Object:
    """An item of a list, which need not say its kind, nor its version."""
    return {"apiVersion": resource.api_version, "kind": resource.kind, **item}


def _selecting(labels: Mapping[str, str] | None) -> dict[str, str]:
    if not labels:
        return {}
    return {"labelSelector": ",".join(f"{key}={value}" for key, value in sorted(labels.items()))}


_METHODS = {
    "get": "get",
    "list": "get",
    "create": "post",
    "update": "put",
    "patch": "patch",
    "delete": "delete",
}


def _raise(
    refusal: DynamicApiError | ApiException,
    code: int,
    verb: str,
    kind: str,
    where: str,
    namespace: str | None,
    name: str,
) -> NoReturn:
    """Raise the error that the API server's refusal means.

    https://kubernetes.io/docs/reference/using-api/api-concepts/#api-responses
    """
    place = f"namespace {namespace}" if namespace else "the cluster"
    at = f"{verb} {where} {namespace or ''}{'/' if name else ''}{name}".strip()
    message = _message(refusal)
    error: FeatureStoreError
    if code == 404:
        error = NotFound(
            f"there is no {kind} {name!r} in {place}" if name else f"{where} are not served", got=message
        )
    elif code == 403 and _TERMINATING in _causes(refusal):
        error = Terminating(f"namespace {namespace} is being deleted: nothing can be created in it", where=at)
    elif code in (401, 403):
        error = Forbidden(
            f"the operator may not {verb} {where} in {place}",
            got=message,
            hint=f"Give its service account a Role with the verb {verb} on {where}",
        )
    elif code == 409:
        # A quota that is written to at the same time refuses a new object with the same code: that one is not there.
        conflict = Exists if _reason(refusal) == "AlreadyExists" else Conflict
        error = conflict("another writer was first", where=at, got=message)
    elif code in (400, 405, 413, 415, 422) or _UNTYPED in message:
        error = SpecError("the API server refuses the object", where=at, got=message)
    elif code == 429:
        wait = refusal.headers.get("Retry-After") if refusal.headers else None
        error = Busy(
            "the API server asks the client to wait",
            retry_after_s=float(wait) if wait and wait.isdigit() else 1.0,
            where=at,
        )
    else:
        error = TransientError("the API server failed", where=at, got=f"{code} {message}")
    raise error from refusal


def _message(refusal: DynamicApiError | ApiException) -> str:
    body = refusal.body or ""
    return _detail(refusal, "message") or str(body)[:500] or str(refusal.reason)


def _reason(refusal: DynamicApiError | ApiException) -> str:
    return _detail(refusal, "reason")


def _causes(refusal: DynamicApiError | ApiException) -> list[str]:
    """What the API server names as the causes of its refusal; [] if it names none."""
    try:
        return [cause["reason"] for cause in json.loads(refusal.body or "")["details"]["causes"]]
    except (ValueError, KeyError, TypeError):
        return []


def _detail(refusal: DynamicApiError | ApiException, part: str) -> str:
    """A part of the Status that the API server answers with; "" if it answers otherwise."""
    try:
        return str(json.loads(refusal.body or "")[part])
    except (ValueError, KeyError, TypeError):
        return ""
