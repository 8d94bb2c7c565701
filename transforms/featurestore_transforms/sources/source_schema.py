"""What a pipeline's source files look like, and what becomes of a file that looks different.

It is declared in ``spec.columns``, else learned from the first file that can be read; from then on it is held.
Files are met one by one in the order of their batches, so that where a batch ends changes nothing. Learned numbers
are as wide as their kind (int64, float64): so no later file can be wider.

A file may bring its columns in any order. A name that differs only in upper and lower case is the same column: no
engine that reads the dataset could tell them apart. Columns that came later (``newColumn: Evolve``) are not
required of files, because older files may arrive late.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import polars as pl
import pyarrow as pa

from featurestore.digest import canonical_json, digest
from featurestore.expressions.run.cast import polars_type
from featurestore.resources.data_pipeline import Column, DriftPolicy, SchemaPolicy
from featurestore.storage import paths
from featurestore.storage.objects import Storage
from featurestore_transforms.casting.delta_types import storable, whole
from featurestore_transforms.sources.reader import ArrivalReader, UnreadableFile

NEW_COLUMN, MISSING_COLUMN, TYPE_CHANGED = (
    "schema:newColumn",
    "schema:missingColumn",
    "schema:typeChanged",
)


class FailBatch(Exception):
    """No row of the batch is to be taken: the ``rule`` that says so, and the ``reason`` for people."""

    def __init__(self, rule: str, reason: str) -> None:
        super().__init__(f"{rule}: {reason}")
        self.rule = rule
        self.reason = reason


@dataclass(frozen=True, slots=True)
class SourceSchema:
    """``types``: column to type, ``Null`` while no value was seen. ``required``: what every file must have.

    ``declared``: digest of the ``spec.columns`` that it began with; empty if it was learned. ``pinned``: the columns
    that these declare.
    """

    types: Mapping[str, pl.DataType]
    required: frozenset[str]
    declared: str = ""
    pinned: frozenset[str] = frozenset()

    def to_json(self) -> bytes:
        """For people, and exactly: Arrow's own form holds all that a type says."""
        arrow = pl.DataFrame(schema=dict(self.types)).to_arrow().schema
        return canonical_json(
            {
                "columns": {name: str(dtype) for name, dtype in self.types.items()},
                "required": sorted(self.required),
                "declared": self.declared,
                "pinned": sorted(self.pinned),
                "arrow": base64.b64encode(arrow.serialize()).decode(),
            }
        )

    @classmethod
    def from_json(cls, data: bytes) -> SourceSchema:
        value = json.loads(data)
        arrow = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(value["arrow"])))
        types = dict(pl.Schema(arrow))
        return cls(types, frozenset(value["required"]), value["declared"], frozenset(value["pinned"]))


@dataclass(frozen=True, slots=True)
class SchemaMatch:
    """``schema``: as it is after the file. ``columns``: held column to the file's own; those it lacks are absent."""

    schema: SourceSchema
    columns: Mapping[str, str]


def read_schema(storage: Storage, pipeline: str, number: int) -> SourceSchema | None:
    """The schema that batch ``number`` finds: as the batches before it left it; None if they left none."""
    folder = paths.schemas(pipeline)
    before = [name for name in storage.names(folder) if int(name.partition(".")[0]) < number]
    return SourceSchema.from_json(storage.read(f"{folder}/{before[-1]}")) if before else None


def write_schema(storage: Storage, pipeline: str, number: int, schema: SourceSchema) -> None:
    """Leave the schema to the batches after ``number``. A second run of the same batch changes nothing."""
    storage.put_if_absent(f"{paths.schemas(pipeline)}/{paths.number(number)}.json", schema.to_json())


def first_schema(columns: Sequence[Column] | None, held: SourceSchema | None) -> SourceSchema | None:
    """The schema that a batch begins with; None if the first file is to be learned from.

    What was held gives way to columns that are declared anew.
    """
    if columns is None:
        return held and replace(held, declared="", pinned=frozenset())
    named = digest([column.model_dump(mode="json") for column in columns])
    if held is not None and held.declared == named:
        return held
    types = {column.name: polars_type(column.type) for column in columns}
    return SourceSchema(types, frozenset(types), named, frozenset(types))


def match_schema(held: SourceSchema | None, file: ArrivalReader, policy: SchemaPolicy) -> SchemaMatch:
    """What the file's columns are, and the schema after it.

    Raises:
        Unreadable: the policy refuses the file, or reading it shows that it is broken.
        FailBatch: the policy refuses the batch.
    """
    if held is None:
        file.require_learnable()
        learned = _learn(file, list(file.schema))
        return SchemaMatch(SourceSchema(learned, frozenset(learned)), {name: name for name in learned})
    columns = _matched(held, file)
    new = [name for name in file.schema if name not in columns.values()]
    if new:
        _judge(policy.new_column, NEW_COLUMN, f"columns that are not known: {', '.join(map(repr, new))}")
    missing = sorted(held.required - columns.keys())
    if missing:
        has = ", ".join(map(repr, file.schema))
        _judge(
            policy.missing_column,
            MISSING_COLUMN,
            f"no column {', '.join(map(repr, missing))}; there is {has}",
        )
    taken = new if policy.new_column is DriftPolicy.EVOLVE else []
    unknown = [name for name in columns if held.types[name] == pl.Null()]
    learned = _learn(file, [columns[name] for name in unknown] + taken)
    known = {name: learned[columns[name]] for name in unknown}
    types = {**held.types, **known, **{name: learned[name] for name in taken}}
    return SchemaMatch(replace(held, types=types), {**columns, **{name: name for name in taken}})


def _matched(held: SourceSchema, file: ArrivalReader) -> dict[str, str]:
    folded = {name.lower(): name for name in file.schema}
    found = {name: folded.get(name.lower()) for name in held.types}
    return {name: column for name, column in found.items() if column is not None}


def _learn(file: ArrivalReader, columns: list[str]) -> dict[str, pl.DataType]:
    types = file.types(columns) if columns else {}
    learned = {}
    for name in columns:
        stored = storable(types[name])
        if stored is None:
            raise UnreadableFile(
                "file:format", f"column {name!r} has a type that no table holds: {types[name]}"
            )
        learned[name] = _wide(stored)
    return learned


def _wide(dtype: pl.DataType) -> pl.DataType:
    """The widest type of the kind."""
    if dtype.is_integer():
        return pl.Int64()
    if dtype.is_float():
        return pl.Float64()
    if isinstance(dtype, pl.List):
        return pl.List(_wide(whole(dtype.inner)))
    if isinstance(dtype, pl.Struct):
        return pl.Struct({field.name: _wide(whole(field.dtype)) for field in dtype.fields})
    return dtype


def _judge(policy: DriftPolicy, rule: str, reason: str) -> None:
    if policy is DriftPolicy.QUARANTINE:
        raise UnreadableFile(rule, reason)
    if policy is DriftPolicy.FAIL_BATCH:
        raise FailBatch(rule, reason)
