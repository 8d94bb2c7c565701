"""The resources as last accepted, in the storage root: pods read features without the Kubernetes API.

A resource is stored under its digest and never changes there; a pointer says which digest is accepted. So a
manifest that names a digest finds its resource for ever, also after it was changed or removed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar, overload

from pydantic import ValidationError

from featurestore.digest import canonical_json, digest
from featurestore.errors import NotFound, SpecError, StorageError, did_you_mean
from featurestore.resources import DataPipeline, FeatureStore, FeatureView, Resource
from featurestore.storage import paths
from featurestore.storage.objects import Storage

Pipelines = Literal["pipelines"]
Views = Literal["views"]
Kind = Pipelines | Views
R = TypeVar("R", DataPipeline, FeatureView, FeatureStore)

KINDS: dict[Kind, type[DataPipeline] | type[FeatureView]] = {"pipelines": DataPipeline, "views": FeatureView}


@dataclass(frozen=True, slots=True)
class Accepted(Generic[R]):
    """A resource and the digest that names it."""

    digest: str
    resource: R


def document(resource: Resource) -> dict[str, Any]:
    """What is stored of a resource, and shown: all that was said, without defaults.

    Namespace and annotations are left out: they belong to the Kubernetes object, not to the definition. Defaults
    are left out so that a field which a later version adds does not make every resource look changed.
    """
    said = resource.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    metadata = {"name": resource.metadata.name}
    if resource.metadata.labels:
        metadata["labels"] = said["metadata"]["labels"]
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": metadata,
        "spec": said["spec"],
    }


def resource_digest(resource: Resource) -> str:
    """Names the resource: equal definitions have equal digests."""
    return digest(document(resource))


class Registry:
    """The accepted resources below one storage root."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def store(self) -> FeatureStore | None:
        """The FeatureStore as last accepted; None before the first."""
        data = self._storage.find(paths.STORE)
        return None if data is None else self._parse(FeatureStore, data, paths.STORE)

    def accept(self, resource: Resource) -> str:
        """The digest of the resource, which is the accepted one from now on.

        The resource is written before the pointer to it. Accepting the same thing twice writes nothing.

        Raises:
            StorageError: storage did not answer.
        """
        named = resource_digest(resource)
        data = canonical_json(document(resource))
        if isinstance(resource, FeatureStore):
            if self._storage.find(paths.STORE) != data:
                self._storage.replace(paths.STORE, data)
            return named
        kind: Kind = "pipelines" if isinstance(resource, DataPipeline) else "views"
        name = resource.metadata.name
        if self.accepted_digest(kind, name) != named:
            self._storage.put_if_absent(paths.accepted(kind, name, named), data)
            self._storage.replace(paths.pointer(kind, name), canonical_json({"digest": named}))
        return named

    @overload
    def current(self, kind: Pipelines, name: str) -> Accepted[DataPipeline] | None: ...
    @overload
    def current(self, kind: Views, name: str) -> Accepted[FeatureView] | None: ...
    def current(self, kind: Kind, name: str) -> Accepted[DataPipeline] | Accepted[FeatureView] | None:
        """The accepted resource; None if there is none.

        Raises:
            StorageError: storage did not answer; this is never read as "there is none".
            SpecError: this version of the software cannot read the resource.
        """
        named = self.accepted_digest(kind, name)
        if named is None:
            return None
        if kind == "pipelines":
            return Accepted(named, self.get("pipelines", name, named))
        return Accepted(named, self.get("views", name, named))

    @overload
    def get(self, kind: Pipelines, name: str, digest: str) -> DataPipeline: ...
    @overload
    def get(self, kind: Views, name: str, digest: str) -> FeatureView: ...
    def get(self, kind: Kind, name: str, digest: str) -> DataPipeline | FeatureView:
        """The resource that has this digest, accepted now or once.

        Raises:
            NotFound: no resource of this name ever had this digest.
        """
        path = paths.accepted(kind, name, digest)
        data = self._storage.find(path)
        if data is None:
            raise NotFound(
                f"no {KINDS[kind].__name__} {name!r} has the digest {digest}",
                where=self._storage.uri(path),
                hint=did_you_mean(name, self.names(kind)),
            )
        if kind == "pipelines":
            return self._parse(DataPipeline, data, path)
        return self._parse(FeatureView, data, path)

    def names(self, kind: Kind) -> list[str]:
        """Names of the accepted resources of a kind, sorted."""
        found = self._storage.names(f"registry/{kind}")
        return [name for name in found if self.accepted_digest(kind, name) is not None]

    def pipelines(self) -> dict[str, Accepted[DataPipeline]]:
        """All accepted pipelines by name."""
        found = (
            (name, self.current("pipelines", name)) for name in self._storage.names("registry/pipelines")
        )
        return {name: accepted for name, accepted in found if accepted is not None}

    def views(self) -> dict[str, Accepted[FeatureView]]:
        """All accepted views by name."""
        found = ((name, self.current("views", name)) for name in self._storage.names("registry/views"))
        return {name: accepted for name, accepted in found if accepted is not None}

    def accepted_digest(self, kind: Kind, name: str) -> str | None:
        """Digest of the accepted resource; None if there is none.

        Raises:
            StorageError: storage did not answer; this is never read as "there is none".
        """
        path = paths.pointer(kind, name)
        data = self._storage.find(path)
        if data is None:
            return None
        try:
            return str(json.loads(data)["digest"])
        except (ValueError, TypeError, KeyError) as error:
            raise StorageError(
                "the pointer to an accepted resource cannot be read",
                where=self._storage.uri(path),
                wanted='{"digest": …}',
                got=repr(data[:80]),
            ) from error

    def remove(self, kind: Kind, name: str) -> None:
        """The resource is accepted no more. Its past definitions stay readable by digest."""
        self._storage.delete(paths.pointer(kind, name))

    def _parse(self, model: type[R], data: bytes, path: str) -> R:
        try:
            return model.model_validate_json(data)
        except ValidationError as error:
            first = error.errors()[0]
            raise SpecError(
                "an accepted resource cannot be read by this version",
                where=f"{self._storage.uri(path)}: {'.'.join(map(str, first['loc']))}",
                got=first["msg"],
                hint="Use a version at least as new as the one that accepted it, or apply the resource again",
            ) from error
