"""A version of a training set as a dataset of MLflow, and the source that finds it again.

This needs MLflow, which loads it by the entry point ``mlflow.dataset_source``.
"""

from __future__ import annotations

import json
import re
from typing import Any

from mlflow.data.dataset import Dataset
from mlflow.data.dataset_source import DatasetSource
from mlflow.types import ColSpec, DataType, Schema
from mlflow.types.schema import AnyType, Array

from featurestore.client.connection import connect
from featurestore.client.training_data import TrainingData

_TYPES = {
    "bool": DataType.boolean,
    "int8": DataType.integer,
    "int16": DataType.integer,
    "int32": DataType.integer,
    "int64": DataType.long,
    "uint8": DataType.integer,
    "uint16": DataType.integer,
    "uint32": DataType.long,
    "uint64": DataType.long,
    "float": DataType.float,
    "double": DataType.double,
    "string": DataType.string,
    "large_string": DataType.string,
    "binary": DataType.binary,
    "date32[day]": DataType.datetime,
}


class TrainingSource(DatasetSource):  # type: ignore[misc]
    """A version of a training set. ``store``: root of its storage."""

    def __init__(self, store: str, name: str, version: int, digest: str) -> None:
        self.store, self.name, self.version, self.digest = store, name, version, digest

    @staticmethod
    def _get_source_type() -> str:
        return "featurestore"

    def load(self) -> TrainingData:
        """The version, of the same digest.

        Raises:
            NotFound: it is not there any more.
            StorageError: storage did not answer.
        """
        return connect(self.store).training_set(self.name, self.digest)

    @staticmethod
    def _can_resolve(raw_source: Any) -> bool:
        return isinstance(raw_source, TrainingData)

    @classmethod
    def _resolve(cls, raw_source: TrainingData) -> TrainingSource:
        return cls(raw_source.store, raw_source.name, raw_source.number, raw_source.digest)

    def to_dict(self) -> dict[str, Any]:
        return {"uri": self.store, "trainingSet": self.name, "version": self.version, "digest": self.digest}

    @classmethod
    def from_dict(cls, source_dict: dict[Any, Any]) -> TrainingSource:
        fields = source_dict
        return cls(fields["uri"], fields["trainingSet"], fields["version"], fields["digest"])


class TrainingDataset(Dataset):  # type: ignore[misc]
    """A version of a training set, for ``mlflow.log_input``. Its digest is that of the version."""

    def __init__(self, data: TrainingData) -> None:
        self._data = data
        super().__init__(TrainingSource._resolve(data), data.name, data.digest)

    def _compute_digest(self) -> str:
        return self._data.digest

    @property
    def schema(self) -> Schema:
        """Columns and their types, in their order."""
        return Schema([ColSpec(_type(column.type), column.name) for column in self._data.manifest.columns])

    @property
    def profile(self) -> dict[str, Any]:
        """Rows, also by part, and the commit of each view."""
        manifest = self._data.manifest
        return {
            "rows": manifest.rows,
            "parts": {name: part.rows for name, part in self._data.parts.items()},
            "size_bytes": manifest.size_bytes,
            "commits": {view.name: view.commit for view in manifest.pins.views},
        }

    def to_dict(self) -> dict[str, str]:
        return {
            **super().to_dict(),
            "schema": json.dumps({"mlflow_colspec": self.schema.to_dict()}),
            "profile": json.dumps(self.profile),
        }


def _type(name: str) -> Any:
    """MLflow's type of what pyarrow writes so."""
    if match := re.fullmatch(r"list<\w+: (.*)>", name):
        inner = _type(match[1])
        return inner if isinstance(inner, AnyType) else Array(inner)
    if name.startswith("timestamp"):
        return DataType.datetime
    return _TYPES.get(name) or AnyType()
