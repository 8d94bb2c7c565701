"""What the metadata of an Iceberg table says of its snapshots, and which of them made the table what it is.

https://iceberg.apache.org/spec/#table-metadata
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from itertools import pairwise
from typing import Any

from featurestore.errors import Damaged

FORMAT = 2
"""The version of the format that is known here: the first in which snapshots have numbers."""


class SnapshotKind(Enum):
    """What a snapshot does to the rows of its table. A rewrite, as by compaction, does nothing to them."""

    NOTHING = auto()
    APPEND = auto()
    CHANGE = auto()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """``number``: its sequence number. ``manifests``: location of its list of manifests. ``schema_id``: of its table's
    schema then. ``timestamp_ms``: since 1970, of whoever wrote it. ``summary``: what that one says of it.
    """

    id: int
    parent_id: int | None
    number: int
    timestamp_ms: int
    manifests: str
    schema_id: int | None
    operation: str
    summary: Mapping[str, str]

    @property
    def kind(self) -> SnapshotKind:
        match self.operation:
            case "replace":
                return SnapshotKind.NOTHING
            case "append":
                is_empty = self.summary.get("added-records") == "0"
                return SnapshotKind.NOTHING if is_empty else SnapshotKind.APPEND
        return SnapshotKind.CHANGE

    @property
    def size_bytes(self) -> int:
        """Of the files that it adds, as its writer says; 0 if it does not."""
        return _number(self.summary.get("added-files-size"))

    @property
    def total_bytes(self) -> int:
        """Of all files that the table has then."""
        return _number(self.summary.get("total-files-size"))


@dataclass(frozen=True, slots=True)
class TableMetadata:
    """``location``: what the locations of its files begin with. ``history``: the snapshots that made the table what it is, from
    the oldest that is kept. ``snapshots``: all that are kept, by id. ``schemas``, ``specs``: of columns and of partitions, by id.
    """

    table_id: str
    location: str
    history: tuple[Snapshot, ...]
    snapshots: Mapping[int, Snapshot]
    schemas: Mapping[int, Mapping[str, Any]]
    schema_id: int
    specs: Mapping[int, Mapping[str, Any]]

    @property
    def has_forgotten(self) -> bool:
        """Whether snapshots came before the oldest of the history, and are not kept any more.

        One without a parent may also be the first of another branch, or have replaced all that was in the table.
        """
        oldest = self.history[0]
        if oldest.parent_id is not None:
            return oldest.parent_id not in self.snapshots
        return 1 < oldest.number <= min(snapshot.number for snapshot in self.snapshots.values())

    def ancestors(self, snapshot_id: int | None) -> list[Snapshot]:
        """The snapshot and those before it, as far as they are kept, from the newest on."""
        ancestors: list[Snapshot] = []
        known: set[int] = set()
        while snapshot_id is not None and snapshot_id in self.snapshots and snapshot_id not in known:
            known.add(snapshot_id)
            ancestors.append(self.snapshots[snapshot_id])
            snapshot_id = ancestors[-1].parent_id
        return ancestors


def parse_metadata(data: bytes, where: str) -> TableMetadata:
    """The table that a metadata file describes.

    Raises:
        Damaged: it is not one, or of a version of the format that is not known.
    """
    try:
        document = json.loads(data)
        if document["format-version"] != FORMAT:
            raise Damaged(
                "the Iceberg table is of a version of the format that is not known here",
                where=where,
                wanted=f"format-version {FORMAT}",
                got=repr(document["format-version"]),
            )
        snapshots = {snapshot.id: snapshot for snapshot in map(_snapshot, document.get("snapshots") or ())}
        current = document.get("current-snapshot-id")
        table = TableMetadata(
            str(document["table-uuid"]),
            str(document["location"]).rstrip("/"),
            (),
            snapshots,
            {int(schema["schema-id"]): schema for schema in document["schemas"]},
            int(document["current-schema-id"]),
            {int(spec["spec-id"]): spec for spec in document["partition-specs"]},
        )
        if current not in (None, -1) and current not in snapshots:
            raise KeyError(f"snapshot {current}")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        got = " ".join(str(error).split())[:200] or type(error).__name__
        raise Damaged("the metadata of the Iceberg table cannot be read", where=where, got=got) from error
    # Those from before an upgrade to this version of the format have no number.
    history = tuple(snapshot for snapshot in reversed(table.ancestors(current)) if snapshot.number)
    if current in snapshots and not snapshots[current].number:
        raise Damaged(
            "the newest snapshot of the Iceberg table is older than its format, and has no number",
            where=where,
            hint="the table is read after the next commit",
        )
    if any(after.number <= before.number for before, after in pairwise(history)):
        raise Damaged(
            "the metadata of the Iceberg table cannot be read",
            where=where,
            got="a snapshot has no greater sequence number than the one before it",
        )
    return TableMetadata(
        table.table_id, table.location, history, snapshots, table.schemas, table.schema_id, table.specs
    )


def _snapshot(document: Mapping[str, Any]) -> Snapshot:
    parent, schema = document.get("parent-snapshot-id"), document.get("schema-id")
    summary = {str(name): str(value) for name, value in (document.get("summary") or {}).items()}
    return Snapshot(
        int(document["snapshot-id"]),
        None if parent in (None, -1) else int(parent),
        int(document.get("sequence-number") or 0),
        int(document["timestamp-ms"]),
        str(document["manifest-list"]),
        None if schema is None else int(schema),
        summary.get("operation", ""),
        summary,
    )


def _number(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0
