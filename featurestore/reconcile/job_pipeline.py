"""Jobs are made for pipelines: what stands for one where a Job is another kind's."""

from __future__ import annotations

from typing import Any

from featurestore.registry.registry import Accepted
from featurestore.resources import DataPipeline
from featurestore.resources.metadata import SecretRef

NO_URI = "file:///"
"""Stands where a URI has to, of a Job that opens none but those of the store."""


def job_pipeline(
    accepted: Accepted[Any], name: str = "", uri: str = "", secret: SecretRef | None = None
) -> Accepted[DataPipeline]:
    """A pipeline with the ``resources`` and the ``job`` of a resource, from whose Jobs those of the resource differ in nothing.

    ``name``: of the pipeline that they are counted with; else the resource's own. ``uri``, ``secret``: of what they open
    beside the store.
    """
    spec = accepted.resource.spec
    source = {"uri": uri or NO_URI, "format": "Parquet", "secretRef": secret}
    pipeline = DataPipeline.model_validate(
        {
            "metadata": {"name": name or accepted.resource.metadata.name},
            "spec": {"source": source, "resources": spec.resources, "job": spec.job},
        }
    )
    return Accepted(accepted.digest, pipeline)
