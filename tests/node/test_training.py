"""A Job without any operator for trainings, as the page has it: its pods read a training set's shards, each its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import flights
import pytest
from cluster.node import Node
from eventually import eventually
from product import job_image
from training import begin, rows, training_set
from training_page import EXAMPLES, Object, program

from featurestore.storage.filesystem import filesystem

INDEX = "batch.kubernetes.io/job-completion-index"


@pytest.fixture
def volume(cluster: Node, cluster_namespace: str, tmp_path: Path) -> Iterator[list[Object]]:
    """The volume of the example, which outlives pods: a folder of the node that whoever runs in a pod may write to."""
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    folder.chmod(0o777)
    size, common = {"storage": "1Mi"}, {"accessModes": ["ReadWriteOnce"], "storageClassName": ""}
    yield [
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": cluster_namespace},
            "spec": {**common, "capacity": size, "hostPath": {"path": str(folder)}},
        },
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "checkpoints"},
            "spec": {**common, "resources": {"requests": size}, "volumeName": cluster_namespace},
        },
    ]
    cluster.kubectl("delete", "persistentvolume", cluster_namespace, "--wait=false", "--ignore-not-found")


def test_two_pods_of_a_job_read_each_row_of_a_set_once(
    cluster: Node, cluster_namespace: str, cluster_s3: dict[str, str], volume: list[Object], tmp_path: Path
) -> None:
    laptop = begin(tmp_path / "project", rows(200), rows(150, seed=1))
    laptop.apply(training_set(shards={"rows": 100}))
    laptop.run()
    labels = laptop.store(laptop.now).training_set("set").to_arrow().column("w").to_pylist()
    assert len(set(labels)) == 350
    flights.make_buckets(cluster_s3)
    store = f"s3://features/{cluster_namespace}"
    files, path = filesystem(store, cluster_s3)
    files.put(laptop.storage.root, path, recursive=True)

    job = json.dumps(EXAMPLES["Job"]).replace("s3://features/prod", store)
    job = job.replace('"image": "training"', f'"image": "{job_image(cluster)}"')
    job = json.loads(job)
    [container] = job["spec"]["template"]["spec"]["containers"]
    container["volumeMounts"].append({"name": "train", "mountPath": "/train"})
    job["spec"]["template"]["spec"]["volumes"].append({"name": "train", "configMap": {"name": "train"}})
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_ENDPOINT_URL")
    secret = {name: cluster_s3[name] for name in names}
    objects = [
        *volume,
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s3"}, "stringData": secret},
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "train"},
            "data": {"train.py": program()},
        },
        job,
    ]
    within = f"--namespace={cluster_namespace}"
    cluster.kubectl("apply", within, "-f", "-", stdin="\n---\n".join(map(json.dumps, objects)))

    def succeeded() -> int:
        status = json.loads(cluster.kubectl("get", "job", "delays", within, "-o", "json"))["status"]
        assert not status.get("failed"), told()
        return int(status.get("succeeded", 0))

    def told() -> str:
        return cluster.kubectl("describe", "pods", within) + cluster.kubectl(
            "logs", "--selector=job-name=delays", "--tail=40", within
        )

    eventually(lambda: succeeded() == 2, 180, told)
    shares = [
        [
            label
            for line in cluster.kubectl(
                "logs", f"--selector={INDEX}={rank}", "--tail=-1", within
            ).splitlines()
            for label in json.loads(line)
        ]
        for rank in range(2)
    ]
    assert all(shares)
    assert sorted(label for share in shares for label in share) == sorted(labels)
