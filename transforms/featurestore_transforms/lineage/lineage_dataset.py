"""What OpenLineage calls a dataset: by the names that it gives to files, buckets and topics.

https://openlineage.io/docs/spec/naming
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import Any

from featurestore.redaction import redact

PRODUCER = "urn:featurestore"
_FACETS = "https://openlineage.io/spec/facets"

Facet = dict[str, Any]


def facet(schema: str, **content: Any) -> Facet:
    """``schema``: the version and name of its definition, such as ``1-2-0/SchemaDatasetFacet``."""
    name = schema.partition("/")[2]
    return {"_producer": PRODUCER, "_schemaURL": f"{_FACETS}/{schema}.json#/$defs/{name}", **content}


@dataclass(frozen=True)
class LineageDataset:
    """``columns``: name to type. ``lineage``: column to those that it comes from, as dataset, column and how.

    ``rows``: that were written.
    """

    namespace: str
    name: str
    version: str | None = None
    columns: dict[str, str] = field(default_factory=dict)
    lineage: dict[str, list[tuple[LineageDataset, str, str]]] = field(default_factory=dict)
    rows: int | None = None

    @classmethod
    def at(cls, uri: str, **more: Any) -> LineageDataset:
        """The dataset of a URL or an absolute path; of a glob, the folder below which it matches.

        >>> LineageDataset.at("s3://raw/flights/**/*.parquet").name
        'flights'
        >>> LineageDataset.at("kafka://a:9092,b:9092/arrivals").namespace
        'kafka://a:9092'
        >>> LineageDataset.at("/srv/raw/a.csv").namespace
        'file'
        """
        return cls(*_named(uri), **more)

    def event(self, *, is_output: bool) -> dict[str, Any]:
        """As it stands in an event."""
        facets: dict[str, Facet] = {}
        if self.version is not None:
            facets["version"] = facet("1-0-1/DatasetVersionDatasetFacet", datasetVersion=self.version)
        if self.columns:
            fields = [{"name": name, "type": kind} for name, kind in self.columns.items()]
            facets["schema"] = facet("1-2-0/SchemaDatasetFacet", fields=fields)
        if self.lineage:
            lineage = {name: {"inputFields": list(map(_input, of))} for name, of in self.lineage.items()}
            facets["columnLineage"] = facet("1-2-0/ColumnLineageDatasetFacet", fields=lineage)
        event: dict[str, Any] = {"namespace": self.namespace, "name": self.name, "facets": facets}
        if is_output and self.rows is not None:
            statistics = facet("1-0-2/OutputStatisticsOutputDatasetFacet", rowCount=self.rows)
            event["outputFacets"] = {"outputStatistics": statistics}
        return event


def _input(of: tuple[LineageDataset, str, str]) -> dict[str, Any]:
    dataset, column, how = of
    return {
        "namespace": dataset.namespace,
        "name": dataset.name,
        "field": column,
        "transformations": [{"type": "DIRECT", "subtype": how}],
    }


def _named(uri: str) -> tuple[str, str]:
    scheme, separator, rest = redact(uri).partition("://")
    if not separator or scheme == "file":
        return "file", _folder(rest if separator else uri)
    host, _, path = rest.partition("?")[0].partition("/")
    # Of several brokers the first.
    server = host.rpartition("@")[2].partition(",")[0]
    return f"{scheme}://{server}", _folder(path) or "/"


def _folder(path: str) -> str:
    """Up to the first part that has a wildcard."""
    parts = path.split("/")
    wild = next((n for n, part in enumerate(parts) if re.search(r"[*?\[]", part)), len(parts))
    return "/".join(parts[:wild]).rstrip("/") or ("/" if path.startswith("/") else "")


def absolute(base: str, uri: str) -> str:
    """``uri``, which may be relative to ``base``."""
    return uri if "://" in uri else os.path.normpath(os.path.join(base, uri))
