"""One commit of a Delta table, as its log has it: the files whose rows it adds, and what it does beside that.

https://github.com/delta-io/delta/blob/master/PROTOCOL.md
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any
from urllib.parse import unquote

from featurestore.errors import Damaged


class ChangeKind(Enum):
    """What a commit does to the rows of its table. A rewrite, as by OPTIMIZE, does nothing to them."""

    NOTHING = auto()
    APPEND = auto()
    CHANGE = auto()


@dataclass(frozen=True, slots=True)
class TableFile:
    """A Parquet file of the table. ``path``: relative to the table, or a URL. ``partition``: column to its value as text."""

    path: str
    size_bytes: int
    partition: Mapping[str, Any]
    has_deletion_vector: bool = False


@dataclass(frozen=True, slots=True)
class DeltaCommit:
    """``added``, ``removed``: files whose rows come and go. ``feed``: files of the change data feed.

    ``table_id``: if the commit says it. ``timestamp_ms``: since 1970, of whoever wrote it.
    """

    version: int
    added: tuple[TableFile, ...]
    removed: tuple[TableFile, ...]
    feed: tuple[TableFile, ...]
    operation: str
    timestamp_ms: int | None
    table_id: str | None

    @property
    def kind(self) -> ChangeKind:
        if self.removed:
            return ChangeKind.CHANGE
        return ChangeKind.APPEND if self.added else ChangeKind.NOTHING

    @property
    def size_bytes(self) -> int:
        """Of the files that bring rows, by whichever of the two ways."""
        return max(sum(file.size_bytes for file in files) for files in (self.added, self.feed))


def parse_commit(version: int, data: bytes, where: str) -> DeltaCommit:
    """The commit that an object of the log describes.

    Raises:
        Damaged: it is not one.
    """
    added, removed, feed = [], [], []
    info: Mapping[str, Any] = {}
    table_id: str | None = None
    try:
        for line in data.splitlines():
            if not line.strip():
                continue
            [(name, action)] = json.loads(line).items()
            match name:
                case "add" if action.get("dataChange", True):
                    added.append(_file(action))
                case "remove" if action.get("dataChange", True):
                    removed.append(_file(action))
                case "cdc":
                    feed.append(_file(action))
                case "commitInfo":
                    info = action
                case "metaData":
                    table_id = str(action["id"])
        time_ms = info.get("inCommitTimestamp", info.get("timestamp"))
        return DeltaCommit(
            version,
            tuple(added),
            tuple(removed),
            tuple(feed),
            str(info.get("operation", "")),
            None if time_ms is None else int(time_ms),
            table_id,
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        got = " ".join(str(error).split())[:200] or type(error).__name__
        raise Damaged("a commit of the Delta table cannot be read", where=where, got=got) from error


def _file(action: Mapping[str, Any]) -> TableFile:
    return TableFile(
        unquote(action["path"]),
        int(action.get("size") or 0),
        dict(action.get("partitionValues") or {}),
        bool(action.get("deletionVector")),
    )
