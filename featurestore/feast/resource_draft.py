"""Resources as they are written: plain values, checked by the models."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ValidationError

from featurestore.feast.remark import LeftOut
from featurestore.feast.repository import Described
from featurestore.resources.kinds import API_VERSION, KINDS
from featurestore.resources.node import path_text

ResourceDraft = dict[str, Any]


def draft(kind: str, name: str, spec: ResourceDraft, described: Described) -> ResourceDraft:
    """A resource; description, owner and tags are those of what it is made from."""
    said = {"description": described.description, "owner": described.owner, "tags": dict(described.tags)}
    whole = {**spec, **{field: value for field, value in said.items() if value}}
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": whole}


def check(resource: ResourceDraft) -> None:
    """Raises LeftOut unless the resource is right by itself."""
    check_model(KINDS[resource["kind"]].model, resource)


def check_model(model: type[BaseModel], value: ResourceDraft) -> None:
    """Raises LeftOut unless the value is one of the model's."""
    try:
        model.model_validate(value)
    except ValidationError as error:
        problems = error.errors(include_url=False)
        said = (f"{path_text(it['loc'])}: {it['msg']}".removeprefix(": ") for it in problems)
        raise LeftOut("; ".join(said)) from error
