"""What is reconciled: one resource, by its kind, namespace and name."""

from __future__ import annotations

from typing import Literal, NamedTuple

Kind = Literal["FeatureStore", "DataPipeline", "FeatureView"]


class Key(NamedTuple):
    """Names a resource, whether it is there or not.

    >>> str(Key("FeatureView", "prod", "aircraft"))
    'FeatureView prod/aircraft'
    """

    kind: Kind
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"
