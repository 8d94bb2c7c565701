"""What a pipeline's source files look like, and what becomes of a file that looks different.

It is declared in ``spec.columns``, else learned from the first file that can be read; later files are compared with it.
Files are compared one by one in the order of their batches, so that where a batch ends changes nothing. Learned numbers
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
    """``schema``: as it is after the file. ``columns``: column of the schema to the file's own; those it lacks are absent."""

    schema: SourceSchema
    columns: Mapping[str, str]


def read_schema(storage: Storage, pipeline: str, number: int, generation: int) -> SourceSchema | None:
    """The schema that batch ``number`` begins with: as the batches before it left it; None if they left none.

    ``generation``: the last rebuild that was promoted. It began from nothing, and left a schema of its own.
    """
    schema = schema_object(storage, pipeline, generation, number)
    if schema is None:
        return None
    path, data = schema
    with understanding_schema(storage, path):
        return SourceSchema.from_json(data)


def write_schema(storage: Storage, pipeline: str, number: int, generation: int, schema: SourceSchema) -> None:
    """Leave the schema to the batches after ``number``. A second run of the same batch changes nothing."""
    path = f"{paths.schemas(pipeline, generation)}/{paths.number(number)}.json"
    storage.put_if_absent(path, schema.to_json())


def first_schema(columns: Sequence[SourceColumn] | None, before: SourceSchema | None) -> SourceSchema | None:
    """The schema that a batch begins with; None if the first file is to be learned from.

    ``before``: what the batches before it left. A new declaration of columns replaces that.
    """
    if columns is None:
        return before and replace(before, declared="", pinned=frozenset())
    declared = declaration(columns)
    if before is not None and before.declared == declared:
        return before
    types = {column.name: polars_type(column.type) for column in columns}
    return SourceSchema(types, frozenset(types), declared, frozenset(types))


def match_schema(
    before: SourceSchema | None, file: ArrivalReader, policy: SchemaPolicy, use: ColumnUse
) -> SchemaMatch:
    """What the file's columns are, and the schema after it. ``before``: the schema so far, None if this file begins it.

    A column that is ignored, or that no step uses, is not judged, whatever its name, type and values are.

    Raises:
        UnreadableArrival: the policy refuses the file, or reading it shows that it is broken.
        FailBatch: the policy refuses the batch.
    """
    if before is None:
        file.require_learnable(use)
    schema = before or SourceSchema({}, frozenset())
    columns, ambiguous = _matched(schema, file, use)
    matched = set(columns.values()) | {ambiguous.pop(name) for name in list(ambiguous) if use.unused(name)}
    if ambiguous:
        raise UnreadableArrival("file:format", next(iter(ambiguous.values())))
    new, unusable, unused = _new(schema, file, use, matched)
    if new or unusable:
        names = [*new.values(), *unusable]
        if not file.whole and before is not None and policy.new_column is DriftPolicy.QUARANTINE:
            file.refuse({name: f"unknown column {short(name)}" for name in names})
            new, unusable = {}, {}
        else:
            reason = f"unknown columns: {', '.join(map(short, names))}"
            _apply_policy(policy.new_column, before, NEW_COLUMN, reason)
    missing = sorted(
        name for name in schema.required - columns.keys() - use.partitions if not use.unused(name)
    )
    if missing and file.whole:
        available = file.names.originals.values()
        reason = f"no column {', '.join(map(repr, missing))}; the file has {', '.join(map(short, available))}"
        suggestion = did_you_mean(missing[0], available)
        if suggestion.startswith("Did you mean"):
            reason += f". {suggestion}"
        _apply_policy(policy.missing_column, before, MISSING_COLUMN, reason)
    if before is not None and new and not columns:
        file.require_learnable(use)
    if policy.new_column is DriftPolicy.IGNORE:
        unusable = {}
        new = {} if before is not None else new
    if unusable:
        file.refuse({name: f"{why}. {_ADVICE.format(name)}" for name, why in unusable.items()})
    columns = {name: column for name, column in columns.items() if not use.unused(name)}
    require_taken(file, columns.values())
    untyped = [name for name in columns if schema.types[name] == pl.Null()]
    learned = _learn(file, [*(columns[name] for name in untyped), *new], policy.new_column)
    types = {
        **schema.types,
        **{name: learned[columns[name]] for name in untyped},
        **{name: learned[column] for column, name in new.items() if column in learned},
        **{name: schema.types.get(name, pl.Null()) for name in unused},
    }
    fields = _evolved(types, {name: column for name, column in columns.items() if name not in untyped}, file)
    if fields.paths:
        _apply_policy(policy.new_column, before, NEW_COLUMN, f"unknown fields: {', '.join(fields.paths)}")
    if policy.new_column is DriftPolicy.EVOLVE:
        types |= fields.types
    after = replace(schema, types=types)
    if before is None:
        after = replace(after, required=frozenset(new.values()) & types.keys())
    return SchemaMatch(after, {**columns, **{name: column for column, name in new.items() if name in types}})


_ADVICE = (
    "Give it a name in spec.columns ({{name: …, type: …, source: {0!r}}}), leave it out by a first step "
    "`drop`, or take no new columns (schemaPolicy.newColumn: Ignore)"
)


def _matched(
    schema: SourceSchema, file: ArrivalReader, use: ColumnUse
) -> tuple[dict[str, str], dict[str, str]]:
    """Column of the schema to the file's; and those that more than one of the file's could be, with the reason."""
    plan_names = {original: name for name, original in file.names.originals.items()}
    by_lower_case: dict[str, list[str]] = {}
    for original in plan_names:
        if original not in file.names.unusable:
            by_lower_case.setdefault(original.lower(), []).append(original)
    matches: dict[str, str] = {}
    ambiguous: dict[str, str] = {}
    for name in schema.types:
        original = use.sources.get(name, name)
        candidates = by_lower_case.get(original.lower(), [])
        if name in use.partitions:
            continue
        if original in file.names.repeated:
            ambiguous[name] = file.names.repeated[original]
        elif original in plan_names and (original not in file.names.unusable or name in use.sources):
            matches[name] = plan_names[original]
        elif len(candidates) > 1:
            ambiguous[name] = _same_but_for_case(candidates)
        elif candidates:
            matches[name] = plan_names[candidates[0]]
    return matches, ambiguous


def _new(
    schema: SourceSchema, file: ArrivalReader, use: ColumnUse, matched: Collection[str]
) -> tuple[dict[str, str], dict[str, str], list[str]]:
    """Columns that the schema does not have: those to be added, by their name in plans; unusable ones, with the reason;
    and the names of those that nothing uses.
    """
    known = {name.lower() for name in schema.types}
    others = {
        column: original
        for column, original in file.names.originals.items()
        if column not in matched and not is_index(original)
    }
    lower_case = Counter(original.lower() for original in others.values())
    new, unusable, unused = {}, {}, []
    for column, original in others.items():
        if original in use.partitions and not use.unused(original):
            raise UnreadableArrival(
                "file:partition", f"column {short(original)} is in the file and in spec.source.partitions"
            )
        if use.unused(original):
            if original not in file.names.unusable:
                unused.append(original)
        elif original in file.names.unusable:
            unusable[original] = file.names.unusable[original]
        elif lower_case[original.lower()] > 1 or original.lower() in known:
            same = [name for name in (*schema.types, *others.values()) if name.lower() == original.lower()]
            unusable[original] = _same_but_for_case(list(dict.fromkeys(same)))
        else:
            new[column] = original
    for original, why in file.names.repeated.items():
        if use.unused(original):
            unused.append(original)
        elif original not in schema.types:
            unusable[original] = why
    return new, unusable, [name for name in unused if name not in unusable and _is_usable(name)]


def _same_but_for_case(names: Sequence[str]) -> str:
    return f"two columns differ in upper and lower case only: {' and '.join(map(short, names[:2]))}"


def _is_usable(name: str) -> bool:
    return not ColumnNames.of([name]).unusable


def _learn(file: ArrivalReader, columns: list[str], policy: DriftPolicy) -> dict[str, pl.DataType]:
    if policy is DriftPolicy.IGNORE:
        columns = [name for name in columns if name not in file.refused]
    require_taken(file, columns)
    types = file.types(columns) if columns else {}
    learned = {}
    for name in columns:
        _require_apart(types[name], name)
        stored = storable(known_parts(types[name]) or pl.Null())
        if stored is not None:
            learned[name] = _wide(stored)
        elif policy is not DriftPolicy.IGNORE:
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
    if fields := same_fields(dtype, column):
        raise UnreadableArrival("file:format", f"two fields differ in upper and lower case only: {fields}")


def _evolved(types: Mapping[str, pl.DataType], columns: Mapping[str, str], file: ArrivalReader) -> NewFields:
    """The types of the schema with the fields that the file's structs add to them."""
    nested = {name: column for name, column in columns.items() if types[name].is_nested()}
    file_types = file.types(list(nested.values())) if nested else {}
    merged, paths = {}, []
    for name, column in nested.items():
        _require_apart(file_types[column], name)
        known = known_parts(file_types[column])
        if known is not None:
            merged[name], added = with_fields(types[name], _wide(known), name)
            paths += added
    return NewFields(merged, paths)


def _apply_policy(policy: DriftPolicy, before: SourceSchema | None, rule: str, reason: str) -> None:
    """Raise what the policy says of a file that differs from the schema so far; from the first one it is learned."""
    if before is None:
        return
    if policy is DriftPolicy.QUARANTINE:
        raise UnreadableArrival(rule, reason)
    if policy is DriftPolicy.FAIL_BATCH:
        raise FailBatch(rule, reason)
