"""What values of messages are as columns, whatever their format is: by which schema they were written is none of its business."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import StringConstraints


@dataclass(frozen=True, slots=True)
class MessageList:
    items: MessageType


@dataclass(frozen=True, slots=True)
class MessageStruct:
    fields: Mapping[str, MessageType]


MessageType = str | MessageList | MessageStruct
"""A type of columns by its name, a list, or a struct. Each value may be null."""

DEEPEST = 16
"""Levels of lists and structs in a schema."""

RegistryUrl = Annotated[str, StringConstraints(pattern=r"^https?://[^\s?#@]+$", max_length=1024)]
"""Of a registry of schemas."""
