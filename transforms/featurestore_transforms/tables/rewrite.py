"""Data files without some of their rows: what Replace and ``deduplicate`` do to a dataset, and its changes to a view."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import polars as pl

from featurestore.resources.data_pipeline import DatasetDeduplicate
from featurestore.storage.delta import BATCH, FILE, DataFile, Table
from featurestore_transforms.steps.deduplicate import LAST, flag_last
from featurestore_transforms.tables.data_files import write_data_file
from featurestore_transforms.tables.row_changes import GROUP, IDENTITY, NO_ROWS, scan

_ROW_BYTES = 256
"""Bytes that the key of a row takes in all while winners are sought."""


@dataclass(frozen=True, slots=True)
class Rewrite:
    """Data files without some of their rows: ``add`` takes the place of ``remove``. No commit names them yet."""

    add: tuple[DataFile, ...] = ()
    remove: tuple[DataFile, ...] = ()

    def after(self, files: Iterable[DataFile]) -> list[DataFile]:
        """What these files are then: those that stay, and the new ones."""
        gone = {file.path for file in self.remove}
        return [*(file for file in files if file.path not in gone), *self.add]


def without(
    table: Table, files: Sequence[DataFile], rows: pl.DataFrame, sources: Iterable[tuple[int, int]] = ()
) -> Rewrite:
    """The files of a table that hold some rows, or any row of some ``(batch, file)``, written again without them.

    ``rows``: ``frame[__batch, __file, __row]``. Those that the files do not have are ignored; the others keep their
    order.
    """
    whole = pl.DataFrame(list(sources), schema={BATCH: pl.Int64, FILE: pl.Int32}, orient="row")
    batches = pl.concat([whole[BATCH], rows[BATCH]])
    near = {
        PurePosixPath(file.path).name: file
        for file in files
        if len(batches) and _may_hold(file, batches.min(), batches.max())
    }
    if not near:
        return Rewrite()
    held = scan(table, tuple(near.values()), "__path")
    of_sources = held.join(whole.lazy(), on=GROUP, how="semi")
    single = held.join(whole.lazy(), on=GROUP, how="anti").join(rows.lazy(), on=IDENTITY, how="semi")
    gone = (
        pl.concat([of_sources.select("__path"), single.select("__path")])
        .group_by("__path")
        .len("rows")
        .sort("__path")
        .collect(engine="streaming")
    )
    add, remove = [], []
    for path, count in gone.iter_rows():
        file = near[PurePosixPath(path).name]
        remove.append(file)
        if count < file.rows:
            rest = (
                scan(table, [file])
                .join(whole.lazy(), on=GROUP, how="anti", maintain_order="left")
                .join(rows.lazy(), on=IDENTITY, how="anti", maintain_order="left")
            )
            add.append(write_data_file(table.storage, table.path, rest))
    return Rewrite(tuple(add), tuple(remove))


def losers(
    table: Table,
    old: Sequence[DataFile],
    new: Sequence[DataFile],
    rule: DatasetDeduplicate,
    memory_bytes: int,
) -> pl.DataFrame:
    """``frame[__batch, __file, __row]``: rows that lose against another row of their key.

    Of a key's rows the last in ``orderBy`` stays, nulls being first; else, and among equals, the last to arrive.
    Rows with a null in their key are all kept. ``old`` has one row per key.
    """
    if not new:
        return NO_ROWS
    keys = list(rule.keys)
    order = [rule.order_by.column] if rule.order_by else []
    columns = [*keys, *(name for name in order if name not in keys), *IDENTITY]
    parts = sum(file.rows for file in new) * _ROW_BYTES // max(1, memory_bytes // 4) + 1
    lost = [NO_ROWS]
    for part in range(parts):
        in_part = pl.struct(keys).hash() % parts == part
        named = [pl.col(key).is_not_null() for key in keys]
        new_rows = scan(table, new).select(columns).filter(*named, in_part)
        new_keys = new_rows.select(keys).unique()
        old_rows = scan(table, old).select(columns).filter(*named, in_part)
        rivals = pl.concat([new_rows, old_rows.join(new_keys, on=keys, how="semi")])
        flagged = flag_last(rivals, keys, rule.order_by, IDENTITY)
        beaten = flagged.filter(~pl.col(LAST)).select(IDENTITY)
        lost.append(beaten.collect(engine="streaming"))
    return pl.concat(lost)


def _may_hold(file: DataFile, low: object, high: object) -> bool:
    """False if the statistics say that no row is of a batch from ``low`` to ``high``."""
    least, greatest = file.stats["minValues"].get(BATCH), file.stats["maxValues"].get(BATCH)
    return least is None or greatest is None or (least <= high and greatest >= low)
