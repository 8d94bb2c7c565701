"""Run where Ray is: reads the training set ``set`` by Ray Data, and prints labels as JSON.

``python ray_read.py STORE CODE``: the page's code is for workers of Ray Train, and is not run here.
"""

# mypy: ignore-errors
from __future__ import annotations

import json
import os
import sys

os.environ |= {"RAY_agent_register_timeout_ms": "300000", "RAY_raylet_start_wait_time_s": "300"}

import ray

import featurestore


def main(store):
    ray.init(address="local", num_cpus=2, include_dashboard=False, object_store_memory=150 * 1024**2)
    dataset = featurestore.connect(store).training_set("set").to_ray().materialize()
    found = {
        "labels": [row["w"] for row in dataset.select_columns(["w"]).take_all()],
        "blocks": dataset.num_blocks(),
        "columns": dataset.schema().names,
    }
    ray.shutdown()
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
