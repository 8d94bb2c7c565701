"""The steps a DataPipeline may take. Each sees the rows of one file at a time.

So what a batch happens to hold never changes a result: not even for ``deduplicate``, ``sort``, ``sql`` or
``python``. To keep one row per key across files, use the pipeline's own ``deduplicate``.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from featurestore.resources.metadata import Name
from featurestore.resources.model import Model
from featurestore.resources.rule import SpecRule, Unique, exactly_one, repeated
from featurestore.resources.value import ColumnName, ColumnType, Expression, SourceName

Scalar = Annotated[str, StringConstraints(max_length=4096)] | bool | int | float
CALLABLE_PATTERN = r"^[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_]*$"

_DISTINCT_NAMES = SpecRule(
    message="two columns would have the same name",
    holds=lambda step: not repeated(step.columns.values()),
    field="columns",
)


class SortOrder(StrEnum):
    ASCENDING = "Ascending"
    DESCENDING = "Descending"


class SortKey(Model):
    column: ColumnName = Field(description="Column to order by.")
    order: SortOrder = Field(SortOrder.ASCENDING, description="Direction.")


class Rename(Model):
    columns: dict[ColumnName, ColumnName] = Field(
        min_length=1, max_length=500, description="Old name to new name."
    )
    rules = (_DISTINCT_NAMES,)


class Select(Model):
    columns: Annotated[tuple[ColumnName, ...], Unique()] = Field(
        min_length=1, max_length=2000, description="Columns to keep, in this order."
    )


class Drop(Model):
    columns: Annotated[tuple[SourceName, ...], Unique()] = Field(
        min_length=1,
        max_length=2000,
        description="Columns to leave out. What no later step could name may stand here, too, as `__deleted`.",
    )


class Cast(Model):
    columns: dict[ColumnName, ColumnType] = Field(
        min_length=1,
        max_length=500,
        description="Column to its new type. A value that does not fit sends its row to quarantine.",
    )


class Derive(Model):
    columns: dict[ColumnName, Expression] = Field(
        min_length=1,
        max_length=500,
        description="New column to its expression. All are computed from the step's input.",
    )


class Filter(Model):
    where: Expression = Field(description="Keep rows for which this is true.")


class FillNull(Model):
    columns: dict[ColumnName, Scalar] = Field(
        min_length=1, max_length=500, description="Column to the value that replaces null."
    )


class Deduplicate(Model):
    keys: Annotated[tuple[ColumnName, ...], Unique()] = Field(
        min_length=1, max_length=32, description="Columns that identify a row within its file."
    )
    order_by: SortKey | None = Field(
        None, description="Which row stays: the last in this order. Default: the last in the file."
    )


class Sort(Model):
    by: Annotated[tuple[SortKey, ...], Unique("column")] = Field(
        min_length=1, max_length=16, description="Columns to order a file's rows by."
    )


class Sql(Model):
    query: Annotated[str, StringConstraints(min_length=1, max_length=16384)] = Field(
        description="One SELECT over the table `self`: the rows of one file."
    )


class Python(Model):
    callable: Annotated[str, StringConstraints(pattern=CALLABLE_PATTERN, max_length=255)] = Field(
        description="`module:function`. Gets and returns a polars.LazyFrame or a pyarrow.Table of one file's rows."
    )


class Lookup(Model):
    pipeline: Name = Field(
        description="DataPipeline whose dataset is joined, as of the commit its run was planned at."
    )
    keys: dict[ColumnName, ColumnName] = Field(
        min_length=1,
        max_length=16,
        description="Column here to column there; rows match where all are equal.",
    )
    columns: dict[ColumnName, ColumnName] = Field(
        min_length=1, max_length=500, description="Column there to its name here."
    )
    rules = (_DISTINCT_NAMES,)


Step = Rename | Select | Drop | Cast | Derive | Filter | FillNull | Deduplicate | Sort | Sql | Python | Lookup


class Transform(Model):
    """One step: exactly one of the fields is set."""

    rename: Rename | None = Field(None, description="Give columns other names.")
    select: Select | None = Field(None, description="Keep these columns.")
    drop: Drop | None = Field(None, description="Leave these columns out.")
    cast: Cast | None = Field(None, description="Change types.")
    derive: Derive | None = Field(None, description="Compute columns.")
    filter: Filter | None = Field(None, description="Keep rows.")
    fill_null: FillNull | None = Field(None, description="Replace nulls.")
    deduplicate: Deduplicate | None = Field(None, description="Keep one row per key within each file.")
    sort: Sort | None = Field(None, description="Order each file's rows.")
    sql: Sql | None = Field(None, description="Run one SELECT over each file's rows.")
    python: Python | None = Field(None, description="Call a Python function on each file's rows.")
    lookup: Lookup | None = Field(None, description="Join columns of another pipeline's dataset.")

    rules = (
        exactly_one(
            *(
                "rename",
                "select",
                "drop",
                "cast",
                "derive",
                "filter",
                "fillNull",
                "deduplicate",
                "sort",
                "sql",
            ),
            *("python", "lookup"),
        ),
    )

    @property
    def step(self) -> Step:
        """The one step that is set."""
        for name in type(self).model_fields:
            step = getattr(self, name)
            if step is not None:
                return step  # type: ignore[no-any-return]
        raise AssertionError("validated on creation")
