"""Data files and the statistics that readers prune by."""

from __future__ import annotations

import math
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

from featurestore.errors import StorageError
from featurestore.storage.delta import DataFile, Table
from featurestore.storage.objects import Storage
from featurestore_transforms.tables.data_files import ROW_GROUP_ROWS, describe, write_data_file


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(str(tmp_path))


def write(storage: Storage, **columns: pl.Series) -> DataFile:
    return write_data_file(storage, "t", pl.DataFrame(columns))


def test_a_data_file_holds_the_rows_in_their_order(storage: Storage) -> None:
    file = write(storage, n=pl.Series([3, 1, 2]))
    assert pl.read_parquet(storage.uri(f"t/{file.path}"))["n"].to_list() == [3, 1, 2]
    assert file.rows == 3
    assert file.size_bytes == Path(storage.uri(f"t/{file.path}")).stat().st_size


def test_a_lazy_frame_becomes_the_same_file(storage: Storage) -> None:
    frame = pl.DataFrame({"n": [3, 1, 2], "s": ["a", None, "b"]})
    eager, lazy = write_data_file(storage, "t", frame), write_data_file(storage, "t", frame.lazy())
    assert eager.stats == lazy.stats
    assert pl.read_parquet(storage.uri(f"t/{lazy.path}")).equals(frame)


def test_integers_strings_dates_and_times_have_exact_bounds(storage: Storage) -> None:
    moment = datetime(2013, 1, 1, 5, 0, 0, 123456)
    stats = write(
        storage,
        n=pl.Series([2**63 - 1, None, -(2**63)]),
        s=pl.Series(["b", "a", None]),
        d=pl.Series([date(2013, 1, 1), date(1960, 1, 2), None]),
        zoned=pl.Series([moment, None, None], dtype=pl.Datetime("us", "UTC")),
        naive=pl.Series([moment, None, None], dtype=pl.Datetime("us")),
    ).stats
    assert stats["minValues"] == {
        "n": -(2**63),
        "s": "a",
        "d": "1960-01-02",
        "zoned": "2013-01-01T05:00:00.123456Z",
        "naive": "2013-01-01T05:00:00.123456",
    }
    assert stats["maxValues"]["n"] == 2**63 - 1
    assert stats["maxValues"]["d"] == "2013-01-01"
    assert stats["nullCount"] == {"n": 1, "s": 1, "d": 1, "zoned": 2, "naive": 2}


def test_values_that_bounds_would_lie_about_have_none(storage: Storage) -> None:
    stats = write(
        storage,
        nan=pl.Series([1.0, math.nan]),
        null=pl.Series([None, None], dtype=pl.Int64),
        raw=pl.Series([b"\xff", b"a"]),
        items=pl.Series([[1], [2, 3]]),
    ).stats
    assert stats["minValues"] == stats["maxValues"] == {}
    assert stats["nullCount"] == {"nan": 0, "null": 2, "raw": 0}


def test_times_and_dates_that_python_has_no_word_for_have_no_bounds(storage: Storage) -> None:
    far = pl.Series([-(2**62), 5])
    stats = write(
        storage, t=far.cast(pl.Datetime("us")), d=pl.Series([2**30, 0], dtype=pl.Int32).cast(pl.Date)
    ).stats
    assert stats["minValues"] == {}
    assert stats["nullCount"] == {"t": 0, "d": 0}


def test_bounds_of_finer_times_are_whole_microseconds_around_them(storage: Storage) -> None:
    stats = write(storage, t=pl.Series([-1, 1]).cast(pl.Datetime("ns", "UTC"))).stats
    assert stats["minValues"]["t"] == "1969-12-31T23:59:59.999999Z"
    assert stats["maxValues"]["t"] == "1970-01-01T00:00:00.000001Z"


def test_a_long_string_is_within_its_shortened_bounds(storage: Storage) -> None:
    value = "é" * 300
    stats = write(storage, s=pl.Series([value])).stats
    assert stats["minValues"]["s"] <= value <= stats["maxValues"]["s"]


def test_bounds_span_all_row_groups(storage: Storage) -> None:
    file = write(storage, n=pl.int_range(ROW_GROUP_ROWS + 5, eager=True))
    footer = pq.read_metadata(storage.uri(f"t/{file.path}"))
    assert footer.num_row_groups == 2
    assert (file.stats["minValues"]["n"], file.stats["maxValues"]["n"]) == (0, ROW_GROUP_ROWS + 4)


def test_an_empty_frame_is_a_file_without_rows(storage: Storage) -> None:
    file = write(storage, n=pl.Series([], dtype=pl.Int64))
    assert file.rows == 0
    assert file.stats["minValues"] == {}


def test_statistics_of_the_last_of_many_columns_are_read_back_from_the_table(storage: Storage) -> None:
    frame = pl.DataFrame({f"c{n:02}": [n] for n in range(40)}).with_columns(
        at=pl.lit(datetime(2013, 1, 1, tzinfo=UTC)).dt.cast_time_unit("us")
    )
    table = Table.create(storage, "t", frame.to_arrow().schema)
    table = table.commit(app_id="u", number=1, add=[write_data_file(storage, "t", frame)], metadata={})
    [file] = table.files()
    assert file.stats["maxValues"]["c39"] == 39
    assert file.stats["maxValues"]["at"] == datetime(2013, 1, 1, tzinfo=UTC)


def test_a_file_that_is_gone_is_a_storage_error(storage: Storage) -> None:
    with pytest.raises(StorageError, match=r"gone\.parquet"):
        describe(storage, "t", "gone.parquet")


@pytest.mark.new_process
def test_reading_statistics_of_times_does_not_load_pandas(storage: Storage) -> None:
    frame = pl.DataFrame({"at": [datetime(2013, 1, 1, tzinfo=UTC)]})
    table = Table.create(storage, "t", frame.to_arrow().schema)
    table.commit(app_id="u", number=1, add=[write_data_file(storage, "t", frame)], metadata={})
    code = (
        "import sys; from featurestore.storage.objects import Storage; from featurestore.storage.delta import Table;"
        "files = Table.open(Storage(sys.argv[1]), 't').files();"
        "assert files[0].stats['minValues']['at'].year == 2013; sys.exit('pandas' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code, storage.root], check=False).returncode == 0
