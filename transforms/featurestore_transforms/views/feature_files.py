"""Data files of a build: streamed in, sorted by key and time, rewritten when rows go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import polars as pl

from featurestore.arrivals.lineage import Lineage
from featurestore.resources.feature_view import FeatureViewSpec
from featurestore.resources.outputs import CREATED_TIME, EVENT_TIME
from featurestore.storage.delta import BATCH, DataFile, Table
from featurestore_transforms.tables.data_files import write_data_file
from featurestore_transforms.tables.pieces import pieces
from featurestore_transforms.tables.row_changes import IDENTITY, Rows, scan
from featurestore_transforms.views.computed_features import RULE, feature_rows


@dataclass(frozen=True, slots=True)
class Filled:
    """New data files, and how many rows were left out because they broke a rule."""

    files: tuple[DataFile, ...]
    broken: int


@dataclass(frozen=True, slots=True)
class RewrittenFile:
    """Data files without the deleted rows, and those that they take the place of."""

    add: tuple[DataFile, ...] = ()
    remove: tuple[DataFile, ...] = ()


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


def without(table: Table, deleted: pl.DataFrame) -> RewrittenFile:
    """The table's data files that hold deleted rows, written anew without them.

    ``deleted``: ``frame[__batch, __file, __row]``. Rows that the table does not have are ignored.
    """
    if deleted.is_empty():
        return RewrittenFile()
    low, high = deleted[BATCH].min(), deleted[BATCH].max()
    near = {PurePosixPath(file.path).name: file for file in table.files() if _may_hold(file, low, high)}
    held = (
        scan(table, tuple(near.values()), "__path")
        .join(deleted.lazy(), on=IDENTITY, how="semi")
        .group_by("__path")
        .len("rows")
        .sort("__path")
        .collect(engine="streaming")
    )
    add, remove = [], []
    for path, rows in held.iter_rows():
        file = near[PurePosixPath(path).name]
        remove.append(file)
        if rows < file.rows:
            rest = scan(table, [file]).join(deleted.lazy(), on=IDENTITY, how="anti", maintain_order="left")
            add.append(write_data_file(table.storage, table.path, rest))
    return RewrittenFile(tuple(add), tuple(remove))


def _created(rows: pl.DataFrame, lineage: Lineage) -> pl.DataFrame:
    """The rows with the time their batch was planned as the created time."""
    planned = lineage.planned_us(rows[BATCH].unique().to_list())
    known = pl.DataFrame(
        {BATCH: list(planned), "planned": list(planned.values())},
        schema={BATCH: pl.Int64, "planned": pl.Datetime("us", "UTC")},
    )
    created = rows.select(BATCH).join(known, on=BATCH, how="left", maintain_order="left")["planned"]
    return rows.with_columns(created.alias(CREATED_TIME))


def _may_hold(file: DataFile, low: Any, high: Any) -> bool:
    """False if the statistics say that no row is of a batch from ``low`` to ``high``."""
    least, greatest = file.stats["minValues"].get(BATCH), file.stats["maxValues"].get(BATCH)
    return least is None or greatest is None or (least <= high and greatest >= low)
