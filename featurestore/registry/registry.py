"""The resources as last accepted, in the storage root: pods read features without the Kubernetes API.

A resource is stored under its digest and never changes there; a pointer says which digest is accepted. So a
manifest that names a digest finds its resource for ever, also after it was changed or removed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from featurestore.digest import canonical_json, digest
from featurestore.errors import Damaged, FeatureStoreError, NotFound, SpecError, did_you_mean
from featurestore.failpoint import hit
from featurestore.resources import DataPipeline, FeatureStore, OnDemandView, Resource
from featurestore.resources.kinds import KINDS, kind_name, kind_of, references
from featurestore.storage import paths
from featurestore.storage.objects import Storage, understanding

_APPLY = "`featurestore apply -f FILE`, with the file of this resource, writes it again"
_AT_ONCE = 16
R = TypeVar("R", bound=Resource)
R_co = TypeVar("R_co", bound=Resource, covariant=True)


@dataclass(frozen=True, slots=True)
class Accepted(Generic[R_co]):
    """A resource and the digest that names it."""

    digest: str
    resource: R_co


def document(resource: Resource) -> dict[str, Any]:
    """A resource as it is stored and shown: what its author wrote, without defaults.

    Namespace and annotations are left out: they belong to the Kubernetes object, not to the definition. Defaults
    are left out so that a field which a later version adds does not make every resource look changed.
    """
    given = resource.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    metadata = {"name": resource.metadata.name}
    if resource.metadata.labels:
        metadata["labels"] = given["metadata"]["labels"]
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": metadata,
        "spec": given["spec"],
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

        The resource is written before the pointer to it. Accepting the same thing twice writes nothing. A deletion
        of an earlier one's data that was cut off is done first: nothing of that is taken for its own.

        Raises:
            StorageError: storage did not answer.
        """
        named = resource_digest(resource)
        data = canonical_json(document(resource))
        if kind_of(resource).only_one:
            if self._storage.find(paths.STORE) != data:
                self._storage.replace(paths.STORE, data)
            return named
        folder, name = kind_of(resource).folder, resource.metadata.name
        path = paths.accepted(folder, name, named)
        if not self.is_accepted(type(resource), name, named):
            if self._storage.find(paths.deleting(folder, name)) is not None:
                self.delete_data(type(resource), name)
            if not self._storage.put_if_absent(path, data) and self._storage.find(path) != data:
                # Somebody damaged it: what has this digest is known.
                self._storage.replace(path, data)
            self._storage.replace(paths.pointer(folder, name), canonical_json({"digest": named}))
        return named

    def is_accepted(self, model: type[Resource], name: str, named: str) -> bool:
        """Whether this is the accepted resource, and can be read."""
        try:
            accepted = self.current(model, name)
        except (Damaged, SpecError, NotFound):
            return False
        return accepted is not None and accepted.digest == named

    def current(self, model: type[R], name: str) -> Accepted[R] | None:
        """The accepted resource; None if there is none, or none of this form: a view of rows is not one on demand.

        Raises:
            StorageError: storage did not answer; this is never read as "there is none".
            SpecError: this version of the software cannot read the resource.
        """
        named = self.accepted_digest(model, name)
        if named is None:
            return None
        resource = self._read(model, name, named)
        return Accepted(named, resource) if isinstance(resource, model) else None

    def get(self, model: type[R], name: str, digest: str) -> R:
        """The resource that has this digest, accepted now or once.

        Raises:
            NotFound: no resource of this name and form ever had this digest.
        """
        resource = self._read(model, name, digest)
        if not isinstance(resource, model):
            raise NotFound(
                f"the {kind_name(model)} {name!r} of the digest {digest} is of another form",
                wanted=model.__name__,
                got=type(resource).__name__,
            )
        return resource

    def _read(self, model: type[Resource], name: str, digest: str) -> Resource:
        """The resource that has this digest, of whatever form of its kind."""
        path = paths.accepted(kind_of(model).folder, name, digest)
        data = self._storage.find(path)
        if data is None:
            raise NotFound(
                f"no {kind_name(model)} {name!r} has the digest {digest}",
                where=self._storage.uri(path),
                hint=self._lost(model, name),
            )
        return self._parse(kind_of(model).model, data, path)

    def named(self, resource: Resource) -> list[Resource]:
        """The accepted resources that it names; and what views on demand among these are computed from.

        Raises:
            StorageError: storage did not answer.
        """
        resources: dict[tuple[str, str], Resource | None] = {}
        todo = [resource]
        while todo:
            for kind, _, name in references(todo.pop()):
                if (kind, name) not in resources:
                    accepted = self.current(KINDS[kind].model, name)
                    resources[kind, name] = accepted.resource if accepted else None
                    if accepted is not None and isinstance(accepted.resource, OnDemandView):
                        todo.append(accepted.resource)
        return [one for _, one in sorted(resources.items()) if one is not None]

    def _lost(self, model: type[Resource], name: str) -> str:
        """What to do about a digest that no resource of the name has."""
        known = self.names(model)
        if name in known:
            return "Restore it from a backup, or from the versions that the bucket keeps"
        return did_you_mean(name, known)

    def names(self, model: type[Resource]) -> list[str]:
        """Names of the accepted resources of a kind, sorted; also of those that cannot be read."""
        folder = kind_of(model).folder
        names = self._storage.names(f"registry/{folder}")
        return [name for name in names if self._storage.find(paths.pointer(folder, name)) is not None]

    def all(self, model: type[R]) -> dict[str, Accepted[R]]:
        """All accepted resources of a kind that can be read, by name. :meth:`unreadable` has the others."""
        return {name: accepted for name, accepted in self._each(model) if isinstance(accepted, Accepted)}

    def unreadable(self, model: type[Resource]) -> dict[str, FeatureStoreError]:
        """Why accepted resources of a kind cannot be read, by name."""
        return {name: error for name, error in self._each(model) if isinstance(error, FeatureStoreError)}

    def _each(self, model: type[R]) -> Iterator[tuple[str, Accepted[R] | FeatureStoreError]]:
        """All that can be read; one that cannot does not hide the others."""

        def read(name: str) -> Accepted[R] | FeatureStoreError | None:
            try:
                return self.current(model, name)
            except (Damaged, SpecError, NotFound) as error:
                return error

        names = self._storage.names(f"registry/{kind_of(model).folder}")
        if self._storage.is_local or len(names) < 2:
            every = list(map(read, names))
        else:
            # Each takes two round trips, and a Job waits for those of all views.
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                every = list(pool.map(read, names))
        for name, answer in zip(names, every, strict=True):
            if answer is not None:
                yield name, answer

    def accepted_digest(self, model: type[Resource], name: str) -> str | None:
        """Digest of the accepted resource; None if there is none.

        Raises:
            StorageError: storage did not answer; this is never read as "there is none".
        """
        path = paths.pointer(kind_of(model).folder, name)
        data = self._storage.find(path)
        if data is None:
            return None
        with understanding("the pointer to an accepted resource", self._storage.uri(path), _APPLY):
            named = json.loads(data)["digest"]
            if not isinstance(named, str):
                raise TypeError(f"wanted a digest, got {named!r}")
            return named

    def remove(self, model: type[Resource], name: str) -> None:
        """The resource is no longer accepted. Its past definitions stay readable by digest."""
        self._storage.delete(paths.pointer(kind_of(model).folder, name))

    def delete_data(self, model: type[Resource], name: str) -> None:
        """Delete everything that was made from a removed resource. The next call finishes what is interrupted here.

        The ledger's identity goes first: whoever still works on a batch finds it gone, and commits nothing.

        Raises:
            StorageError: storage did not answer.
        """
        folder = kind_of(model).folder
        self._storage.replace(paths.deleting(folder, name), b"{}")
        if model is DataPipeline:
            self._storage.delete(paths.identity(name))
        for each in paths.data(folder, name):
            hit("before-delete")
            self._storage.delete(each)
        self._storage.delete(paths.deleting(folder, name))

    def _parse(self, model: type[R], data: bytes, path: str) -> R:
        try:
            return model.model_validate_json(data)
        except ValidationError as error:
            first = error.errors()[0]
            raise SpecError(
                "an accepted resource cannot be read by this version",
                where=f"{self._storage.uri(path)}: {'.'.join(map(str, first['loc']))}",
                got=first["msg"],
                hint=f"Use a version at least as new as the one that accepted it. Else: {_APPLY}",
            ) from error
