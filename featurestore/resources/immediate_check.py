"""Whether rows that are pushed can be read online before their batch: whatever judges them looks at one row alone."""

from __future__ import annotations

from collections.abc import Iterator

from featurestore.resources.data_pipeline import DataPipelineSpec
from featurestore.resources.feature_store import FeatureStoreSpec
from featurestore.resources.feature_view import FeatureViewSpec, OnlineWrite
from featurestore.resources.transform import (
    Cast,
    Deduplicate,
    Derive,
    Drop,
    FillNull,
    Filter,
    Lookup,
    Python,
    Rename,
    Select,
    Sort,
    Sql,
    Transform,
)

_OF_ONE_ROW = (Rename, Select, Drop, Cast, Derive, Filter, FillNull)
_NEEDS = {
    Deduplicate: "deduplicate compares rows",
    Sort: "sort orders rows, which later steps may go by",
    Sql: "sql runs an engine over all rows of a file",
    Python: "python runs code that servers do not have",
    Lookup: "lookup joins a dataset as of the time that a batch is planned",
}
NEEDS_REDIS = "Immediate needs Redis: a generation of DuckDB is written as a whole"


def is_immediate(view: FeatureViewSpec) -> bool:
    """Whether rows are read from the moment that they are pushed."""
    return view.online.write is OnlineWrite.IMMEDIATE


def lacks_of_pipeline(pipeline: DataPipelineSpec) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """What keeps its rows from being read before their batch: where that stands below ``spec``, and why."""
    if pipeline.source.push is None:
        yield (
            ("source",),
            "rows come with files or messages, which are read with their batch: it takes source.push",
        )
    if pipeline.columns is not None:
        yield ("columns",), "types are declared beside those of source.push.schema"
    for n, transform in enumerate(pipeline.transforms):
        if not isinstance(transform.step, _OF_ONE_ROW):
            yield ("transforms", n, _field(transform)), _NEEDS[type(transform.step)]
    if pipeline.deduplicate is not None:
        yield ("deduplicate",), "which row of a key stays is judged by the whole dataset"


def lack_of_store(store: FeatureStoreSpec) -> str | None:
    """Why a store cannot have values before their batch; None if it can."""
    return None if store.online.redis is not None else NEEDS_REDIS


def _field(transform: Transform) -> str:
    return next(iter(transform.model_dump(by_alias=True, exclude_none=True)))
