"""Feature rows: computed from a dataset's rows by a view's definition; and which of them break a rule.

Each row is worked out from one row alone, so it does not matter which rows are looked at together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import polars as pl

from featurestore.aggregates.aggregates import AGGREGATES
from featurestore.errors import SpecError, did_you_mean
from featurestore.expressions.run.cast import Fit, fit, polars_type
from featurestore.expressions.run.program import Program, compile_condition, compile_expression
from featurestore.resources.feature_view import FeatureViewSpec
from featurestore.resources.outputs import CREATED_TIME, EVENT_TIME, aggregate_input, aggregate_input_type
from featurestore.resources.value import ColumnType, KeyType
from featurestore.storage.delta import SYSTEM_COLUMNS
from featurestore_transforms.steps.shown import shown

RULE, REASON = "__rule", "__reason"


@dataclass(frozen=True, slots=True)
class _Column:
    """A column of the view's table: where its values come from, and what must be true of them.

    They come from the dataset's column ``source``, or from an expression. ``rule`` is broken by a value that
    does not fit ``type``, and by a null if the column is ``required``. ``counts``: only whether there is a value.
    """

    name: str
    rule: str
    type: ColumnType | KeyType
    source: str
    expression: bool = False
    counts: bool = False
    required: bool = False


def feature_rows(dataset: pl.LazyFrame, spec: FeatureViewSpec) -> pl.LazyFrame:
    """Typed rows of the view's table, and the rule that each breaks: the first one, else null.

    ``frame[<columns of featurestore.views.schema.view_schema>, __rule: str]``. Without a ``createdTimestampField``
    the created time is null: the dataset does not have it.

    Raises:
        SpecError: a column is not in the dataset, or a type cannot come from its column's.
    """
    values = [pl.col(_value(index)).alias(column.name) for index, column in enumerate(_columns(spec))]
    if spec.created_timestamp_field is None:
        created = pl.lit(None, polars_type(ColumnType.TIMESTAMP)).alias(CREATED_TIME)
        values.insert(len(spec.entity.join_keys) + 1, created)
    return _judged(dataset, spec).select(*values, *SYSTEM_COLUMNS, RULE)


def broken_rows(dataset: pl.LazyFrame, spec: FeatureViewSpec) -> pl.LazyFrame:
    """Rows of the dataset, as they are, that break a rule.

    ``frame[<columns of the dataset>, __rule: str, __reason: str]``

    Raises:
        SpecError: as :func:`feature_rows`.
    """
    names = dataset.collect_schema().names()
    return _judged(dataset, spec).filter(pl.col(RULE).is_not_null()).select(*names, RULE, REASON)


def _columns(spec: FeatureViewSpec) -> Iterator[_Column]:
    """Columns of the view's table in its order, without the created time if the dataset does not have it."""
    for key in spec.entity.join_keys:
        yield _Column(key.name, f"key:{key.name}", key.type, key.name, required=True)
    time, known = spec.timestamp_field, spec.created_timestamp_field
    yield _Column(EVENT_TIME, "timestampField", ColumnType.TIMESTAMP, time, required=True)
    if known is not None:
        yield _Column(CREATED_TIME, "createdTimestampField", ColumnType.TIMESTAMP, known, required=True)
    for feature in spec.features:
        rule = f"feature:{feature.name}"
        if feature.expression is not None:
            yield _Column(feature.name, rule, feature.type, feature.expression, expression=True)
        elif feature.aggregate is None:
            yield _Column(feature.name, rule, feature.type, feature.column or feature.name)
    for feature in spec.features:
        if feature.aggregate is not None:
            yield _Column(
                aggregate_input(feature),
                f"feature:{feature.name}",
                aggregate_input_type(feature),
                feature.aggregate.column,
                counts=AGGREGATES[feature.aggregate.function].counts,
            )


def _judged(dataset: pl.LazyFrame, spec: FeatureViewSpec) -> pl.LazyFrame:
    """Rows that pass the filter, with each column's typed value, the rule they break and the reason."""
    columns = tuple(_columns(spec))
    rows, faults = _sources(dataset, spec, columns)
    types = rows.collect_schema()
    fits = _fits(columns, types)
    rules = [pl.when(fault).then(pl.lit(rule)) for rule, fault, _ in faults]
    reasons = [pl.when(fault).then(reason) for _, fault, reason in faults]
    for index, (column, fitted) in enumerate(zip(columns, fits, strict=True)):
        source = pl.col(_source(index))
        broken = [] if fitted.fits is None else [~fitted.fits]
        if column.required:
            broken.append(source.is_null())
        for each in broken:
            reason = pl.format(
                "wanted {}, got {}", pl.lit(column.type.value), shown(source, types[_source(index)])
            )
            rules.append(pl.when(each).then(pl.lit(column.rule)))
            reasons.append(pl.when(each).then(reason))
    nothing = pl.lit(None, pl.String)
    return rows.with_columns(
        *(fitted.value.alias(_value(index)) for index, fitted in enumerate(fits)),
        pl.coalesce(*rules, nothing).alias(RULE),
        pl.coalesce(*reasons, nothing).alias(REASON),
    )


def _sources(
    dataset: pl.LazyFrame, spec: FeatureViewSpec, columns: tuple[_Column, ...]
) -> tuple[pl.LazyFrame, list[tuple[str, pl.Expr, pl.Expr]]]:
    """Rows that pass the filter, with what each column comes from; and rules with what may fail to be computed."""
    known = {name: dtype for name, dtype in dataset.collect_schema().items() if name not in SYSTEM_COLUMNS}
    sources: list[pl.Expr] = []
    programs: list[tuple[str, Program]] = []
    problems: list[SpecError] = []
    wrong_filter: list[SpecError] = []
    if spec.filter is not None:
        try:
            keep = compile_condition(spec.filter, known, "filter", prefix="__f")
            dataset = keep.prepare(dataset)
            dataset = dataset.filter(keep.value if keep.fault is None else keep.value | keep.fault)
            programs.append(("filter", keep))
        except SpecError as error:
            wrong_filter.append(error)
    for index, column in enumerate(columns):
        try:
            if column.expression:
                program = compile_expression(column.source, known, column.rule, prefix=f"__e{index}_")
                dataset = program.prepare(dataset)
                programs.append((column.rule, program))
                sources.append(program.value.alias(_source(index)))
            else:
                sources.append(_from(column, known).alias(_source(index)))
        except SpecError as error:
            problems.append(error)
    _raise_all([*problems, *wrong_filter])
    faults = [(rule, one.fault, one.reason) for rule, one in programs if one.fault is not None]
    return dataset.with_columns(sources), faults


def _from(column: _Column, known: Mapping[str, pl.DataType]) -> pl.Expr:
    if column.source not in known:
        hint = did_you_mean(column.source, known)
        raise SpecError(f"unknown column {column.source!r}", where=column.rule, hint=hint)
    value = pl.col(column.source)
    return pl.when(value.is_not_null()).then(True) if column.counts else value


def _fits(columns: tuple[_Column, ...], types: pl.Schema) -> list[Fit]:
    """How the values of each column become its type."""
    fits: list[Fit] = []
    problems: list[SpecError] = []
    for index, column in enumerate(columns):
        source = types[_source(index)]
        fitted = fit(pl.col(_source(index)), source, column.type)
        if column.type is KeyType.STRING and isinstance(source, pl.Datetime):
            hint = "A timestamp can be written in many ways: declare the column as string in the pipeline"
            problems.append(
                SpecError("a timestamp cannot be a string key", where=column.rule, got=str(source), hint=hint)
            )
            continue
        if fitted is not None:
            fits.append(fitted)
            continue
        hint = "Derive a column of that type in the pipeline, or declare another type"
        if column.type is ColumnType.TIMESTAMP and source.is_numeric():
            hint = "A number has no unit of time: convert it to a timestamp in the pipeline"
        wanted = column.type.value
        problems.append(
            SpecError("types do not fit", where=column.rule, wanted=wanted, got=str(source), hint=hint)
        )
    _raise_all(problems)
    return fits


def _raise_all(problems: list[SpecError]) -> None:
    """All problems in one error, if there is any."""
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise SpecError(
            "the view does not fit its dataset", got="; ".join(map(str, problems)), problems=problems
        )


def _source(index: int) -> str:
    return f"__source_{index}"


def _value(index: int) -> str:
    return f"__value_{index}"
