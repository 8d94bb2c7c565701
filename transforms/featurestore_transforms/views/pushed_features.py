"""Feature rows of rows that are pushed, before any batch: by the steps and rules of the batch that will take them.

Only of pipelines whose steps look at one row alone (:mod:`featurestore.resources.immediate_check`). What a batch judges by
more than the row, such as the types that the dataset has, is judged when it comes.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from featurestore.resources.data_pipeline import DataPipelineSpec
from featurestore.resources.feature_view import FeatureViewSpec
from featurestore.resources.outputs import CREATED_TIME
from featurestore.storage.delta import BATCH, FILE, ROW
from featurestore.storage.objects import Storage
from featurestore.views.schema import TIMESTAMP, view_schema
from featurestore_transforms.steps.rules import RULE, RowRules, is_good
from featurestore_transforms.steps.transforms import apply_transforms, mark_broken
from featurestore_transforms.tables.erased_keys import ErasedKeys
from featurestore_transforms.views.computed_features import feature_rows

_TO_COME = 2**62 - 1
"""A batch after all there are: keys that were erased up to one may come back with it."""


class PushedFeatures:
    """Rows that are pushed to a pipeline, and what they are in its views.

    ``tables``: of each view the rows that it has of them; those that break a rule, or that a filter leaves out, are not
    there. Columns are those of the view's table; the created time is ``now_us`` if the rows do not bring one.

    Raises:
        SpecError: a step or a view does not fit the columns.
    """

    def __init__(
        self, pipeline: DataPipelineSpec, views: Sequence[FeatureViewSpec], rows: pa.Table, now_us: int
    ) -> None:
        self._dataset = _dataset_rows(pipeline, rows)
        self.tables = [_feature_table(self._dataset, view, now_us) for view in views]

    def not_erased(self, storage: Storage, pipeline: str) -> list[pa.Table]:
        """The tables without rows of keys that were erased for ever.

        Raises:
            StorageError: storage did not answer.
        """
        erased = ErasedKeys.read(storage, pipeline)
        if not erased:
            return self.tables
        rows = self._dataset.filter(erased.flags(self._dataset)).get_column(ROW).to_arrow()
        return [table.filter(pc.invert(pc.is_in(table[ROW], value_set=rows))) for table in self.tables]


def _dataset_rows(pipeline: DataPipelineSpec, rows: pa.Table) -> pl.DataFrame:
    rules = RowRules()
    frame = pl.DataFrame(rows).lazy()
    numbers = pl.int_range(pl.len(), dtype=pl.Int64)
    frame = rules.begin(frame.with_columns(pl.lit(0, pl.Int32).alias(FILE), numbers.alias(ROW)))
    frame = apply_transforms(frame, pipeline.transforms, {}, rules, pipeline.resources.memory)
    frame = mark_broken(frame, pipeline.expectations, rules).filter(is_good()).drop(RULE)
    return frame.with_columns(pl.lit(_TO_COME, pl.Int64).alias(BATCH)).collect()


def _feature_table(dataset: pl.DataFrame, view: FeatureViewSpec, now_us: int) -> pa.Table:
    frame = feature_rows(dataset.lazy(), view).filter(pl.col(RULE).is_null()).drop(RULE).collect()
    table = frame.to_arrow()
    if view.created_timestamp_field is None:
        created = pa.array([now_us] * table.num_rows, pa.int64()).cast(TIMESTAMP)
        table = table.set_column(table.column_names.index(CREATED_TIME), CREATED_TIME, created)
    schema = view_schema(view)
    return table.select(schema.names).cast(schema)
