"""What a spec would make of one file that is there: as a batch would read it, but nothing is written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb
import polars as pl

from featurestore.arrivals.arrival import Arrival
from featurestore.arrivals.dry_run_result import BrokenRule, TriedFile
from featurestore.errors import FeatureStoreError, SpecError
from featurestore.storage.delta import ROW
from featurestore_transforms.batch.conform import MALFORMED_ROW, BatchFile, dataset_types, shape
from featurestore_transforms.batch.group import BatchPlan
from featurestore_transforms.casting.delta_types import type_name
from featurestore_transforms.sources.column_use import ColumnUse
from featurestore_transforms.sources.reader import DECODING, UnreadableArrival, open_head
from featurestore_transforms.sources.source_schema import (
    FailBatch,
    SourceSchema,
    first_schema,
    match_schema,
)
from featurestore_transforms.steps.python import CallableRaised
from featurestore_transforms.steps.rules import REASON, RULE, RowRules, is_good, user_columns

MOST_RULES = 3
"""That a trial names."""


@dataclass
class FileTrial:
    """One file under a plan. ``held``: the schema of source files until now. ``known``: types of the dataset's columns.

    What it found is there after :meth:`run`. ``source`` and ``dataset``: columns to the names of their types, "" where the
    rows that were read do not say it for certain. ``rows``: the good ones, as the dataset would have them.
    """

    arrival: Arrival
    plan: BatchPlan
    base: str
    held: SourceSchema | None
    known: Mapping[str, pl.DataType]
    scratch: Path
    source: dict[str, str] | None = None
    dataset: dict[str, str] | None = None
    rows: pl.DataFrame | None = None
    whole: bool = True

    def run(self) -> TriedFile:
        """What would become of the file.

        Raises:
            CodeError: a callable cannot be imported.
            StorageError: the source did not answer.
        """
        try:
            return self._read()
        except UnreadableArrival as refusal:
            return self._refused(refusal.rule, refusal.reason)
        except FailBatch as failed:
            return self._refused(f"batch:{failed.rule}", failed.reason)
        except SpecError as problem:
            # Types that were learned of the first rows alone may be others of all of them.
            cause = problem.__cause__
            of_data = isinstance(cause, duckdb.Error) and not isinstance(cause, duckdb.BinderException)
            named = problem.problem.startswith(("no column", "unknown column"))
            certain = (self.whole or self.held is not None or named) and not of_data
            rule = f"spec:{problem.where}" if problem.where else "spec"
            return self._refused(rule, str(problem), of_the_spec=certain)
        except CallableRaised as raised:
            return self._refused(f"python:{raised.problem.partition(' ')[0]}", str(raised))

    def _refused(self, rule: str, reason: str, *, of_the_spec: bool = False) -> TriedFile:
        refused = BrokenRule(rule=rule, reason=reason)
        return TriedFile(uri=self.arrival.uri, whole=self.whole, refused=refused, of_the_spec=of_the_spec)

    def _read(self) -> TriedFile:
        spec = self.plan.spec
        reader, self.whole = open_head(
            self.arrival, spec.source, spec.resources.memory, self.base, self.scratch
        )
        held = first_schema(spec.columns, self.held)
        with reader.explaining():
            met = match_schema(held, reader, spec.schema_policy, ColumnUse.of(spec))
        certain = {name for name, kind in (held.types if held else {}).items() if kind != pl.Null()}
        self.source = {
            **dict.fromkeys(reader.names.unusable, ""),
            **{
                name: type_name(kind) if (self.whole or name in certain) and kind != pl.Null() else ""
                for name, kind in met.schema.types.items()
            },
        }
        member = BatchFile(0, reader, met)
        rules = RowRules(explain=True)
        try:
            rows = self.plan.rows([member], rules)
            types = dataset_types(rows, self.known)
            unknown = {name for name in user_columns(rows) if name not in types}
            frame = shape(rows, self.plan.batch, types, rules).collect(engine="streaming")
        except (FeatureStoreError, MemoryError):
            raise
        except DECODING as error:
            with reader.explaining():
                reader.scan().select(pl.all().count()).collect(engine="streaming")
            reason = (str(error) or type(error).__name__).splitlines()[0]
            return self._refused("spec:transforms", reason)
        self.dataset = {
            **{
                name: type_name(kind) if self.whole or name in self.known else ""
                for name, kind in types.items()
            },
            **dict.fromkeys(unknown, ""),
        }
        read = reader.rows()
        if not self.whole and MALFORMED_ROW in rules.known:
            # Where the file was cut, a value in quotes does not end.
            cut = (pl.col(RULE) == rules.known.index(MALFORMED_ROW)) & (pl.col(ROW) == read - 1)
            kept = frame.filter(~cut.fill_null(False))
            read -= frame.height - kept.height
            frame = kept
        good = frame.filter(is_good())
        self.rows = good.drop(RULE, REASON).with_columns(pl.lit(None).alias(name) for name in unknown)
        broken = tuple(_broken(frame, rules))
        return TriedFile(uri=self.arrival.uri, whole=self.whole, rows=read, taken=good.height, broken=broken)


def _broken(frame: pl.DataFrame, rules: RowRules) -> Iterator[BrokenRule]:
    counts = (
        frame.filter(~is_good())
        .sort(ROW)
        .group_by(RULE)
        .agg(pl.len().alias("rows"), pl.col(REASON).first())
        .sort("rows", RULE, descending=[True, False])
    )
    for code, rows, reason in counts.head(MOST_RULES).iter_rows():
        yield BrokenRule(rule=rules.known[code].name, rows=rows, reason=reason or "")
