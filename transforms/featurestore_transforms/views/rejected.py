"""Rows that break a rule of a view, as data files of the build's quarantine table."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import polars as pl

from featurestore.arrivals.lineage import Lineage
from featurestore.failure import Failure
from featurestore.resources.feature_view import FeatureViewSpec
from featurestore.storage.delta import BATCH, FILE, SYSTEM_COLUMNS, DataFile, Table
from featurestore.timestamps import from_us
from featurestore.views.build_trials import row_refusal
from featurestore.views.schema import QUARANTINE
from featurestore_transforms.tables.data_files import write_data_file
from featurestore_transforms.tables.erased_keys import ErasedKeys
from featurestore_transforms.tables.pieces import pieces
from featurestore_transforms.tables.records import to_json
from featurestore_transforms.tables.row_changes import IDENTITY, Rows
from featurestore_transforms.views.computed_features import REASON, RULE, broken_rows


def rejected_files(
    table: Table,
    rows: Rows,
    spec: FeatureViewSpec,
    lineage: Lineage,
    now_us: int,
    erased: ErasedKeys,
    advanced: Callable[[int], None],
) -> tuple[DataFile, ...]:
    """Those of the inserted rows that break a rule as data files of the quarantine; no reason shows a key of ``erased``."""
    files = []
    for frame in pieces(rows, lambda part: broken_rows(part, spec), spec.resources.memory, advanced):
        entries = _entries(frame.sort(IDENTITY), lineage, now_us)
        if erased:
            named = zip(entries["reason"], entries["record"], entries[BATCH], strict=True)
            reasons = [erased.blanked(*each) for each in named]
            entries = entries.with_columns(pl.Series("reason", reasons, dtype=pl.String))
        files.append(write_data_file(table.storage, table.path, entries))
    return tuple(files)


def killer_files(
    table: Table, crashes: Sequence[tuple[pl.DataFrame, Failure]], lineage: Lineage, now_us: int
) -> tuple[DataFile, ...]:
    """Rows that crash alone as a data file of the quarantine, without their values, which nothing can read.

    ``crashes``: ``frame[__batch, __file, __row]`` of the row, none if it is not of the build, and how it crashed.
    """
    killers = [(row, *row_refusal(crash)) for rows, crash in crashes for row in rows.iter_rows()]
    if not killers:
        return ()
    origins = [lineage.origin(batch, file) for (batch, file, _), _, _ in killers]
    entries = {
        **dict(zip(SYSTEM_COLUMNS, zip(*(row for row, _, _ in killers), strict=True), strict=True)),
        "rule": [rule for _, rule, _ in killers],
        "reason": [reason for _, _, reason in killers],
        "uri": [origin.uri for origin in origins],
        "version": [origin.version for origin in origins],
        "record": [None] * len(killers),
        "quarantined_at": [from_us(now_us)] * len(killers),
    }
    frame = pl.DataFrame(entries, schema=pl.Schema(QUARANTINE))
    return (write_data_file(table.storage, table.path, frame),)


def _entries(rows: pl.DataFrame, lineage: Lineage, now_us: int) -> pl.DataFrame:
    sources = rows.select(BATCH, FILE).unique()
    origins = [lineage.origin(batch, file) for batch, file in sources.iter_rows()]
    sources = sources.with_columns(
        pl.Series("uri", [origin.uri for origin in origins], dtype=pl.String),
        pl.Series("version", [origin.version for origin in origins], dtype=pl.String),
    )
    return (
        rows.select(*SYSTEM_COLUMNS, pl.col(RULE).alias("rule"), pl.col(REASON).alias("reason"))
        .join(sources, on=[BATCH, FILE], how="left", maintain_order="left")
        .with_columns(
            to_json(rows.drop(*SYSTEM_COLUMNS, RULE, REASON)),
            quarantined_at=pl.lit(now_us).cast(pl.Datetime("us", "UTC")),
        )
        .select(QUARANTINE.names)
    )
