"""Objects of the API server as our resources."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import ValidationError

from featurestore.errors import SpecError
from featurestore.resources import DataPipeline, FeatureStore, FeatureView

R = TypeVar("R", DataPipeline, FeatureView, FeatureStore)


def parse(model: type[R], found: dict[str, Any]) -> R:
    """The resource that the object says. What the server adds to it is left out.

    Raises:
        SpecError: something in it is wrong that the API server let through; all of it is said.
    """
    metadata = {"name": found["metadata"]["name"], "labels": found["metadata"].get("labels") or {}}
    value = {
        "apiVersion": found["apiVersion"],
        "kind": found["kind"],
        "metadata": metadata,
        "spec": found.get("spec", {}),
    }
    try:
        return model.model_validate(value, by_alias=True, by_name=False)
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, it['loc']))}: {it['msg']}" for it in error.errors()]
        raise SpecError(
            f"the {found['kind']} is wrong", where=metadata["name"], got="; ".join(problems)
        ) from error
