"""Files of every format, packed or not, in a local folder and in object storage."""

from __future__ import annotations

import gzip
import uuid
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from examples import exhaustive

from featurestore.arrivals.files.listing import find_arrival
from featurestore.arrivals.ledger import Ledger
from featurestore.arrivals.manifest import Entry, Manifest
from featurestore.protocol import BatchRequest
from featurestore.registry.registry import Registry
from featurestore.resources import DataPipeline
from featurestore.storage import paths
from featurestore.storage.delta import Table
from featurestore.storage.filesystem import filesystem
from featurestore.storage.objects import Storage
from featurestore_transforms.batch.batch import run_batch
from featurestore_transforms.tables.row_changes import scan

ROWS = [{"k": "a", "v": 1}, {"k": "é", "v": None}, {"k": None, "v": 2**53 + 1}]
FRAME = pl.DataFrame(ROWS)
CSV = b"k;v\na;1\n\xc3\xa9;-\n-;9007199254740993\n"


def _ipc(stream: bool) -> bytes:
    sink = pa.BufferOutputStream()
    table = FRAME.to_arrow()
    with (pa.ipc.new_stream if stream else pa.ipc.new_file)(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def _parquet() -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(FRAME.to_arrow(), sink)
    return sink.getvalue().to_pybytes()


JSON = FRAME.write_ndjson().encode()
DIALECT = {"csv": {"delimiter": ";", "nullValues": ["-"]}}
HEADLESS = {"csv": {"delimiter": ";", "nullValues": ["-"], "header": "Absent"}}
FILES: dict[str, tuple[bytes, dict[str, Any]]] = {
    "a.parquet": (_parquet(), {"format": "Parquet"}),
    "a.arrow": (_ipc(stream=False), {"format": "Arrow"}),
    "a.arrows": (_ipc(stream=True), {"format": "Arrow"}),
    "a.json": (JSON, {"format": "JSON"}),
    "a.json.zst": (pa.compress(JSON, "zstd", asbytes=True), {"format": "JSON"}),
    "a.csv": (CSV, {"format": "CSV", **DIALECT}),
    "bom.csv": (b"\xef\xbb\xbf" + CSV, {"format": "CSV", **DIALECT}),
    "crlf.csv": (CSV.replace(b"\n", b"\r\n"), {"format": "CSV", **DIALECT}),
    "a.csv.gz": (gzip.compress(CSV, mtime=0), {"format": "CSV", **DIALECT}),
    "packed": (gzip.compress(CSV, mtime=0), {"format": "CSV", "compression": "Gzip", **DIALECT}),
    "headless.csv": (CSV[4:], {"format": "CSV", **HEADLESS}),
}
HEADLESS_NAMES = [{"rename": {"columns": {"column_1": "k", "column_2": "v"}}}]


# In object storage every second one, among which are all formats.
PLACES = [
    *(("local", name) for name in FILES),
    *(("s3", name) for name in (FILES if exhaustive() else list(FILES)[::2])),
]


@pytest.mark.parametrize(("storage_root", "name"), PLACES, indirect=["storage_root"])
def test_all_formats_give_the_same_rows_anywhere(storage: Storage, tmp_path: Path, name: str) -> None:
    content, source = FILES[name]
    folder = str(tmp_path) if storage.is_local else f"s3://features/raw-{uuid.uuid4().hex}"
    fs, path = filesystem(f"{folder}/{name}")
    fs.pipe_file(path, content)
    spec = {
        "source": {"uri": f"{folder}/*", **source},
        "transforms": HEADLESS_NAMES if name == "headless.csv" else [],
        "expectations": [{"name": "not-null", "that": "v IS NOT NULL"}],
    }
    digest = Registry(storage).accept(DataPipeline.model_validate({"metadata": {"name": "p"}, "spec": spec}))
    arrival = find_arrival(f"{folder}/{name}")
    assert arrival is not None
    ledger = Ledger(storage, "p")
    assert ledger.try_append(Manifest("p", ledger.uid(), 1, digest, 1, (Entry(arrival),)))
    result = run_batch(
        storage, BatchRequest(root=storage.root, pipeline="p", number=1), lambda progress: None
    )
    assert (result.rows_read, result.rows_committed, result.rows_quarantined) == (3, 2, 1)
    assert _rows(storage, paths.dataset("p"), "k", "v") == [ROWS[0], ROWS[2]]
    assert [row["__row"] for row in _rows(storage, paths.quarantine("pipelines", "p"), "__row")] == [1]
    assert ledger.result(1) == result


def _rows(storage: Storage, path: str, *columns: str) -> list[dict[str, Any]]:
    table = Table.open(storage, path)
    assert table is not None
    return scan(table, table.files()).sort("__row").select(columns).collect().to_dicts()
