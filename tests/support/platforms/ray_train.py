"""Run where Ray is: two workers of Ray Train read their shares of the training set ``set`` by the lines that the page has.

``python ray_train.py STORE CODE``: prints the labels of each worker, by its rank, as JSON.
"""

# mypy: ignore-errors
from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

os.environ |= {"RAY_agent_register_timeout_ms": "300000", "RAY_raylet_start_wait_time_s": "300"}

import ray
import ray.train
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

import featurestore


def work(config):
    names = {"ray": ray, "data": featurestore.connect(config["store"]).training_set("set")}
    exec(config["code"], names)
    labels = [label for batch in names["reader"] for label in batch.column("w").to_pylist()]
    rank = ray.train.get_context().get_world_rank()
    Path(config["folder"], f"{rank}.json").write_text(json.dumps(labels))


def main(store, code):
    ray.init(address="local", num_cpus=3, include_dashboard=False, object_store_memory=150 * 1024**2)
    with tempfile.TemporaryDirectory() as folder:
        DataParallelTrainer(
            work,
            train_loop_config={"store": store, "code": code, "folder": folder},
            scaling_config=ray.train.ScalingConfig(num_workers=2),
            run_config=ray.train.RunConfig(name="set", storage_path=f"{folder}/runs"),
        ).fit()
        ray.shutdown()
        read = {path.stem: json.loads(path.read_text()) for path in sorted(Path(folder).glob("*.json"))}
    print(json.dumps(read))


if __name__ == "__main__":
    main(*sys.argv[1:])
