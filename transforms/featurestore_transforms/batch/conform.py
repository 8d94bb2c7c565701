"""Rows of a source file in the held types, and rows of a plan in the dataset's types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import polars as pl

from featurestore.errors import SpecError
from featurestore.resources.data_pipeline import DriftPolicy, Otherwise, SchemaPolicy
from featurestore.storage.delta import BATCH, FILE, ROW
from featurestore_transforms.casting.delta_types import storable, store, type_name
from featurestore_transforms.casting.struct_fields import held_fields, with_fields
from featurestore_transforms.sources.reader import ArrivalReader
from featurestore_transforms.sources.source_schema import TYPE_CHANGED, SchemaMatch
from featurestore_transforms.sources.stream import LINE, MALFORMED, scan_streams
from featurestore_transforms.steps.rules import MARKS, RowRule, RowRules, user_columns
from featurestore_transforms.steps.shown import shown

MALFORMED_ROW = RowRule("row:malformed")


@dataclass(frozen=True, slots=True)
class BatchFile:
    """A file of a batch that is to be read: its index in the manifest, and what its columns are.

    ``only``: the numbers of the rows to take, when quarantined rows are run again.
    """

    index: int
    file: ArrivalReader
    met: SchemaMatch
    only: pl.Series | None = None

    @property
    def rows(self) -> int:
        """How many rows were read; known after they were."""
        return self.file.rows() if self.only is None else len(self.only)


def conform(members: Sequence[BatchFile], policy: SchemaPolicy, rules: RowRules) -> pl.LazyFrame:
    """The files' rows with the held columns; marked where a row is malformed or a value does not fit.

    ``frame[<held columns>, <partitions>, __file: int32, __row: int64, __rule: int16]``. The files were met
    with the same schema.
    """
    alike = [list(some) for _, some in groupby(members, key=_look)]
    rows = pl.concat([_conform(_scan(some), some[0], policy, rules) for some in alike])
    return rows.with_columns(_of_the_path(members, name) for name in members[0].file.partitions)


def _of_the_path(members: Sequence[BatchFile], name: str) -> pl.Expr:
    files = pl.Series([one.index for one in members], dtype=pl.Int32)
    values = pl.concat([one.file.partitions[name] for one in members])
    return pl.col(FILE).replace_strict(files, values, return_dtype=values.dtype).alias(name)


def _look(member: BatchFile) -> object:
    """What must be equal for files to be read as one."""
    return type(member.file), list(member.file.schema.items()), list(member.met.columns.items())


def _scan(members: Sequence[BatchFile]) -> pl.LazyFrame:
    """Rows of files that look the same, as they are in the files, with ``__file``."""
    streams = [(one.index, one.file.stream) for one in members]
    return scan_streams(streams, members[0].met.columns.values())


def _conform(rows: pl.LazyFrame, one: BatchFile, policy: SchemaPolicy, rules: RowRules) -> pl.LazyFrame:
    met, partitions = one.met, one.file.partitions
    schema = rows.collect_schema()
    fails = policy.type_changed is DriftPolicy.FAIL_BATCH
    changed = RowRule(TYPE_CHANGED, Otherwise.FAIL_BATCH if fails else Otherwise.QUARANTINE)
    # Computed in one go, since a value and whether it fits have most of their work in common.
    values, broken = [], []
    fitted: list[pl.Expr] = []
    if MALFORMED in schema:
        broken.append((MALFORMED_ROW, pl.col(MALFORMED).is_not_null(), _malformed()))
    for name, wanted in met.schema.types.items():
        if name in partitions:
            continue
        column = met.columns.get(name)
        if column is None or wanted == pl.Null():
            values.append(pl.lit(None, wanted).alias(name))
            continue
        value, dtype = held_fields(pl.col(column), schema[column], wanted)
        fit = store(value, dtype, wanted, declared=name in met.schema.pinned)
        if fit.fits is None:
            values.append(fit.value.alias(name))
            continue
        made, fits = f"__made_{len(fitted)}", f"__fits_{len(fitted)}"
        fitted += [fit.value.alias(made), fit.fits.alias(fits)]
        values.append(pl.col(made).alias(name))
        got = shown(pl.col(column), schema[column])
        why = pl.concat_str(pl.lit(f"{name}: wanted {type_name(wanted)}, got "), got)
        broken.append((changed, ~pl.col(fits), why))
    marked = rules.mark(rules.begin(rows.with_columns(fitted)), broken)
    marks = [pl.col(name) for name in MARKS if name in marked.collect_schema() and name not in (FILE, ROW)]
    return marked.select(*values, FILE, ROW, *marks)


def dataset_types(rows: pl.LazyFrame, known: Mapping[str, pl.DataType]) -> dict[str, pl.DataType]:
    """Types of the dataset's columns after these rows: those that it has stay, new ones are added at the end.

    A column that has no value yet has no type yet, and is not there yet.

    Raises:
        SpecError: a column cannot be stored.
    """
    types = dict(known)
    folded = {name.lower(): name for name in known}
    for name, dtype in user_columns(rows).items():
        stored = storable(dtype)
        if stored is None:
            raise SpecError(f"no table holds the type of column {name!r}", got=str(dtype))
        if name.startswith("__"):
            raise SpecError(f"names that begin with two underscores are reserved: column {name!r}")
        other = folded.setdefault(name.lower(), name)
        if other != name:
            raise SpecError("two columns differ in upper and lower case only", got=f"{other!r} and {name!r}")
        if name not in types:
            if stored != pl.Null():
                types[name] = stored
        elif types[name].is_nested():
            types[name], _ = with_fields(types[name], stored, name)
    return types


def shape(rows: pl.LazyFrame, batch: int, types: Mapping[str, pl.DataType], rules: RowRules) -> pl.LazyFrame:
    """The rows in the dataset's columns and types; marked where a value does not fit the type that its column has.

    ``frame[<columns of the dataset>, __batch, __file, __row, __rule]``
    """
    schema = user_columns(rows)
    values, broken = [], []
    for name, wanted in types.items():
        if name not in schema:
            values.append(pl.lit(None, wanted).alias(name))
            continue
        fit = store(pl.col(name), schema[name], wanted)
        values.append(fit.value.alias(name))
        if fit.fits is not None:
            got = shown(pl.col(name), schema[name])
            why = pl.concat_str(pl.lit(f"{name}: the dataset has {type_name(wanted)}, got "), got)
            broken.append((RowRule(f"cast:{name}"), ~fit.fits, why))
    marked = rules.mark(rows, broken)
    marks = [pl.col(name) for name in MARKS if name in marked.collect_schema() and name not in (FILE, ROW)]
    return marked.select(*values, pl.lit(batch, pl.Int64).alias(BATCH), FILE, ROW, *marks)


def _malformed() -> pl.Expr:
    return pl.concat_str(pl.col(MALFORMED), pl.lit(": ") + pl.col(LINE).str.slice(0, 100), ignore_nulls=True)
