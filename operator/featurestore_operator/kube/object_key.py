"""What is reconciled: one resource, by its kind, namespace and name."""

from __future__ import annotations

from typing import NamedTuple

from featurestore.resources.kinds import KINDS, ResourceKind


class Key(NamedTuple):
    """Names a resource, whether it is there or not.

    >>> str(Key("FeatureView", "prod", "aircraft"))
    'FeatureView prod/aircraft'
    """

    kind: str
    namespace: str
    name: str

    @property
    def row(self) -> ResourceKind:
        """What there is to know of its kind."""
        return KINDS[self.kind]

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"
