"""What is reconciled: one resource, by its kind, namespace and name."""

from __future__ import annotations

from typing import Literal, NamedTuple

from featurestore.registry import registry

Kind = Literal["FeatureStore", "DataPipeline", "FeatureView"]


class Key(NamedTuple):
    """Names a resource, whether it is there or not.

    >>> str(Key("FeatureView", "prod", "aircraft"))
    'FeatureView prod/aircraft'
    """

    kind: Kind
    namespace: str
    name: str

    @property
    def accepted_as(self) -> registry.Kind:
        """What the registry calls the kind of a pipeline or view."""
        return "pipelines" if self.kind == "DataPipeline" else "views"

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"
