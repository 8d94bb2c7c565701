"""Files and rows that broke a rule, as data files of a pipeline's quarantine table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import polars as pl

from featurestore.arrivals.manifest import Manifest
from featurestore.resources.data_pipeline import Otherwise
from featurestore.storage import paths
from featurestore.storage.delta import BATCH, FILE, ROW, DataFile, Table
from featurestore.storage.objects import Storage
from featurestore.views.schema import QUARANTINE
from featurestore_transforms.batch.conform import BatchFile
from featurestore_transforms.batch.group import BatchPlan, WrittenFiles
from featurestore_transforms.sources.reader import UnreadableArrival
from featurestore_transforms.sources.stream import LINE, MALFORMED
from featurestore_transforms.steps.rules import REASON, RULE, RowRules, is_good, user_columns
from featurestore_transforms.tables.data_files import write_data_file
from featurestore_transforms.tables.records import to_json
from featurestore_transforms.tables.row_changes import scan

_SHARE = 16
_ROW_BYTES = 2000
"""Room that a row and its JSON take, more or less."""


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Writes data files of the quarantine table of one batch. ``now_us``: when the rows are put there.

    ``erased``: index of a file to how many of its rows were left out, because ``is_erased`` says so of their records.
    ``blanked``: the reason to show, of file, reason and record.
    """

    storage: Storage
    table: str
    manifest: Manifest
    now_us: int
    is_erased: Callable[[int, str], bool] | None = None
    blanked: Callable[[int, str, str], str] | None = None
    erased: dict[int, int] = field(default_factory=dict)

    def files(self, refused: Iterable[tuple[int, str, str]]) -> DataFile:
        """Whole files as entries: ``(index of the file, rule, reason)``."""
        rows = [(index, None, rule, reason, None) for index, rule, reason in refused]
        return self._write(pl.DataFrame(rows, schema=_ROWS, orient="row"))

    def rows(self, plan: BatchPlan, members: Iterable[BatchFile], done: WrittenFiles) -> Iterator[DataFile]:
        """The broken rows of these files, each with what its source says.

        The files are read again, for the reasons and for the rows as they were: few rows are broken usually.
        """
        rules = done.rules
        codes = [code for code, rule in enumerate(rules) if rule.otherwise is Otherwise.QUARANTINE]
        names = pl.Series([rule.name for rule in rules], dtype=pl.String)
        wanted = done.broken.filter(pl.col(RULE).is_in(codes))
        by_file = wanted.partition_by(FILE, include_key=False, as_dict=True) if wanted.height else {}
        for member in members:
            marked = by_file.get((member.index,))
            if marked is not None:
                for part in _explained(plan, member, marked, done.types):
                    part = self._kept(member.index, part)
                    if not part.height:
                        continue
                    yield self._write(
                        part.select(
                            pl.lit(member.index, pl.Int32).alias(FILE),
                            ROW,
                            names.gather(part[RULE]).alias("rule"),
                            pl.col(REASON).alias("reason"),
                            "record",
                        )
                    )

    def _kept(self, file: int, part: pl.DataFrame) -> pl.DataFrame:
        if self.is_erased is None:
            return part
        gone = pl.Series([self.is_erased(file, text) for text in part["record"]], dtype=pl.Boolean)
        if gone.any():
            self.erased[file] = self.erased.get(file, 0) + int(gone.sum())
        kept = part.filter(~gone)
        if self.blanked is None:
            return kept
        named = zip(kept[REASON], kept["record"], strict=True)
        reasons = [why and self.blanked(file, why, text) for why, text in named]
        return kept.with_columns(pl.Series(REASON, reasons, dtype=pl.String))

    def _write(self, rows: pl.DataFrame) -> DataFile:
        arrivals = [entry.arrival for entry in self.manifest.entries]
        entries = rows.with_columns(
            pl.lit(self.manifest.number, pl.Int64).alias(BATCH),
            pl.Series("uri", [arrivals[index].uri for index in rows[FILE]], dtype=pl.String),
            pl.Series("version", [arrivals[index].version for index in rows[FILE]], dtype=pl.String),
            pl.lit(self.now_us).cast(pl.Datetime("us", "UTC")).alias("quarantined_at"),
        )
        return write_data_file(self.storage, self.table, entries.select(QUARANTINE.names).sort(FILE, ROW))


_ROWS = {FILE: pl.Int32, ROW: pl.Int64, "rule": pl.String, "reason": pl.String, "record": pl.String}


def _explained(
    plan: BatchPlan, member: BatchFile, marked: pl.DataFrame, types: Mapping[str, pl.DataType]
) -> Iterator[pl.DataFrame]:
    """``frame[__row, __rule, __reason, record]`` of the marked rows ``frame[__row, __rule]`` of one file."""
    size = max(1, plan.spec.resources.memory // _SHARE // _ROW_BYTES)
    rules = RowRules(explain=True)
    reasons = plan.explained(member, types, rules).filter(~is_good())
    for part in marked.sort(ROW).iter_slices(size):
        why = reasons.join(part.lazy().select(ROW), on=ROW, how="semi").select(ROW, REASON)
        records = _records(member, part)
        explained = part.lazy().join(why.unique(ROW), on=ROW, how="left").collect(engine="streaming")
        yield explained.join(records, on=ROW, how="left", maintain_order="left")


def _records(member: BatchFile, part: pl.DataFrame) -> pl.DataFrame:
    """``frame[__row, record]``: the source's rows as they are; a malformed one as its line."""
    rows = member.file.scan().join(part.lazy().select(ROW), on=ROW, how="semi").collect(engine="streaming")
    names = list(user_columns(rows.lazy().drop(MALFORMED, LINE, strict=False)))
    # Python's times end at microseconds, and the nanoseconds may be what is wrong.
    exact = [pl.col(name).dt.to_string("iso") for name in names if _is_nano(rows.schema[name])]
    # A file of which no line is an object has no column, and a frame without columns has no rows.
    texts = (
        to_json(rows.select(names).with_columns(exact)) if names else pl.repeat("{}", rows.height, eager=True)
    )
    if LINE in rows.columns:
        lines = to_json(rows.select(pl.col(LINE).alias("line")))
        texts = rows.select(pl.when(pl.col(LINE).is_null()).then(texts).otherwise(lines)).to_series()
    return pl.DataFrame({ROW: rows[ROW], "record": texts}, schema={ROW: pl.Int64, "record": pl.String})


@dataclass(frozen=True, slots=True)
class Earlier:
    """What earlier runs of a batch put into the quarantine: in how many commits, and which files as files.

    What was decided then stays decided, also if a file that was gone is back.
    """

    runs: int = 0
    refused: Mapping[int, UnreadableArrival] = field(default_factory=dict)


def application(uid: str, generation: int) -> str:
    """The application that commits to the quarantine of a pipeline.

    What a run put there that was overtaken by a rebuild says nothing of the same batch after it.
    """
    return f"{uid}/generation-{generation}" if generation else uid


def read_earlier(table: Table | None, manifest: Manifest, generation: int) -> Earlier:
    """What is in the quarantine of this batch already, by runs on this generation of the dataset."""
    app_id = application(manifest.uid, generation)
    if table is None or table.committed(app_id) < manifest.number:
        return Earlier()
    runs = 1 + table.committed(f"{app_id}/{manifest.number}")
    here = _entries(table, manifest.number).filter(pl.col(ROW).is_null())
    refused = here.select(FILE, "rule", "reason").collect(engine="streaming")
    return Earlier(
        runs, {file: UnreadableArrival(rule, reason) for file, rule, reason in refused.iter_rows()}
    )


def rows_before(storage: Storage, pipeline: str, batch: int, file: int) -> pl.Series | None:
    """Numbers of the quarantined rows of a file of an earlier batch; None if it was quarantined as a file.

    None of its rows may be there any more, if it was run again meanwhile.
    """
    table = Table.open(storage, paths.quarantine("pipelines", pipeline))
    if table is None:
        return None
    here = _entries(table, batch).filter(pl.col(FILE) == file).select(ROW)
    rows = here.collect(engine="streaming").to_series()
    return None if rows.null_count() else rows.unique()


def _entries(table: Table, batch: int) -> pl.LazyFrame:
    return scan(table, table.files()).filter(pl.col(BATCH) == batch)


def _is_nano(dtype: pl.DataType) -> bool:
    return isinstance(dtype, pl.Datetime) and dtype.time_unit == "ns"
