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
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import polars as pl
import pyarrow as pa

from featurestore.arrivals.source_columns import declaration, schema_object, understanding_schema
from featurestore.digest import canonical_json
from featurestore.errors import did_you_mean
from featurestore.expressions.run.cast import polars_type
from featurestore.resources.data_pipeline import DriftPolicy, SchemaPolicy, SourceColumn
from featurestore.storage import paths
from featurestore.storage.objects import Storage
from featurestore_transforms.casting.delta_types import storable, type_name, whole
from featurestore_transforms.casting.struct_fields import NewFields, known_parts, same_fields, with_fields
from featurestore_transforms.sources.column_use import ColumnUse
from featurestore_transforms.sources.reader import ArrivalReader, UnreadableArrival, require_taken
from featurestore_transforms.steps.column_names import ColumnNames, is_index, short

NEW_COLUMN, MISSING_COLUMN, TYPE_CHANGED = (
    "schema:newColumn",
    "schema:missingColumn",
    "schema:typeChanged",
)


class FailBatch(Exception):
    """No row of the batch is to be taken: the ``rule`` that says so, and a human-readable ``reason``."""

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
                "columns": {name: type_name(dtype) for name, dtype in self.types.items()},
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


def read_schema(storage: Storage, pipeline: str, number: int, generation: int) -> SourceSchema | None:
    """The schema that batch ``number`` finds: as the batches before it left it; None if they left none.

    ``generation``: the last rebuild that was promoted. It began from nothing, and left a schema of its own.
    """
    found = schema_object(storage, pipeline, generation, number)
    if found is None:
        return None
    path, data = found
    with understanding_schema(storage, path):
        return SourceSchema.from_json(data)


def write_schema(storage: Storage, pipeline: str, number: int, generation: int, schema: SourceSchema) -> None:
    """Leave the schema to the batches after ``number``. A second run of the same batch changes nothing."""
    path = f"{paths.schemas(pipeline, generation)}/{paths.number(number)}.json"
    storage.put_if_absent(path, schema.to_json())


def first_schema(columns: Sequence[SourceColumn] | None, held: SourceSchema | None) -> SourceSchema | None:
    """The schema that a batch begins with; None if the first file is to be learned from.

    A new declaration of columns replaces the schema that was held.
    """
    if columns is None:
        return held and replace(held, declared="", pinned=frozenset())
    named = declaration(columns)
    if held is not None and held.declared == named:
        return held
    types = {column.name: polars_type(column.type) for column in columns}
    return SourceSchema(types, frozenset(types), named, frozenset(types))


def match_schema(
    held: SourceSchema | None, file: ArrivalReader, policy: SchemaPolicy, use: ColumnUse
) -> SchemaMatch:
    """What the file's columns are, and the schema after it.

    A column that is ignored, or that no step uses, is not judged, whatever its name, type and values are.

    Raises:
        UnreadableArrival: the policy refuses the file, or reading it shows that it is broken.
        FailBatch: the policy refuses the batch.
    """
    if held is None:
        file.require_learnable(use)
    known = held or SourceSchema({}, frozenset())
    columns, ambiguous = _matched(known, file, use)
    taken = set(columns.values()) | {ambiguous.pop(name) for name in list(ambiguous) if use.unused(name)}
    if ambiguous:
        raise UnreadableArrival("file:format", next(iter(ambiguous.values())))
    new, odd, seen = _new(known, file, use, taken)
    if new or odd:
        named = ", ".join(map(short, [*new.values(), *odd]))
        if not file.whole and held is not None and policy.new_column is DriftPolicy.QUARANTINE:
            file.refuse({name: f"unknown column {short(name)}" for name in (*new.values(), *odd)})
            new, odd = {}, {}
        else:
            _judge(policy.new_column, held, NEW_COLUMN, f"unknown columns: {named}")
    missing = sorted(
        name for name in known.required - columns.keys() - use.partitions if not use.unused(name)
    )
    if missing and file.whole:
        has = ", ".join(map(short, file.names.plain.values()))
        reason = f"no column {', '.join(map(repr, missing))}; the file has {has}"
        near = did_you_mean(missing[0], file.names.plain.values())
        if near.startswith("Did you mean"):
            reason += f". {near}"
        _judge(policy.missing_column, held, MISSING_COLUMN, reason)
    if held is not None and new and not columns:
        file.require_learnable(use)
    if policy.new_column is DriftPolicy.IGNORE:
        odd = {}
        new = {} if held is not None else new
    if odd:
        file.refuse({name: f"{why}. {_ADVICE.format(name)}" for name, why in odd.items()})
    columns = {name: column for name, column in columns.items() if not use.unused(name)}
    require_taken(file, columns.values())
    unknown = [name for name in columns if known.types[name] == pl.Null()]
    learned = _learn(file, [*(columns[name] for name in unknown), *new], ignore=policy.new_column)
    types = {
        **known.types,
        **{name: learned[columns[name]] for name in unknown},
        **{name: learned[column] for column, name in new.items() if column in learned},
        **{name: known.types.get(name, pl.Null()) for name in seen},
    }
    fields = _evolved(types, {name: column for name, column in columns.items() if name not in unknown}, file)
    if fields.paths:
        _judge(policy.new_column, held, NEW_COLUMN, f"unknown fields: {', '.join(fields.paths)}")
    if policy.new_column is DriftPolicy.EVOLVE:
        types |= fields.types
    schema = replace(known, types=types)
    if held is None:
        schema = replace(schema, required=frozenset(new.values()) & types.keys())
    return SchemaMatch(schema, {**columns, **{name: column for column, name in new.items() if name in types}})


_ADVICE = (
    "Give it a name in spec.columns ({{name: …, type: …, source: {0!r}}}), leave it out by a first step "
    "`drop`, or take no new columns (schemaPolicy.newColumn: Ignore)"
)


def _matched(
    held: SourceSchema, file: ArrivalReader, use: ColumnUse
) -> tuple[dict[str, str], dict[str, str]]:
    """Held column to the file's, and held columns that more than one of the file's could be, with the reason."""
    plan_names = {own: name for name, own in file.names.plain.items()}
    folded: dict[str, list[str]] = {}
    for own in plan_names:
        if own not in file.names.odd:
            folded.setdefault(own.lower(), []).append(own)
    found: dict[str, str] = {}
    ambiguous: dict[str, str] = {}
    for name in held.types:
        own = use.sources.get(name, name)
        alike = folded.get(own.lower(), [])
        if name in use.partitions:
            continue
        if own in file.names.twice:
            ambiguous[name] = file.names.twice[own]
        elif own in plan_names and (own not in file.names.odd or name in use.sources):
            found[name] = plan_names[own]
        elif len(alike) > 1:
            ambiguous[name] = _alike(alike)
        elif alike:
            found[name] = plan_names[alike[0]]
    return found, ambiguous


def _new(
    held: SourceSchema, file: ArrivalReader, use: ColumnUse, taken: Collection[str]
) -> tuple[dict[str, str], dict[str, str], list[str]]:
    """Columns that are not held: the file's to its name, odd ones with what is wrong, and the names of unused ones."""
    known = {name.lower() for name in held.types}
    left = {
        column: own for column, own in file.names.plain.items() if column not in taken and not is_index(own)
    }
    folded = Counter(own.lower() for own in left.values())
    new, odd, unused = {}, {}, []
    for column, own in left.items():
        if own in use.partitions and not use.unused(own):
            raise UnreadableArrival(
                "file:partition", f"column {short(own)} is in the file and in spec.source.partitions"
            )
        if use.unused(own):
            if own not in file.names.odd:
                unused.append(own)
        elif own in file.names.odd:
            odd[own] = file.names.odd[own]
        elif folded[own.lower()] > 1 or own.lower() in known:
            alike = [name for name in (*held.types, *left.values()) if name.lower() == own.lower()]
            odd[own] = _alike(list(dict.fromkeys(alike)))
        else:
            new[column] = own
    for own, why in file.names.twice.items():
        if use.unused(own):
            unused.append(own)
        elif own not in held.types:
            odd[own] = why
    return new, odd, [name for name in unused if name not in odd and _plain(name)]


def _alike(names: Sequence[str]) -> str:
    return f"two columns differ in upper and lower case only: {' and '.join(map(short, names[:2]))}"


def _plain(name: str) -> bool:
    return not ColumnNames.of([name]).odd


def _learn(file: ArrivalReader, columns: list[str], ignore: DriftPolicy) -> dict[str, pl.DataType]:
    if ignore is DriftPolicy.IGNORE:
        columns = [name for name in columns if name not in file.refused]
    require_taken(file, columns)
    types = file.types(columns) if columns else {}
    learned = {}
    for name in columns:
        _require_apart(types[name], name)
        stored = storable(known_parts(types[name]) or pl.Null())
        if stored is not None:
            learned[name] = _wide(stored)
        elif ignore is not DriftPolicy.IGNORE:
            raise UnreadableArrival(
                "file:format", f"column {name!r} has a type that no table holds: {types[name]}"
            )
    return learned


def _wide(dtype: pl.DataType) -> pl.DataType:
    """The widest type of the kind."""
    if dtype.is_integer():
        return pl.Int64()
    if dtype.is_float():
        return pl.Float64()
    if isinstance(dtype, pl.List):
        return pl.List(_wide(whole(dtype.inner)))
    if isinstance(dtype, pl.Map):
        return pl.Map(_wide(whole(dtype.key)), _wide(whole(dtype.value)))
    if isinstance(dtype, pl.Struct):
        return pl.Struct({field.name: _wide(whole(field.dtype)) for field in dtype.fields})
    return dtype


def _require_apart(dtype: pl.DataType, column: str) -> None:
    """Raise UnreadableArrival if two fields of a struct could be taken for one."""
    if alike := same_fields(dtype, column):
        raise UnreadableArrival("file:format", f"two fields differ in upper and lower case only: {alike}")


def _evolved(types: Mapping[str, pl.DataType], columns: Mapping[str, str], file: ArrivalReader) -> NewFields:
    """The held types with the fields that the file's structs add to them."""
    nested = {name: column for name, column in columns.items() if types[name].is_nested()}
    found = file.types(list(nested.values())) if nested else {}
    merged, paths = {}, []
    for name, column in nested.items():
        _require_apart(found[column], name)
        known = known_parts(found[column])
        if known is not None:
            merged[name], added = with_fields(types[name], _wide(known), name)
            paths += added
    return NewFields(merged, paths)


def _judge(policy: DriftPolicy, held: SourceSchema | None, rule: str, reason: str) -> None:
    if held is None:
        return
    if policy is DriftPolicy.QUARANTINE:
        raise UnreadableArrival(rule, reason)
    if policy is DriftPolicy.FAIL_BATCH:
        raise FailBatch(rule, reason)
