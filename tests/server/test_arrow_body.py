"""Arrow streams that are sent: what is taken, and what is not unpacked."""

from __future__ import annotations

import io

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from featurestore.errors import RequestError
from featurestore.server.arrow_body import read_arrow_body

TABLE = pa.table(
    {
        "text": ["é" * 40, None, ""],
        "raw": [b"\x00" * 100, b"", None],
        "n": [1, None, 3],
        "flag": [True, None, False],
        "numbers": [[1.5, None], None, []],
        "texts": [["a" * 50, None], [], None],
        "nothing": pa.nulls(3),
        "at": pa.array([0, 1, None], pa.timestamp("us", "UTC")),
    }
)


def stream(table: pa.Table, compression: str | None = None, version: str = "V5") -> bytes:
    options = pa.ipc.IpcWriteOptions(
        compression=compression, metadata_version=getattr(pa.ipc.MetadataVersion, version)
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table)
    written: bytes = sink.getvalue().to_pybytes()
    return written


@pytest.mark.parametrize("copies", [1, 1000])
def test_a_stream_of_arrow_or_of_polars_is_read(copies: int) -> None:
    table = pa.concat_tables([TABLE] * copies)
    sink = io.BytesIO()
    pl.DataFrame(table).write_ipc_stream(sink)
    for sent in (stream(table), stream(table, version="V4"), sink.getvalue()):
        assert read_arrow_body(sent).to_pylist() == table.to_pylist()


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
@pytest.mark.parametrize("version", ["V4", "V5"])
def test_a_stream_that_is_compressed_is_not_unpacked(compression: str, version: str) -> None:
    bomb = stream(pa.table({"n": np.zeros(10_000_000)}), compression, version)
    before = pa.total_allocated_bytes()
    with pytest.raises(RequestError, match="compressed"):
        read_arrow_body(bomb)
    assert pa.total_allocated_bytes() <= before


def test_values_that_stand_once_and_count_often_are_refused() -> None:
    text = "x" * 100_000
    [validity, views, data] = pa.array([text], pa.string_view()).buffers()
    often = np.tile(np.frombuffer(views, np.int32)[:4], 10_000)
    viewed = pa.Array.from_buffers(pa.string_view(), 10_000, [validity, pa.py_buffer(often.tobytes()), data])
    in_lists = pa.LargeListArray.from_arrays([0, 10_000], viewed)
    coded = pa.DictionaryArray.from_arrays(np.zeros(10_000, np.int8), [text])
    unsized = pa.array([[None] * 10_000], pa.list_(pa.null()))
    for column in (viewed, in_lists, coded, unsized, pa.RunEndEncodedArray.from_arrays([10_000], [text])):
        with pytest.raises(RequestError, match="more than was sent"):
            read_arrow_body(stream(pa.table({"column": column})))


def test_what_is_not_an_arrow_stream_is_refused_wherever_it_is_cut_or_changed() -> None:
    whole = stream(TABLE)
    for cut in (0, 3, 8, 100, len(whole) // 2):
        with pytest.raises(RequestError, match="not an Arrow stream"):
            read_arrow_body(whole[:cut])
    random = np.random.default_rng(0)
    for at in random.integers(0, len(whole), 500):
        changed = bytearray(whole)
        changed[at] ^= int(random.integers(1, 256))
        try:
            read_arrow_body(bytes(changed))
        except RequestError:
            continue
