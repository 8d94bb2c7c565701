"""In the operator's image: all of it is imported, its options are read, and there is no data engine."""

import importlib.util
import os
import subprocess
import sys

import featurestore

helped = subprocess.run(
    [sys.executable, "-m", "featurestore_operator", "--help"], check=True, capture_output=True, text=True
)
assert "FEATURESTORE_OPERATOR_" in helped.stdout, helped.stdout
engines = [it for it in ("polars", "pyarrow", "duckdb", "deltalake", "numpy") if importlib.util.find_spec(it)]
assert not engines, engines
assert os.getuid(), "runs as root"
print(f"{featurestore.__version__}: the controller starts, as user {os.getuid()}, without a data engine")
