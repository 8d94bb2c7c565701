"""Names, labels and references that every kind uses."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from featurestore.resources.model import Model

NAME_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN, min_length=1, max_length=63)]
OBJECT_NAME_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
ObjectName = Annotated[str, StringConstraints(pattern=OBJECT_NAME_PATTERN, min_length=1, max_length=253)]
"""Name of an object that is not ours."""
Description = Annotated[str, StringConstraints(max_length=4096)]
Owner = Annotated[str, StringConstraints(max_length=253)]
TagName = Annotated[str, StringConstraints(min_length=1, max_length=63)]
Tags = Annotated[dict[TagName, Annotated[str, StringConstraints(max_length=253)]], Field(max_length=64)]
LabelName = Annotated[str, StringConstraints(min_length=1, max_length=317)]
Labels = Annotated[dict[LabelName, Annotated[str, StringConstraints(max_length=63)]], Field(max_length=256)]
Annotations = Annotated[
    dict[LabelName, Annotated[str, StringConstraints(max_length=262_144)]], Field(max_length=256)
]


def resource_name(text: str) -> str:
    """The name of a resource that a string means: ``_``, as in Feast's names, stands for ``-``.

    No name of a resource has a ``_``, so no two names become one.

    >>> resource_name("driver_hourly_stats")
    'driver-hourly-stats'
    """
    return text.replace("_", "-")


class Metadata(Model):
    name: Name = Field(description="Name, unique per kind and namespace.")
    namespace: Name | None = Field(None, description="Kubernetes namespace; unused on a laptop.")
    labels: Labels = Field({}, description="Kubernetes labels.")
    annotations: Annotations = Field({}, description="Kubernetes annotations.")


class DeletionPolicy(StrEnum):
    """What becomes of the data when the resource is deleted in a cluster."""

    RETAIN = "Retain"
    DELETE = "Delete"


class SecretRef(Model):
    """Names a Secret: credentials themselves never stand in a spec."""

    name: Name = Field(description="Name of a Secret in the same namespace.")
