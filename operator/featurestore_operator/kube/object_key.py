"""What is reconciled: one resource, by its kind, namespace and name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

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

    def pipeline(self, obj: Mapping[str, Any]) -> str:
        """The pipeline that it is; or that of a view, whose batches bring the view on; "" for any other kind.

        >>> Key("FeatureView", "prod", "aircraft").pipeline({"spec": {"source": {"pipeline": "flights"}}})
        'flights'
        """
        if self.kind == "DataPipeline":
            return self.name
        if self.kind != "FeatureView":
            return ""
        return next((name for kind, _, name in self.row.named(obj["spec"]) if kind == "DataPipeline"), "")

    @property
    def twin(self) -> Key | None:
        """What must not have the same name besides it: readers ask for a view as for a service.

        >>> str(Key("FeatureView", "prod", "delays").twin)
        'FeatureService prod/delays'
        """
        other = _TWINS.get(self.kind)
        return None if other is None else Key(other, self.namespace, self.name)

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


_TWINS = {"FeatureView": "FeatureService", "FeatureService": "FeatureView"}
