"""A store with views whose tables are written as builds write them: sorted by key and time, so many rows to a file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from featurestore.arrivals.ledger import Ledger
from featurestore.online.publish import run_publish
from featurestore.protocol import PublishRequest
from featurestore.registry.registry import Registry
from featurestore.resources import FeatureStore, FeatureView
from featurestore.resources.outputs import build_digest
from featurestore.storage import paths
from featurestore.storage.delta import Table
from featurestore.storage.objects import Storage
from featurestore.timestamps import current_us
from featurestore.views.builds import ActiveBuild, PublishResult, promote
from featurestore.views.schema import view_schema
from featurestore_transforms.tables.data_files import write_data_file

FEATURES = [f"f{n}" for n in range(10)]


class ViewTable:
    """The view ``view`` of ten features of entities ``k``, in a store of its own. Made anew."""

    def __init__(
        self,
        root: Path,
        online: dict[str, Any],
        frames: Iterable[pl.DataFrame],
        features: Sequence[str | dict[str, Any]] = FEATURES,
    ) -> None:
        """``frames``: ``k``, ``event_timestamp`` and the features; each becomes a data file.

        ``features``: names of float64, or as a spec has them.
        """
        self.storage = Storage(str(root))
        self.accept_store(online)
        view = _resource(
            FeatureView,
            "view",
            {
                "entity": {"name": "thing", "joinKeys": [{"name": "k", "type": "string"}]},
                "source": {"pipeline": "p"},
                "timestampField": "at",
                "ttl": "30d",
                "features": [
                    {"name": it, "type": "float64", "column": it} if isinstance(it, str) else it
                    for it in features
                ],
            },
        )
        spec_digest = Registry(self.storage).accept(view)
        self.digest = build_digest(view.spec, Ledger(self.storage, "p").uid())
        path, schema = paths.features("view", self.digest), view_schema(view.spec)
        self.folder = self.storage.uri(path)
        table, at = Table.create(self.storage, path, schema), 0
        files = []
        for frame in frames:
            whole = frame.with_columns(
                pl.col("event_timestamp").alias("created_timestamp"),
                pl.lit(1, pl.Int64).alias("__batch"),
                pl.lit(0, pl.Int32).alias("__file"),
                pl.int_range(at, at + frame.height, dtype=pl.Int64).alias("__row"),
            )
            at += frame.height
            files.append(
                write_data_file(self.storage, path, whole.select(schema.names).sort("k", "event_timestamp"))
            )
        self.version = table.commit(app_id=self.digest, number=1, add=files, metadata={}).version
        promote(self.storage, "view", ActiveBuild(self.digest, spec_digest))

    def accept_store(self, online: dict[str, Any]) -> None:
        """From now on this is where it is published to."""
        spec = {"offline": {"uri": self.storage.root}, "online": online}
        Registry(self.storage).accept(_resource(FeatureStore, "default", spec))

    def publish(self) -> PublishResult:
        """All that the table has, if the store does not hold it yet."""
        request = PublishRequest(
            root=self.storage.root, view="view", digest=self.digest, to_version=self.version, commit=1
        )
        return run_publish(self.storage, request, current_us())


def _resource(kind: Any, name: str, spec: dict[str, Any]) -> Any:
    return kind.model_validate({"kind": kind.__name__, "metadata": {"name": name}, "spec": spec})
