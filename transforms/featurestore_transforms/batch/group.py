"""Some files of a batch in one streaming plan: good rows into data files, the others marked and told apart."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from featurestore.resources.data_pipeline import DataPipelineSpec
from featurestore.resources.transform import Deduplicate, Sort
from featurestore.storage.delta import FILE, ROW, DataFile
from featurestore.storage.objects import Storage
from featurestore_transforms.batch.conform import BatchFile, conform, dataset_types, shape
from featurestore_transforms.steps.rules import RULE, RowRule, RowRules, is_good
from featurestore_transforms.steps.transforms import apply_transforms, mark_broken, needs_one_file
from featurestore_transforms.tables.data_files import describe, row_group_rows
from featurestore_transforms.tables.polars_credentials import access

_FILE_BYTES = 512 << 20
"""A data file ends when its rows take about so much memory, or an eighth of what there is."""
_FILES = 64
"""Files in one plan: planning takes longer than reading if they are many and small."""


@dataclass(frozen=True, slots=True)
class WrittenFiles:
    """Data files that no commit names yet, the dataset's column types after them, and the rows that broke a rule.

    ``broken``: ``frame[__file: int32, __row: int64, __rule: int16]``, the last being an index into ``rules``.
    ``erased``: how many rows were left out because their key was erased.
    """

    files: tuple[DataFile, ...]
    types: dict[str, pl.DataType]
    broken: pl.DataFrame
    rules: Sequence[RowRule]
    erased: int = 0


@dataclass(frozen=True)
class BatchPlan:
    """How rows of source files become rows of a dataset. ``lookups``: pipeline to its dataset as it was pinned.

    ``is_erased``: which rows are of keys that were erased; None if none ever was.
    """

    storage: Storage
    table: str
    batch: int
    spec: DataPipelineSpec
    lookups: Mapping[str, pl.LazyFrame]
    is_erased: Callable[[pl.DataFrame], pl.Series] | None = None

    def groups(self, members: Sequence[BatchFile]) -> Iterator[list[BatchFile]]:
        """Files that one plan may read together: neighbors that have the same columns."""
        alone = needs_one_file(self.spec.transforms)
        holding = any(isinstance(t.step, Deduplicate | Sort) for t in self.spec.transforms)
        limit = self.spec.resources.memory // (32 if holding else 4)
        group: list[BatchFile] = []
        size_bytes = 0
        for member in members:
            size_bytes += member.file.arrival.size_bytes
            if group and (
                alone
                or len(group) >= _FILES
                or size_bytes > limit
                or group[-1].met.schema != member.met.schema
            ):
                yield group
                group, size_bytes = [], member.file.arrival.size_bytes
            group.append(member)
        if group:
            yield group

    def rows(self, members: Sequence[BatchFile], rules: RowRules) -> pl.LazyFrame:
        """All rows after the transforms and expectations; good ones have no mark."""
        policy = self.spec.schema_policy
        rows = conform(members, policy, rules)
        rows = apply_transforms(rows, self.spec.transforms, self.lookups, rules, self.spec.resources.memory)
        rows = mark_broken(rows, self.spec.expectations, rules)
        for member in members:
            if member.only is not None:
                rows = rows.filter((pl.col(FILE) != member.index) | pl.col(ROW).is_in(member.only.implode()))
        return rows

    def explained(self, member: BatchFile, types: Mapping[str, pl.DataType], rules: RowRules) -> pl.LazyFrame:
        """One file's rows as :meth:`run` makes them, those that broke a rule still among them."""
        return shape(self.rows([member], rules), self.batch, types, rules)

    def run(self, members: Sequence[BatchFile], types: Mapping[str, pl.DataType]) -> WrittenFiles:
        """The members' good rows as data files below the table. ``types``: of the dataset's columns until now."""
        rules = RowRules()
        rows = self.rows(members, rules)
        after = dataset_types(rows, types)
        shaped = shape(rows, self.batch, after, rules)
        broken, erased = [_NO_MARKS], [0]
        if self.is_erased is not None:
            shaped = shaped.map_batches(_leaving_out(self.is_erased, erased), streamable=True)
        if rules.known:
            # A sink of their own would have Polars read and compute all rows twice.
            shaped = shaped.map_batches(_noting(broken), streamable=True)
        good = shaped.filter(is_good()).drop(RULE)
        paths: list[str] = []
        good.sink_parquet(
            pl.PartitionBy(
                self.storage.uri(self.table),
                file_path_provider=_named(paths),
                approximate_bytes_per_file=min(_FILE_BYTES, self.spec.resources.memory // 8),
            ),
            compression="lz4",
            row_group_size=row_group_rows(good.collect_schema()),
            statistics=True,
            mkdir=self.storage.is_local,
            sync_on_close="all" if self.storage.is_local else None,
            maintain_order=False,
            engine="streaming",
            **access(self.storage.root, self.storage.environ),
        )
        files = [describe(self.storage, self.table, path) for path in paths]
        written = tuple(file for file in files if file.rows)
        return WrittenFiles(written, after, pl.concat(broken), tuple(rules.known), sum(erased))


_NO_MARKS = pl.DataFrame(schema={FILE: pl.Int32, ROW: pl.Int64, RULE: pl.Int16})


def _noting(broken: list[pl.DataFrame]) -> Callable[[pl.DataFrame], pl.DataFrame]:
    """Passes rows on as they are, and notes those that broke a rule."""

    def note(rows: pl.DataFrame) -> pl.DataFrame:
        if rows.get_column(RULE).null_count() < rows.height:
            broken.append(rows.filter(~is_good()).select(_NO_MARKS.columns))
        return rows

    return note


def _leaving_out(
    is_erased: Callable[[pl.DataFrame], pl.Series], counts: list[int]
) -> Callable[[pl.DataFrame], pl.DataFrame]:
    """Leaves out the rows of erased keys, and counts them."""

    def leave_out(rows: pl.DataFrame) -> pl.DataFrame:
        kept = rows.filter(~is_erased(rows))
        if kept.height < rows.height:
            counts.append(rows.height - kept.height)
        return kept

    return leave_out


def _named(paths: list[str]) -> Any:
    def name(_: Any) -> str:
        paths.append(f"{uuid.uuid4().hex}.parquet")
        return paths[-1]

    return name
