"""Every row leads back to the file it came from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from featurestore.arrivals.lineage import Lineage, Origin
from featurestore.errors import NotFound, StorageError
from featurestore.resources import FeatureView


def test_a_feature_row_leads_back_to_the_version_of_its_file(
    lake: Any, view: Callable[..., FeatureView]
) -> None:
    typed = view()
    lake.accept(typed)
    for delay in (1, 2):
        row = pl.DataFrame({"tailnum": ["N1"], "at": ["2013-01-01"], "delay": [delay]})
        lake.append(row, row)
    lake.build(typed)
    last = lake.features(typed).row(-1, named=True)
    assert Lineage(lake.storage, "flights").origin(last["__batch"], last["__file"]) == Origin(
        pipeline="flights",
        batch=2,
        uri="file:///raw/2-1.parquet",
        version="v1",
        spec_digest="s1",
        planned_us=1_600_000_002_000_000,
    )


def test_the_times_of_many_batches_are_read_once(lake: Any) -> None:
    for _ in range(3):
        lake.append(pl.DataFrame({"n": [1]}))
    lineage = Lineage(lake.storage, "flights")
    assert lineage.planned_us([1, 3, 1]) == {1: 1_600_000_001_000_000, 3: 1_600_000_003_000_000}
    lake.storage.delete("ledger")
    assert lineage.planned_us([3]) == {3: 1_600_000_003_000_000}


def test_a_batch_that_never_was_is_not_found(lake: Any) -> None:
    with pytest.raises(NotFound):
        Lineage(lake.storage, "flights").origin(7, 0)
    with pytest.raises(NotFound):
        Lineage(lake.storage, "flights").planned_us([7])


def test_a_file_that_its_manifest_does_not_have_is_said_so(lake: Any) -> None:
    lake.append(pl.DataFrame({"n": [1]}))
    with pytest.raises(StorageError, match="wanted a file below 1, got 5"):
        Lineage(lake.storage, "flights").origin(1, 5)
