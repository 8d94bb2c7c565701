"""What some files of a batch came to: data files that no commit names yet, and what was refused; also as JSON.

A batch is one part, unless something in it ends the process that reads it: then its parts are read one by one, each
kept in the record of its trial (:mod:`featurestore.arrivals.isolation`), and committed together.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import polars as pl
import pyarrow as pa

from featurestore.arrivals.manifest import Action, Manifest
from featurestore.storage import paths
from featurestore.storage.delta import DataFile
from featurestore.storage.objects import Storage
from featurestore_transforms.batch.commit import BatchOutcome
from featurestore_transforms.batch.quarantined import Earlier, Quarantine
from featurestore_transforms.sources.reader import UnreadableArrival
from featurestore_transforms.sources.source_schema import FailBatch, SourceSchema


@dataclass(frozen=True)
class BatchPart:
    """``types``: of the dataset's columns after it. ``schema``: of source files after it.

    ``files``: with the good rows. ``quarantine``: with the rows that broke a rule. ``refused``: files that are to go
    to quarantine as files. ``caught``: index of a file to how many of its rows go there. ``failed``: why no row of the
    batch is to be taken. ``erasure``: number of the last erasure that is heeded.
    """

    types: Mapping[str, pl.DataType]
    schema: SourceSchema | None
    files: tuple[DataFile, ...] = ()
    quarantine: tuple[DataFile, ...] = ()
    refused: Mapping[int, UnreadableArrival] = field(default_factory=dict)
    failed: FailBatch | None = None
    rows_read: int = 0
    broken: Mapping[str, int] = field(default_factory=dict)
    caught: Mapping[int, int] = field(default_factory=dict)
    rows_quarantined: int = 0
    rows_dropped: int = 0
    rows_erased: int = 0
    bytes_read: int = 0
    erasure: int = 0

    def to_json(self) -> dict[str, Any]:
        arrow = pl.DataFrame(schema=dict(self.types)).to_arrow().schema
        return {
            "types": base64.b64encode(arrow.serialize()).decode(),
            "schema": self.schema.to_json().decode() if self.schema else None,
            "files": [asdict(file) for file in self.files],
            "quarantine": [asdict(file) for file in self.quarantine],
            "refused": [(index, why.rule, why.reason) for index, why in sorted(self.refused.items())],
            "failed": (self.failed.rule, self.failed.reason) if self.failed else None,
            "rowsRead": self.rows_read,
            "broken": dict(self.broken),
            "caught": sorted(self.caught.items()),
            "rowsQuarantined": self.rows_quarantined,
            "rowsDropped": self.rows_dropped,
            "rowsErased": self.rows_erased,
            "erasure": self.erasure,
            "bytesRead": self.bytes_read,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> BatchPart:
        arrow = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(value["types"])))
        return cls(
            types=dict(pl.Schema(arrow)),
            schema=SourceSchema.from_json(value["schema"].encode()) if value["schema"] else None,
            files=tuple(DataFile(**file) for file in value["files"]),
            quarantine=tuple(DataFile(**file) for file in value["quarantine"]),
            refused={index: UnreadableArrival(rule, reason) for index, rule, reason in value["refused"]},
            failed=FailBatch(*value["failed"]) if value["failed"] else None,
            rows_read=value["rowsRead"],
            broken=value["broken"],
            caught=dict(value["caught"]),
            rows_quarantined=value["rowsQuarantined"],
            rows_dropped=value["rowsDropped"],
            rows_erased=value["rowsErased"],
            erasure=value["erasure"],
            bytes_read=value["bytesRead"],
        )


def together(
    storage: Storage,
    manifest: Manifest,
    parts: Sequence[BatchPart],
    killers: Mapping[int, UnreadableArrival],
    before: BatchPart,
    earlier: Earlier,
    now_us: int,
    erasure: int,
) -> BatchOutcome:
    """What is to be committed of a batch that consists of these parts and of files that nothing can read.

    ``before``: types and schema before the batch. ``earlier``: what is in its quarantine already; what was decided
    then stays decided. ``erasure``: number of the last erasure that all of them heed.
    """
    read = {index: why for part in parts for index, why in part.refused.items()}
    refused = {**read, **killers, **earlier.refused}
    failed = next((part.failed for part in parts if part.failed is not None), None)
    last = parts[-1] if parts else before
    if failed is not None:
        for part in parts:
            discard(storage, paths.dataset(manifest.pipeline), part.files)
        for index, entry in enumerate(manifest.entries):
            if entry.action is Action.SKIP:
                continue
            refused.setdefault(index, UnreadableArrival(f"batch:{failed.rule}", failed.reason))
        parts, last = (), before
    quarantine = () if earlier.runs else tuple(file for part in parts for file in part.quarantine)
    new = [
        (index, why.rule, why.reason)
        for index, why in sorted(refused.items())
        if index not in earlier.refused
    ]
    if new:
        table = paths.quarantine("pipelines", manifest.pipeline)
        quarantine += (Quarantine(storage, table, manifest, now_us).files(new),)
    broken: Counter[str] = Counter()
    for part in parts:
        broken.update(part.broken)
    return BatchOutcome(
        files=tuple(file for part in parts for file in part.files),
        types=last.types,
        schema=last.schema if last.schema != before.schema else None,
        earlier=earlier,
        quarantine=quarantine,
        refused={index: refusal.rule for index, refusal in refused.items()},
        late=frozenset(earlier.refused.keys() - read.keys() - killers.keys()),
        rows_read=sum(part.rows_read for part in parts),
        broken=dict(sorted(broken.items())),
        caught={index: rows for part in parts for index, rows in part.caught.items()},
        rows_quarantined=sum(part.rows_quarantined for part in parts),
        rows_dropped=sum(part.rows_dropped for part in parts),
        rows_erased=sum(part.rows_erased for part in parts),
        bytes_read=sum(part.bytes_read for part in parts),
        erasure=erasure,
    )


def discard(storage: Storage, table: str, files: Sequence[DataFile]) -> None:
    """Remove data files that no commit will name."""
    for file in files:
        storage.delete(f"{table}/{file.path}")
