"""The built-in transforms, as one lazy Polars plan.

Frames carry the user's columns and ``__file: int32, __row: int64, __rule: int16`` (see ``rules.py``). A row that is
marked flows on to the end untouched, where it is told apart. Row-wise steps, ``deduplicate``, ``sort`` and
``lookup`` work on rows of several files at once, with the same result as one by one; ``sql`` and ``python``
get the rows of one file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import polars as pl

from featurestore.errors import SpecError, did_you_mean
from featurestore.expressions.run.cast import UTC, fit, fit_to
from featurestore.expressions.run.program import Program, compile_condition, compile_expression
from featurestore.resources.data_pipeline import Expectation
from featurestore.resources.transform import (
    Cast,
    Deduplicate,
    Derive,
    Drop,
    FillNull,
    Filter,
    Lookup,
    Python,
    Rename,
    Select,
    Sort,
    SortOrder,
    Sql,
    Transform,
)
from featurestore.storage.delta import FILE
from featurestore_transforms.steps.column_names import ColumnNames
from featurestore_transforms.steps.deduplicate import deduplicate
from featurestore_transforms.steps.lookup import look_up
from featurestore_transforms.steps.python import call
from featurestore_transforms.steps.rules import MARKS, RowRule, RowRules, is_good, user_columns
from featurestore_transforms.steps.shown import shown
from featurestore_transforms.steps.sql import check_names, run_query, traced, user_rows

_SHOWN = 300
"""Characters of an expectation that a reason shows."""
_INTEGER_BITS = 64


def needs_one_file(transforms: Iterable[Transform]) -> bool:
    """Whether a step must get the rows of one file at a time."""
    return any(isinstance(transform.step, Sql | Python) for transform in transforms)


def apply_transforms(
    frame: pl.LazyFrame,
    transforms: Sequence[Transform],
    lookups: Mapping[str, pl.LazyFrame],
    rules: RowRules,
    memory_bytes: int,
) -> pl.LazyFrame:
    """The rows after all steps; ``rules`` collects what they may break. ``memory_bytes``: what the run may take.

    Raises:
        SpecError: a step does not fit the columns that it gets.
        CodeError: a callable cannot be imported, or raised.
    """
    for index, transform in enumerate(transforms):
        step, where = transform.step, f"transforms[{index}]"
        match step:
            case Rename():
                frame = _rename(frame, step, where)
            case Select():
                _require(frame, step.columns, where)
                frame = frame.select(*step.columns, *_marks(frame))
            case Drop():
                # Columns with unusable names are left out where files are read.
                plain = [name for name in step.columns if name not in ColumnNames.of([name]).unusable]
                _require(frame, plain, where)
                frame = frame.drop(plain)
            case Cast():
                frame = _cast(frame, step, where, rules)
            case Derive():
                frame = _derive(frame, step, where, rules)
            case Filter():
                keep = compile_condition(step.where, user_columns(frame), where)
                frame = _computed(frame, {"filter": keep}, rules)
                # Where no row can be marked, Polars may filter while it reads.
                frame = frame.filter(keep.value | ~is_good() if rules.known else keep.value)
                frame = frame.drop(keep.extra)
            case FillNull():
                frame = _fill_null(frame, step, where)
            case Deduplicate():
                _require(frame, [*step.keys, *([step.order_by.column] if step.order_by else [])], where)
                frame = deduplicate(frame, step)
            case Sort():
                frame = _sort(frame, step, where)
            case Lookup():
                _require(frame, step.keys, where)
                frame = look_up(frame, step, lookups[step.pipeline], where)
            case Sql():
                frame = run_query(frame, step.query, where, memory_bytes)
            case Python():
                frame = traced(frame, call(step.callable, user_rows(frame)).lazy(), where)
        check_names(frame, where)
    return frame


def mark_broken(frame: pl.LazyFrame, expectations: Sequence[Expectation], rules: RowRules) -> pl.LazyFrame:
    """The rows, those marked that do not meet an expectation: the first one in declared order. Null is not met.

    Raises:
        SpecError: an expectation does not fit the columns that it gets.
    """
    types = user_columns(frame)
    broken: list[tuple[RowRule, pl.Expr, pl.Expr]] = []
    extra: list[str] = []
    for index, expectation in enumerate(expectations):
        met = compile_condition(
            expectation.that, types, f"expectation {expectation.name!r}", prefix=f"__e{index}_"
        )
        frame = met.prepare(frame)
        extra += met.extra
        values = _values(met, types)
        if met.fault is not None:
            broken.append((RowRule(expectation.name), met.fault, _because(met, types)))
        why = pl.lit(f"{expectation.that[:_SHOWN]} is not true")
        if values is not None:
            why = pl.concat_str(pl.lit(f"{expectation.that[:_SHOWN]}, but "), values)
        broken.append((RowRule(expectation.name, expectation.otherwise), ~met.value, why))
    return rules.mark(frame, broken).drop(extra)


def _derive(frame: pl.LazyFrame, step: Derive, where: str, rules: RowRules) -> pl.LazyFrame:
    types = user_columns(frame)
    programs = {
        name: compile_expression(text, types, where, prefix=f"__e{index}_")
        for index, (name, text) in enumerate(step.columns.items())
    }
    frame = _computed(frame, {f"derive:{name}": program for name, program in programs.items()}, rules)
    frame = frame.with_columns(program.value.alias(name) for name, program in programs.items())
    return frame.drop(name for program in programs.values() for name in program.extra)


def _computed(frame: pl.LazyFrame, programs: Mapping[str, Program], rules: RowRules) -> pl.LazyFrame:
    """The frame prepared for the programs, with the rows marked whose values cannot be computed."""
    types = user_columns(frame)
    broken = []
    for rule, program in programs.items():
        frame = program.prepare(frame)
        if program.fault is not None:
            broken.append((RowRule(rule), program.fault, _because(program, types)))
    return rules.mark(frame, broken)


def _because(program: Program, types: Mapping[str, pl.DataType]) -> pl.Expr:
    """Why a row's value cannot be computed, with its inputs."""
    values = _values(program, types)
    return program.reason if values is None else pl.concat_str(program.reason, pl.lit(", with "), values)


def _values(program: Program, types: Mapping[str, pl.DataType]) -> pl.Expr | None:
    """The columns that a program reads, as ``a = 1, b = 2``; None if it reads none."""
    parts = [
        pl.concat_str(pl.lit(f"{name} = "), shown(pl.col(name), types[name])) for name in program.columns
    ]
    return pl.concat_str(parts, separator=", ") if parts else None


def _marks(frame: pl.LazyFrame) -> list[str]:
    return [name for name in MARKS if name in frame.collect_schema()]


def _require(frame: pl.LazyFrame, names: Iterable[str], where: str) -> None:
    known = user_columns(frame)
    for name in names:
        if name not in known:
            raise SpecError(f"no column {name!r}", where=where, hint=did_you_mean(name, known))


def _rename(frame: pl.LazyFrame, step: Rename, where: str) -> pl.LazyFrame:
    _require(frame, step.columns, where)
    names = [step.columns.get(name, name) for name in user_columns(frame)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SpecError("two columns would have the same name", where=where, got=", ".join(twice))
    return frame.rename(dict(step.columns))


def _cast(frame: pl.LazyFrame, step: Cast, where: str, rules: RowRules) -> pl.LazyFrame:
    _require(frame, step.columns, where)
    types = user_columns(frame)
    values, broken = [], []
    for name, wanted in step.columns.items():
        fitted = fit(pl.col(name), types[name], wanted)
        if fitted is None:
            raise SpecError(
                f"column {name!r} cannot be cast", where=where, wanted=wanted.value, got=str(types[name])
            )
        values.append(fitted.value.alias(name))
        if fitted.fits is not None:
            article = "an" if wanted.value.startswith("int") else "a"
            why = pl.concat_str(shown(pl.col(name), types[name]), pl.lit(f" is not {article} {wanted.value}"))
            broken.append((RowRule(f"cast:{name}"), ~fitted.fits, why))
    return rules.mark(frame, broken).with_columns(values)


def _fill_null(frame: pl.LazyFrame, step: FillNull, where: str) -> pl.LazyFrame:
    _require(frame, step.columns, where)
    types = user_columns(frame)
    filled = []
    for name, value in step.columns.items():
        one = _fitted(value, types[name])
        if one is None:
            raise SpecError(
                f"the value does not fit column {name!r}",
                where=where,
                wanted=f"a value of type {types[name]}",
                got=repr(value),
            )
        filled.append(pl.col(name).fill_null(pl.lit(one).first()))
    return frame.with_columns(filled)


def _fitted(value: str | bool | int | float, dtype: pl.DataType) -> pl.Series | None:
    """The value in a column's type; None if it does not fit."""
    if isinstance(value, int) and value.bit_length() > _INTEGER_BITS:
        return None
    literal = pl.Series([value])
    if isinstance(dtype, pl.Datetime) and dtype != UTC:
        # A text without an offset means UTC here too, whatever zone the column shows.
        moment = _fitted(value, UTC)
        zone = dtype.time_zone
        if moment is None:
            return None
        local = moment.dt.convert_time_zone(zone) if zone else moment.dt.replace_time_zone(None)
        return local.cast(dtype)
    fitted = fit_to(pl.lit(literal).first(), literal.dtype, dtype)
    if fitted is None or (fitted.fits is not None and not pl.select(fitted.fits).item()):
        return None
    return pl.select(fitted.value).to_series()


def _sort(frame: pl.LazyFrame, step: Sort, where: str) -> pl.LazyFrame:
    _require(frame, [key.column for key in step.by], where)
    by = [FILE, *(key.column for key in step.by)]
    descending = [False, *(key.order is SortOrder.DESCENDING for key in step.by)]
    return frame.sort(by, descending=descending, maintain_order=True)
