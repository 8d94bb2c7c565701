"""Data files of a build: streamed in, and sorted by key and time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from featurestore.arrivals.lineage import Lineage
from featurestore.resources.feature_view import FeatureViewSpec
from featurestore.resources.outputs import CREATED_TIME, EVENT_TIME
from featurestore.storage.delta import BATCH, DataFile, Table
from featurestore_transforms.tables.data_files import write_data_file
from featurestore_transforms.tables.pieces import pieces
from featurestore_transforms.tables.row_changes import IDENTITY, Rows
from featurestore_transforms.views.computed_features import RULE, feature_rows


@dataclass(frozen=True, slots=True)
class Filled:
    """New data files, and how many rows were left out because they broke a rule."""

    files: tuple[DataFile, ...]
    broken: int


def fill(
    table: Table,
    rows: Rows,
    spec: FeatureViewSpec,
    lineage: Lineage,
    advanced: Callable[[int], None],
) -> Filled:
    """The feature rows of inserted rows as data files below the table; no commit names them yet.

    ``advanced`` hears of every so many rows of the dataset's files that were looked at.

    Raises:
        SpecError: the definition does not fit the dataset.
    """
    order = [*(key.name for key in spec.entity.join_keys), EVENT_TIME, CREATED_TIME, *IDENTITY]
    files: list[DataFile] = []
    broken = 0
    for frame in pieces(rows, lambda part: feature_rows(part, spec), spec.resources.memory, advanced):
        bad = frame.height - frame[RULE].null_count()
        good = (frame.filter(pl.col(RULE).is_null()) if bad else frame).drop(RULE)
        del frame  # sorting makes another copy
        broken += bad
        if good.is_empty():
            continue
        if spec.created_timestamp_field is None:
            good = _created(good, lineage)
        files.append(write_data_file(table.storage, table.path, good.sort(order)))
    return Filled(tuple(files), broken)


def _created(rows: pl.DataFrame, lineage: Lineage) -> pl.DataFrame:
    """The rows with the time their batch was planned as the created time."""
    planned = lineage.planned_us(rows[BATCH].unique().to_list())
    known = pl.DataFrame(
        {BATCH: list(planned), "planned": list(planned.values())},
        schema={BATCH: pl.Int64, "planned": pl.Datetime("us", "UTC")},
    )
    created = rows.select(BATCH).join(known, on=BATCH, how="left", maintain_order="left")["planned"]
    return rows.with_columns(created.alias(CREATED_TIME))
