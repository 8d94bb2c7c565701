"""Run where Ray is: makes the training set ``set`` by a cluster of two nodes, and prints what is there then, as JSON.

``python ray_build.py STORE HOW``: ``two`` nodes; ``kill``: the second one is killed in the middle of a shard; ``alone``: by
this process, without Ray.
"""

# mypy: ignore-errors
from __future__ import annotations

import json
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread

os.environ |= {"RAY_agent_register_timeout_ms": "300000", "RAY_raylet_start_wait_time_s": "300"}

from ray.cluster_utils import Cluster

from featurestore.protocol import TrainingSetRequest
from featurestore.registry.registry import Registry
from featurestore.resources import TrainingSet
from featurestore.storage.objects import Storage
from featurestore_transforms.entrypoint import engine

NODE = {"num_cpus": 1, "memory": 600 << 20, "object_store_memory": 100 << 20}
SHARDS_BEFORE = 3


def is_making(raylet):
    """Whether a process of the node makes a shard just now: Ray gives it the name of its task."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if process.joinpath("cmdline").read_bytes().startswith(b"ray::set/"):
                parent = process.joinpath("stat").read_text().rpartition(")")[2].split()[1]
                if int(parent) == raylet:
                    return True
    return False


def make(store):
    request = TrainingSetRequest(root=store, name="set", number=1)
    engine.run(Storage(store), request, lambda progress: None)


def by_cluster(store, is_killed):
    cluster = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
    second = cluster.add_node(**NODE)
    cluster.wait_for_nodes()
    raylets = {
        name: node.all_processes["raylet"][0].process.pid
        for name, node in (("head", cluster.head_node), ("second", second))
    }
    over, nodes, killed_after = Event(), set(), []

    def watch():
        while not over.is_set():
            making = {name for name, raylet in raylets.items() if is_making(raylet)}
            nodes.update(making)
            shards = len(list(Path(store).glob("trainingsets/set/*/all/*.parquet")))
            if is_killed and not killed_after and "second" in making and shards >= SHARDS_BEFORE:
                os.kill(raylets["second"], 9)
                killed_after.append(shards)
            time.sleep(0.005)

    watching = Thread(target=watch)
    watching.start()
    try:
        storage = Storage(store)
        accepted = Registry(storage).current(TrainingSet, "set").resource
        spec = accepted.spec.model_dump(mode="json", by_alias=True, exclude_unset=True)
        spec["engine"] = {"ray": {"address": cluster.address}}
        Registry(storage).accept(TrainingSet.model_validate({"metadata": {"name": "set"}, "spec": spec}))
        make(store)
    finally:
        over.set()
        watching.join()
        cluster.shutdown()
    return {"nodes": sorted(nodes), "killed_after": killed_after}


if __name__ == "__main__":
    _, store, how = sys.argv
    print(json.dumps(make(store) if how == "alone" else by_cluster(store, how == "kill")))
