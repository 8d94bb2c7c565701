"""Run where another Python is: makes the training set ``set``, and prints which Python that was and how many threads, as JSON.

``python set_make.py STORE``
"""

# mypy: ignore-errors
from __future__ import annotations

import json
import os
import sys

import polars as pl
import pyarrow as pa

from featurestore.protocol import TrainingSetRequest
from featurestore.storage.objects import Storage
from featurestore_transforms.entrypoint import engine


def main(store):
    engine.run(Storage(store), TrainingSetRequest(root=store, name="set", number=1), lambda progress: None)
    threads = [os.cpu_count(), pl.thread_pool_size(), pa.cpu_count()]
    print(json.dumps({"python": list(sys.version_info[:2]), "threads": threads}))


if __name__ == "__main__":
    main(sys.argv[1])
