"""Features that are computed when they are asked for: from features that were read, and from values of the request.

The same function for the join and online: it gets columns of values, and does not know where they come from.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa

from featurestore.client.resolution import ComputedView, Resolution
from featurestore.errors import CodeError, RequestError, did_you_mean
from featurestore.resources.feature_view import Feature
from featurestore.resources.value import ColumnType
from featurestore.views.schema import arrow_type
from featurestore.views.value_column import ArrowColumn, ValueColumn
from featurestore.views.value_status import Status

if TYPE_CHECKING:
    import polars as pl

    from featurestore.arrays import Statuses

_VALUE, _FAULT, _FITS = "__value", "__fault", "__fits"


class Values(Protocol):
    """What a view answers: outputs by name, and event times, one per entity."""

    @property
    def columns(self) -> Mapping[str, ValueColumn]: ...
    @property
    def event_times(self) -> ValueColumn: ...


@dataclass(frozen=True, slots=True)
class ViewValues:
    """What a view answers. ``event_times`` of one on demand: of the oldest of its inputs, null where one has none."""

    columns: Mapping[str, ValueColumn]
    event_times: ValueColumn


def with_computed(
    resolution: Resolution, read: Sequence[Values], entities: Callable[[], pa.Table], rows: int
) -> list[Values]:
    """What was read, and then what is computed of it. ``entities``: the request's table. ``rows``: how many there are.

    Raises:
        RequestError: a request field is missing or of another type.
        CodeError: a user's function raised, or returned something else than a column.
    """
    values = list(read)
    if not resolution.computed:
        return values
    if find_spec("polars") is None:
        raise RequestError(
            "views on demand need polars to be computed",
            where="features",
            hint="`pip install 'featurestore[transforms]'`, or ask for features of other views",
        )
    table = (
        entities() if any(view.view.spec.on_demand.request for view in resolution.computed) else pa.table({})
    )
    for view in resolution.computed:
        values.append(_Computation(view, values, table, rows).values())
    return values


class _Computation:
    """One view over its inputs."""

    def __init__(self, view: ComputedView, values: Sequence[Values], table: pa.Table, rows: int) -> None:
        import polars as pl

        self._view, self._rows = view, rows
        self._inputs = {
            view_input.name: values[view_input.place].columns[view_input.output.name]
            for view_input in view.inputs
        }
        self._times = [
            values[place].event_times
            for place in dict.fromkeys(view_input.place for view_input in view.inputs)
        ]
        columns = {
            name: pl.Series(name, column.to_arrow(), dtype=_polars(arrow_type(kind.output.type)))
            for (name, column), kind in zip(self._inputs.items(), view.inputs, strict=True)
        }
        columns |= _request(view, table)
        # A column of its own, since a frame without columns has no rows.
        self._frame = pl.DataFrame({"": pl.repeat(None, rows, eager=True), **columns})

    def values(self) -> ViewValues:
        columns = {output.name: self._column(output.feature) for output in self._view.outputs}
        return ViewValues(columns, self._event_times())

    def _column(self, feature: Feature) -> ValueColumn:
        import polars as pl

        from featurestore.expressions.run.cast import fit
        from featurestore.expressions.run.program import compile_expression

        where = f"{self._view.view.name}:{feature.name}"
        known = {name: dtype for name, dtype in self._frame.schema.items() if name}
        if feature.expression is not None:
            program = compile_expression(feature.expression, known, where)
            fault = pl.lit(False) if program.fault is None else program.fault
            rows = program.prepare(self._frame.lazy()).with_columns(
                program.value.alias(_VALUE), fault.alias(_FAULT)
            )
            kind, used = program.type, [name for name in program.columns if name in self._inputs]
        else:
            assert feature.python is not None
            made = _called(feature.python.callable, self._frame.select(list(known)), where)
            rows = self._frame.lazy().with_columns(made.alias(_VALUE), pl.lit(False).alias(_FAULT))
            kind, used = made.dtype, list(self._inputs)
        fitted = fit(pl.col(_VALUE), kind, feature.type.value)
        if fitted is None:
            raise RequestError("types do not fit", where=where, wanted=feature.type.value, got=str(kind))
        fits = pl.lit(True) if fitted.fits is None else fitted.fits
        result = rows.with_columns(
            fitted.value.alias(_VALUE), (fits & ~pl.col(_FAULT)).alias(_FITS)
        ).collect()
        values = pl.select(pl.when(result[_FITS]).then(result[_VALUE])).to_series()
        array = values.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(arrow_type(feature.type))
        return ArrowColumn(feature.type, array, self._statuses(array, result[_FITS].to_numpy(), used))

    def _statuses(self, values: pa.Array, fits: Any, used: Sequence[str]) -> Statuses:
        """Of a value that is null: why an input is, or that it is null."""
        statuses = np.full(self._rows, Status.NULL_VALUE, np.uint8)
        for status in (Status.OUTSIDE_MAX_AGE, Status.NOT_FOUND, Status.INVALID):
            for name in used:
                statuses[self._inputs[name].statuses == status] = status
        statuses[~fits] = Status.INVALID
        statuses[values.is_valid().to_numpy(zero_copy_only=False)] = Status.PRESENT
        return statuses

    def _event_times(self) -> ValueColumn:
        import polars as pl

        kind = arrow_type(ColumnType.TIMESTAMP)
        if not self._times:
            nothing = np.full(self._rows, Status.NOT_FOUND, np.uint8)
            return ArrowColumn(ColumnType.TIMESTAMP, pa.nulls(self._rows, kind), nothing)
        times = [
            pl.Series(str(n), time.to_arrow(), dtype=_polars(kind)) for n, time in enumerate(self._times)
        ]
        known = pl.all_horizontal(pl.all().is_not_null())
        oldest = pl.DataFrame(times).select(pl.when(known).then(pl.min_horizontal(pl.all()))).to_series()
        statuses = np.where(
            oldest.is_not_null().to_numpy(), np.uint8(Status.PRESENT), np.uint8(Status.NOT_FOUND)
        )
        return ArrowColumn(ColumnType.TIMESTAMP, oldest.to_arrow().cast(kind), statuses)


def _polars(kind: pa.DataType) -> pl.DataType:
    import polars as pl

    dtype: pl.DataType = pl.Series(pa.nulls(0, kind)).dtype
    return dtype


def _request(view: ComputedView, table: pa.Table) -> dict[str, pl.Series]:
    """The request's fields in their declared types."""
    import polars as pl

    from featurestore.expressions.run.cast import fit

    wanted = view.view.spec.on_demand.request
    empty = not table.num_rows and not table.column_names
    missing = [field for field in wanted if field.name not in table.column_names]
    if missing and not empty:
        raise RequestError(
            f"the view {view.view.name!r} needs values of the request that are missing",
            where="entities",
            wanted=", ".join(f"a column {field.name!r} of type {field.type.value}" for field in missing),
            got=f"columns {table.column_names}",
            hint=did_you_mean(missing[0].name, table.column_names),
        )
    columns = {}
    for field in wanted:
        given = (
            pl.Series(field.name, [], dtype=_polars(arrow_type(field.type)))
            if empty
            else pl.Series(field.name, table.column(field.name))
        )
        where = f"entities, column {field.name!r}"
        fitted = fit(pl.col(field.name), given.dtype, field.type.value)
        if fitted is None:
            raise RequestError(
                "a value of the request has another type",
                where=where,
                wanted=field.type.value,
                got=str(given.dtype),
            )
        fits = pl.lit(True) if fitted.fits is None else fitted.fits
        made = given.to_frame().select(
            fitted.value.alias(_VALUE), fits.alias(_FITS), pl.col(field.name).alias("")
        )
        if not made[_FITS].all():
            odd = made.filter(~pl.col(_FITS))[""][0]
            raise RequestError(
                "a value of the request does not fit", where=where, wanted=field.type.value, got=repr(odd)
            )
        columns[field.name] = made[_VALUE].alias(field.name)
    return columns


def _called(reference: str, frame: pl.DataFrame, where: str) -> pl.Series:
    """What the user's function makes of the columns."""
    import polars as pl

    from featurestore.expressions.run.user_function import wants_arrow

    function = _function(reference, where)
    try:
        made = function(_arrow(frame) if wants_arrow(function) else frame)
        values = made if isinstance(made, pl.Series) else pl.Series(made)
    except Exception as error:
        raise CodeError(f"{reference} raised", where=where, got=f"{type(error).__name__}: {error}") from error
    if len(values) != len(frame):
        raise CodeError(
            f"{reference} did not return a value for each row",
            where=where,
            wanted=f"a column of {len(frame)} values",
            got=f"{len(values)} values",
        )
    return values


def _function(reference: str, where: str) -> Callable[[Any], Any]:
    module, _, name = reference.partition(":")
    try:
        function: Callable[[Any], Any] = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise CodeError(
            "the function of a feature on demand cannot be imported",
            where=where,
            wanted=reference,
            got=f"{type(error).__name__}: {error}",
            hint="It runs in the process that reads: its module must be installed there, or be on PYTHONPATH",
        ) from error
    return function


def _arrow(frame: pl.DataFrame) -> pa.Table:
    import polars as pl

    # Most of Arrow's functions do not know the newer layout of texts.
    return frame.to_arrow(compat_level=pl.CompatLevel.oldest())
