"""Objects of the API server as our resources."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import ValidationError

from featurestore.errors import SpecError
from featurestore.resources import DataPipeline, FeatureStore, Resource
from featurestore.resources.key_erasure import KeyErasure
from featurestore.resources.location import is_relative
from featurestore.resources.problem import FieldPlaces, all_of, problems_of

R = TypeVar("R", bound=Resource)


def parse(model: type[R], document: dict[str, Any]) -> R:
    """The resource that the object describes, without what the server adds.

    Raises:
        SpecError: something in it is wrong that the API server let through (all of it is said), or has no meaning
            in a cluster.
    """
    metadata = {"name": document["metadata"]["name"], "labels": document["metadata"].get("labels") or {}}
    value = {
        "apiVersion": document["apiVersion"],
        "kind": document["kind"],
        "metadata": metadata,
        "spec": document.get("spec", {}),
    }
    try:
        resource = model.model_validate(value, by_alias=True, by_name=False)
    except ValidationError as error:
        raise all_of(problems_of(error, model, FieldPlaces(value))) from error
    _check_place(resource)
    return resource


def has_place(resource: Resource) -> bool:
    """Whether all in a cluster mean the same by the URI of the resource, if it has one."""
    try:
        _check_place(resource)
    except SpecError:
        return False
    return True


def _check_place(resource: Resource) -> None:
    """Raise SpecError unless operator, Jobs and readers mean the same by the URI of the resource.

    Raises:
        SpecError: each of them would look in another folder.
    """
    hint = "On a laptop it begins at the folder of store.yaml; no pod has that folder"
    match resource:
        case FeatureStore(spec=spec):
            where, uri, like = "spec.offline.uri", spec.offline.uri, "s3://bucket/folder"
            hint += ". A store stays where it is: delete the existing one, and apply it again"
        case DataPipeline(spec=spec):
            where, uri = f"spec.source.{spec.source.kind}", spec.source.place
            like = "s3://bucket/folder/*.parquet" if spec.source.uri else "s3://bucket/folder"
        case KeyErasure(spec=spec):
            where, uri, like = "spec.keys.uri", spec.keys.uri, "s3://bucket/keys.csv"
        case _:
            return
    if uri.startswith("file:"):
        raise SpecError(
            "a file: URL does not name a place in a cluster",
            where=where,
            wanted=f"a URL such as {like}, or an absolute path on a volume that all pods mount",
            got=repr(uri),
        )
    if is_relative(uri):
        raise SpecError(
            "a relative path does not name a place in a cluster",
            where=where,
            wanted=f"a URL such as {like}, or an absolute path on a volume that all pods mount",
            got=repr(uri),
            hint=hint,
        )
