"""The pointer to the build that serves."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from featurestore.errors import NotFound, StorageError
from featurestore.registry.registry import Registry
from featurestore.resources import FeatureView
from featurestore.storage import paths
from featurestore.storage.objects import Storage
from featurestore.views.builds import (
    ActiveBuild,
    BuildResult,
    definition,
    promote,
    read_active_build,
    read_build,
    record_build,
)


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(str(tmp_path))


def result(source_version: int) -> BuildResult:
    return BuildResult(
        view="delays",
        digest="d1",
        source_version=source_version,
        version=source_version,
        rows=10,
        rows_quarantined=1,
        watermark_us=None,
        finished_us=7,
    )


def test_nothing_serves_before_the_first_swap(storage: Storage) -> None:
    assert read_active_build(storage, "delays") is None


def test_readers_see_the_build_that_was_swapped_in_last(storage: Storage) -> None:
    promote(storage, "delays", ActiveBuild("build1", "spec1"))
    promote(storage, "delays", ActiveBuild("build2", "spec2"))
    assert read_active_build(storage, "delays") == ActiveBuild("build2", "spec2")


def test_a_swap_can_be_repeated(storage: Storage) -> None:
    for _ in range(2):
        promote(storage, "delays", ActiveBuild("build1", "spec1"))
    assert read_active_build(storage, "delays") == ActiveBuild("build1", "spec1")


def test_views_serve_on_their_own(storage: Storage) -> None:
    promote(storage, "delays", ActiveBuild("build1", "spec1"))
    assert read_active_build(storage, "weather") is None


def test_the_pointer_is_one_small_readable_object(storage: Storage) -> None:
    promote(storage, "delays", ActiveBuild("build1", "spec1"))
    assert storage.read(paths.serving("delays")) == b'{"digest":"build1","spec":"spec1"}'


def test_a_build_is_unknown_before_its_first_commit(storage: Storage) -> None:
    assert read_build(storage, "delays", "d1") is None


def test_a_build_says_how_far_it_has_come(storage: Storage) -> None:
    record_build(storage, result(3))
    record_build(storage, result(4))
    assert read_build(storage, "delays", "d1") == result(4)


def test_a_failed_look_is_not_read_as_nothing_serves(tmp_path: Path) -> None:
    (tmp_path / paths.serving("delays")).mkdir(parents=True)
    with pytest.raises(StorageError):
        read_active_build(Storage(str(tmp_path)), "delays")


def test_a_build_is_of_the_accepted_definition_or_of_the_one_that_serves(
    lake: Any, view: Callable[..., FeatureView]
) -> None:
    first, second, third = (view(filter=f"delay > {n}") for n in range(3))
    lake.accept(first)
    serving = Registry(lake.storage).current(FeatureView, "delays")
    assert serving is not None
    assert definition(lake.storage, "delays", lake.digest(first)) == serving
    promote(lake.storage, "delays", ActiveBuild(lake.digest(first), serving.digest))
    lake.accept(second)
    lake.accept(third)
    assert definition(lake.storage, "delays", lake.digest(first)) == serving
    assert definition(lake.storage, "delays", lake.digest(third)).resource == third
    with pytest.raises(NotFound, match="changed or deleted"):
        definition(lake.storage, "delays", lake.digest(second))


def test_a_build_over_a_dataset_that_was_made_anew_has_no_definition(
    lake: Any, view: Callable[..., FeatureView]
) -> None:
    typed = view()
    digest = lake.accept(typed)
    promote(
        lake.storage,
        "delays",
        ActiveBuild(digest, Registry(lake.storage).current(FeatureView, "delays").digest),
    )
    lake.storage.delete(paths.ledger("flights"))
    with pytest.raises(NotFound):
        definition(lake.storage, "delays", digest)


def test_a_view_that_was_never_applied_has_no_definition(storage: Storage) -> None:
    with pytest.raises(NotFound, match="a view that was applied"):
        definition(storage, "delays", "d1")


@pytest.mark.new_process
def test_the_pointer_is_read_without_a_data_engine() -> None:
    code = (
        "import sys, featurestore.views.builds as _;"
        "sys.exit(bool({'polars','pyarrow','duckdb','deltalake','numpy','pandas'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
