"""A column whose value stands in the path of a file, as ``day=2024-01-01/``."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from featurestore.resources.model import Model
from featurestore.resources.value import ColumnName


class PartitionType(StrEnum):
    """Types that a value in a path may have."""

    STRING = "string"
    BOOL = "bool"
    INT32 = "int32"
    INT64 = "int64"
    DATE = "date"
    TIMESTAMP = "timestamp"


class Partition(Model):
    name: ColumnName = Field(description="Name of the column, and of its folders: `day` of `day=2024-01-01`.")
    type: PartitionType = Field(description="Type of the column.")
