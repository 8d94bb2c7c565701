"""What every kind has: a name, and a spec that says what is wanted."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from featurestore.resources.metadata import Metadata
from featurestore.resources.model import Model


class Resource(Model):
    """A kind narrows ``kind`` to its own name and ``spec`` to its own model."""

    kind: str = Field(description="What it is.")
    api_version: Literal["featurestore.dev/v1alpha1"] = Field(
        "featurestore.dev/v1alpha1", description="Version of the schema."
    )
    metadata: Metadata = Field(description="Its name.")
    spec: Any = Field(description="What is wanted.")
