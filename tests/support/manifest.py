"""Small manifests of our kinds and of what an operator makes, as dicts."""

from __future__ import annotations

import json
from typing import Any

Object = dict[str, Any]
OURS = "featurestore.dev/v1alpha1"


def store(namespace: str, name: str = "default") -> Object:
    spec = {"offline": {"uri": "s3://features/x"}}
    return _object(OURS, "FeatureStore", namespace, name, spec)


def pipeline(namespace: str, name: str, description: str = "", looks_up: str | None = None) -> Object:
    spec: Object = {"source": {"uri": "s3://raw/*.parquet", "format": "Parquet"}, "description": description}
    if looks_up:
        lookup = {"pipeline": looks_up, "keys": {"k": "k"}, "columns": {"a": "b"}}
        spec["transforms"] = [{"lookup": lookup}]
    return _object(OURS, "DataPipeline", namespace, name, spec)


def view(namespace: str, name: str, pipeline: str, description: str = "") -> Object:
    spec = {
        "entity": {"name": "it", "joinKeys": [{"name": "k", "type": "string"}]},
        "source": {"pipeline": pipeline},
        "timestampField": "ts",
        "features": [{"name": "v", "type": "int64", "column": "v"}],
        "description": description,
    }
    return _object(OURS, "FeatureView", namespace, name, spec)


def service(namespace: str, name: str, view: str) -> Object:
    return _object(OURS, "FeatureService", namespace, name, {"features": [f"{view}:v"]})


def training_set(namespace: str, name: str, view: str, pipeline: str) -> Object:
    labels = {"pipeline": pipeline, "timestampField": "ts", "columns": ["v"]}
    return _object(
        OURS, "TrainingSet", namespace, name, {"features": {"names": [f"{view}:v"]}, "labels": labels}
    )


def erasure(namespace: str, name: str, entity: str) -> Object:
    return _object(
        OURS, "Erasure", namespace, name, {"entity": entity, "keys": {"uri": "s3://legal/gone.csv"}}
    )


def job(namespace: str, name: str, pipeline: str) -> Object:
    template = pod(namespace, name, pipeline)
    labels = template["metadata"]["labels"]
    spec = {"template": {"metadata": {"labels": labels}, "spec": template["spec"]}}
    return _object("batch/v1", "Job", namespace, name, spec, labels)


def pod(namespace: str, name: str, pipeline: str) -> Object:
    """Of the service account ``jobs``: one must be there, and only controllers make the default one."""
    labels = {"app.kubernetes.io/managed-by": "featurestore", "featurestore.dev/pipeline": pipeline}
    container = {"name": "it", "image": "none", "command": ["true"]}
    spec = {"restartPolicy": "Never", "serviceAccountName": "jobs", "containers": [container]}
    return _object("v1", "Pod", namespace, name, spec, labels)


def text(*manifests: Object) -> str:
    """As kubectl reads them."""
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests})


def _object(
    version: str, kind: str, namespace: str, name: str, spec: Object, labels: dict[str, str] | None = None
) -> Object:
    metadata: Object = {"namespace": namespace, "name": name}
    if labels:  # Applied though empty, they make every apply a write.
        metadata["labels"] = labels
    return {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec}
