"""The calls to the Kubernetes API that the controller makes; objects are dicts, as in manifests.

All of them end in time, count themselves, and raise errors of our tree.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NoReturn, Protocol

import urllib3
from kubernetes.client import ApiClient, Configuration
from kubernetes.client.exceptions import ApiException
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import DynamicApiError

from featurestore.errors import Busy, Conflict, FeatureStoreError, NotFound, SpecError, TransientError
from featurestore_operator.resource import Resource

FIELD_MANAGER = "featurestore-operator"
CONNECT_S, READ_S = 5.0, 30.0
PAGE, METADATA_PAGE = 100, 250
"""Small, for memory."""

Object = dict[str, Any]
_APPLY, _MERGE, _JSON = "application/apply-patch+yaml", "application/merge-patch+json", "application/json"
_TERMINATING = "NamespaceTerminating"
_METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


class Meter(Protocol):
    """Is told of each call. ``code``: the HTTP status, or 0 where there was no answer."""

    def called(self, verb: str, resource: str, code: int, seconds: float) -> None: ...


class Forbidden(SpecError):
    """The API server does not let the operator do what it must."""


class Exists(Conflict):
    """An object of this name is there already."""


class Terminating(TransientError):
    """The namespace is being deleted: what is there can be changed, and nothing new is let in."""


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

    def get(self, resource: Resource, namespace: str, name: str) -> Object:
        """The object as it is now."""
        return self._call("get", resource, namespace, name)

    def list(
        self, resource: Resource, namespace: str | None, labels: Mapping[str, str] | None = None
    ) -> list[Object]:
        """All objects with these labels, in one namespace or (None) in all."""
        return list(self.each(resource, namespace, labels))

    def each(
        self, resource: Resource, namespace: str | None, labels: Mapping[str, str] | None = None
    ) -> Iterator[Object]:
        """As ``list``, few at a time."""
        for page in self._pages(resource, namespace, labels, _JSON):
            items = page.pop("items")
            # Each is let go when it was used: with its managed fields, an object takes ten times what is kept of it.
            while items:
                # Items say neither their kind nor their version.
                yield {"apiVersion": resource.api_version, "kind": resource.kind, **items.pop()}

    def list_metadata(
        self, resource: Resource, namespace: str | None, labels: Mapping[str, str] | None = None
    ) -> Iterator[tuple[int, Sequence[Object]]]:
        """As ``each``, only the metadata; page by page, each with the version that the list was made at."""
        for page in self._pages(resource, namespace, labels, _METADATA_ONLY):
            # An empty list of metadata is null.
            items = page.pop("items", None) or []
            for item in items:
                item["metadata"].pop("managedFields", None)
            yield int(page["metadata"]["resourceVersion"]), items

    def apply(self, resource: Resource, manifest: Object) -> Object:
        """Server-side apply: the object with the manifest's fields in it, which are ours from here on.

        Applied again, the same manifest is no write, unless ``labels`` or ``annotations`` are there and empty.
        """
        return self._apply(resource, manifest, "")

    def apply_status(self, resource: Resource, manifest: Object) -> Object:
        """Server-side apply of the manifest's ``status``. The object must be there."""
        return self._apply(resource, manifest, "status")

    def patch(self, resource: Resource, namespace: str, name: str, change: Object) -> Object:
        """Merge ``change`` into the object."""
        return self._call("patch", resource, namespace, name, body=change, content_type=_MERGE)

    def create(self, resource: Resource, manifest: Object) -> Object:
        """The new object.

        Raises:
            Exists: it is there already.
        """
        return self._call("create", resource, manifest["metadata"]["namespace"], "", body=manifest)

    def replace(self, resource: Resource, manifest: Object) -> Object:
        """The object as in the manifest, if it still has the manifest's resourceVersion.

        Raises:
            Conflict: it has another one.
        """
        metadata = manifest["metadata"]
        return self._call("update", resource, metadata["namespace"], metadata["name"], body=manifest)

    def delete(
        self,
        resource: Resource,
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

    def _apply(self, resource: Resource, manifest: Object, subresource: str) -> Object:
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

    def _pages(
        self, resource: Resource, namespace: str | None, labels: Mapping[str, str] | None, accept: str
    ) -> Iterator[Object]:
        query = {"limit": str(PAGE if accept == _JSON else METADATA_PAGE)}
        if labels:
            query["labelSelector"] = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))

        def ask(more: Mapping[str, str]) -> Object:
            return self._call("list", resource, namespace, "", query={**query, **more}, accept=accept)

        # The next page comes while one is worked on.
        with ThreadPoolExecutor(1, "pages") as ahead:
            coming: Future[Object] | None = ahead.submit(ask, {})
            while coming is not None:
                page = coming.result()
                following = page["metadata"].get("continue")
                coming = ahead.submit(ask, {"continue": following}) if following else None
                yield page

    def _call(
        self,
        verb: str,
        resource: Resource,
        namespace: str | None,
        name: str,
        subresource: str = "",
        *,
        body: Object | None = None,
        content_type: str = _JSON,
        accept: str = _JSON,
        query: Mapping[str, str] | None = None,
    ) -> Object:
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
            return _loaded(answer.data)
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


_METHODS = {
    "get": "get",
    "list": "get",
    "create": "post",
    "update": "put",
    "patch": "patch",
    "delete": "delete",
}


def _loaded(data: bytes) -> Object:
    loaded: Object = json.loads(data)
    return loaded


def _raise(
    refusal: DynamicApiError | ApiException,
    code: int,
    verb: str,
    kind: str,
    where: str,
    namespace: str | None,
    name: str,
) -> NoReturn:
    """Raise what the API server's refusal means for us.

    https://kubernetes.io/docs/reference/using-api/api-concepts/#api-responses
    """
    place = f"namespace {namespace}" if namespace else "the cluster"
    at = f"{verb} {where} {namespace or ''}{'/' if name else ''}{name}".strip()
    said = _message(refusal)
    error: FeatureStoreError
    if code == 404:
        error = NotFound(
            f"there is no {kind} {name!r} in {place}" if name else f"{where} are not served", got=said
        )
    elif code == 403 and _TERMINATING in _causes(refusal):
        error = Terminating(f"namespace {namespace} is being deleted: nothing new is let in", where=at)
    elif code in (401, 403):
        error = Forbidden(
            f"the operator may not {verb} {where} in {place}",
            got=said,
            hint=f"Give its service account a Role with the verb {verb} on {where}",
        )
    elif code == 409:
        # A quota that is written to at the same time refuses a new object with the same code: that one is not there.
        conflict = Exists if _reason(refusal) == "AlreadyExists" else Conflict
        error = conflict("another writer was first", where=at, got=said)
    elif code in (400, 405, 413, 415, 422):
        error = SpecError("the API server refuses the object", where=at, got=said)
    elif code == 429:
        wait = refusal.headers.get("Retry-After") if refusal.headers else None
        error = Busy(
            "the API server asks to wait",
            retry_after_s=float(wait) if wait and wait.isdigit() else 1.0,
            where=at,
        )
    else:
        error = TransientError("the API server failed", where=at, got=f"{code} {said}")
    raise error from refusal


def _message(refusal: DynamicApiError | ApiException) -> str:
    body = refusal.body or ""
    return _said(refusal, "message") or str(body)[:500] or str(refusal.reason)


def _reason(refusal: DynamicApiError | ApiException) -> str:
    return _said(refusal, "reason")


def _causes(refusal: DynamicApiError | ApiException) -> list[str]:
    """What the API server names as the causes of its refusal; [] if it names none."""
    try:
        return [it["reason"] for it in json.loads(refusal.body or "")["details"]["causes"]]
    except (ValueError, KeyError, TypeError):
        return []


def _said(refusal: DynamicApiError | ApiException, part: str) -> str:
    """A part of the Status that the API server answers with; "" if it answers otherwise."""
    try:
        return str(json.loads(refusal.body or "")[part])
    except (ValueError, KeyError, TypeError):
        return ""
