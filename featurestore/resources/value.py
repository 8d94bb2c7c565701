"""Types of columns, join keys and features, and the texts that name or compute them."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import StringConstraints

COLUMN_PATTERN = r"^(_|_?[^_\n].*)$"
"""No column of a user begins with two underscores: those are the project's own."""
FEATURE_PATTERN = r"^[A-Za-z][A-Za-z0-9_]*$"
ColumnName = Annotated[str, StringConstraints(pattern=COLUMN_PATTERN, min_length=1, max_length=255)]
SourceName = Annotated[str, StringConstraints(max_length=255)]
"""The name of a column in a file, which may be anything."""
Expression = Annotated[str, StringConstraints(min_length=1, max_length=4096)]
FeatureName = Annotated[str, StringConstraints(pattern=FEATURE_PATTERN, min_length=1, max_length=63)]


class ColumnType(StrEnum):
    """Types of values. ``timestamp`` is microseconds, UTC."""

    STRING = "string"
    BYTES = "bytes"
    BOOL = "bool"
    INT8 = "int8"
    INT16 = "int16"
    INT32 = "int32"
    INT64 = "int64"
    FLOAT32 = "float32"
    FLOAT64 = "float64"
    DATE = "date"
    TIMESTAMP = "timestamp"
    LIST_STRING = "list<string>"
    LIST_INT64 = "list<int64>"
    LIST_FLOAT32 = "list<float32>"
    LIST_FLOAT64 = "list<float64>"


class KeyType(StrEnum):
    """Types a join key may have."""

    STRING = "string"
    INT32 = "int32"
    INT64 = "int64"
