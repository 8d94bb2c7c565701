"""How much memory a batch takes that is larger than what its pipeline may use."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import polars as pl

from bench.figure import Figure
from featurestore.arrivals.files.listing import find_arrival
from featurestore.arrivals.ledger import Ledger
from featurestore.arrivals.manifest import Entry, Manifest
from featurestore.protocol import BatchRequest
from featurestore.registry.registry import Registry
from featurestore.resources import DataPipeline
from featurestore.resources.quantity import parse_bytes
from featurestore.storage.objects import Storage
from featurestore_transforms.batch.batch import run_batch
from featurestore_transforms.batch.peak import peak_bytes

FILES = 8
COLUMNS = 12


def measure(gigabytes: float = 4, limit: str = "2Gi") -> list[Figure]:
    """Peak memory of a process of its own that runs one batch of so many bytes of Parquet."""
    with tempfile.TemporaryDirectory() as folder:
        files = _write_files(Path(folder), int(gigabytes * 1e9))
        size = sum(file.stat().st_size for file in files)
        request = _intend(Path(folder) / "store", files, limit)
        done = subprocess.run(
            [sys.executable, "-m", "bench.memory", request.model_dump_json()],
            capture_output=True,
            text=True,
            check=True,
        )
    peak, allowed = int(done.stdout), parse_bytes(limit)
    name = f"peak of a batch of {size / 1e9:.1f} GB"
    return [Figure("memory", name, peak / 2**30, "GiB", f"at most {limit}", peak <= allowed)]


def _write_files(folder: Path, size: int) -> list[Path]:
    random = np.random.default_rng(0)
    rows = size // FILES // (COLUMNS * 8 + 1)
    paths = []
    for file in range(FILES):
        numbers = {f"x{n}": random.normal(size=rows) for n in range(COLUMNS)}
        keys = pl.Series(random.integers(0, 10**9, rows)).cast(pl.String)
        path = folder / f"{file}.parquet"
        pl.DataFrame({"key": keys, **numbers}).write_parquet(path, row_group_size=250_000)
        paths.append(path)
    return paths


def _intend(root: Path, files: list[Path], limit: str) -> BatchRequest:
    storage = Storage(str(root))
    pipeline = DataPipeline.model_validate(
        {
            "metadata": {"name": "wide"},
            "spec": {
                "source": {"uri": str(files[0].parent / "*.parquet"), "format": "Parquet"},
                "transforms": [{"derive": {"columns": {"sum": "x0 + x1"}}}],
                "expectations": [{"name": "near", "that": "x0 < 5"}],
                "resources": {"memory": limit},
            },
        }
    )
    digest = Registry(storage).accept(pipeline)
    ledger = Ledger(storage, "wide")
    arrivals = [arrival for file in files if (arrival := find_arrival(str(file))) is not None]
    entries = tuple(Entry(arrival) for arrival in arrivals)
    ledger.try_append(Manifest("wide", ledger.uid(), 1, digest, 1, entries))
    return BatchRequest(root=storage.root, pipeline="wide", number=1)


def _run(request: str) -> None:
    batch = BatchRequest.model_validate_json(request)
    run_batch(Storage(batch.root), batch, lambda progress: None)
    print(peak_bytes())


if __name__ == "__main__":
    _run(sys.argv[1])
