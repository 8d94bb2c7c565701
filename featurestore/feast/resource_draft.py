"""Resources as they are written: plain values, checked by the models."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from featurestore.feast.remark import LeftOut, Remarks
from featurestore.feast.repository import Described
from featurestore.resources.kinds import API_VERSION, KINDS
from featurestore.resources.metadata import Description, Owner, Tags
from featurestore.resources.node import path_text

ResourceDraft = dict[str, Any]
_ROOM: dict[str, TypeAdapter[Any]] = {
    "description": TypeAdapter(Description),
    "owner": TypeAdapter(Owner),
    "tags": TypeAdapter(Tags),
}


def draft(
    kind: str, name: str, spec: ResourceDraft, described: Described, of: str, remarks: Remarks
) -> ResourceDraft:
    """A resource; description, owner and tags are those of what it is made from, as far as there is room for them.

    ``of``: the kind of that in Feast.
    """
    facts = {"description": described.description, "owner": described.owner, "tags": dict(described.tags)}
    whole = dict(spec)
    for field, value in facts.items():
        try:
            if value:
                whole[field] = _ROOM[field].validate_python(value)
        except ValidationError as error:
            remarks.say(of, described.name, f"there is no place for its {field}: {_messages(error)}")
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": whole}


def check(resource: ResourceDraft) -> None:
    """Raises LeftOut unless the resource is right by itself."""
    check_model(KINDS[resource["kind"]].model, resource)


def check_model(model: type[BaseModel], value: ResourceDraft) -> None:
    """Raises LeftOut unless the value is one of the model's."""
    try:
        model.model_validate(value)
    except ValidationError as error:
        raise LeftOut(_messages(error)) from error


def _messages(error: ValidationError) -> str:
    problems = error.errors(include_url=False)
    return "; ".join(
        f"{path_text(problem['loc'])}: {problem['msg']}".removeprefix(": ") for problem in problems
    )
