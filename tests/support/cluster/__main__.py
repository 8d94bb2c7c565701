"""A cluster with a node for a person: ``make cluster`` starts it and leaves it running, ``make cluster-down`` ends it.

``make cluster-demo`` does the same with this checkout installed in it, and an S3 server: see ``demo``.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import storage_server
from cluster import demo
from cluster.binaries import CACHE, MissingError, built
from cluster.demo import FOLDER
from cluster.fixtures import apply_crds
from cluster.image import BASE, base
from cluster.node import Node, node
from product import job_image, operator_image

PID, READY, LOG = (CACHE / f"cluster.{what}" for what in ("pid", "ready", "log"))


def up() -> None:
    """Return when the cluster is ready; a process holds it."""
    if not _running():
        _start("hold")
    print(_how())


def up_demo() -> None:
    """Return when README's features were read in a cluster."""
    if _running():
        sys.exit("a cluster runs already: `make cluster-down` ends it")
    with demo.step("a cluster, the images of this checkout, and an S3 server"):
        _start("hold-demo")
    demo.run()
    print(f"\n{demo.NEXT}")


def _start(what: str) -> None:
    """Start a process that holds a cluster, and return when it is ready."""
    READY.unlink(missing_ok=True)
    CACHE.mkdir(parents=True, exist_ok=True)
    with LOG.open("w") as log:
        holder = subprocess.Popen(
            [sys.executable, "-m", "cluster", what],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    PID.write_text(str(holder.pid))
    while not READY.exists():
        if holder.poll() is not None:
            sys.exit(f"the cluster did not start, {LOG}:\n{LOG.read_text()[-4000:]}")
        time.sleep(0.1)


def down() -> None:
    """Return when nothing of it is left."""
    if not _running():
        sys.exit("no cluster runs that `make cluster` started")
    os.kill(int(PID.read_text()), signal.SIGTERM)
    while _running():
        time.sleep(0.1)
    PID.unlink()


def hold() -> None:
    """Hold the cluster until this process is told to end."""
    with _held() as cluster:
        apply_crds(cluster)
        cluster.load(base())
        READY.touch()
        signal.pause()


def hold_demo() -> None:
    """Hold a cluster that has the images of this checkout, and an S3 server, until this process is told to end."""
    with _held() as cluster:
        (FOLDER / "s3").mkdir()
        with storage_server.s3(FOLDER / "s3", cluster.address) as s3:
            given = {"operator": operator_image(cluster), "job": job_image(cluster), "s3": s3}
            demo.GIVEN.write_text(json.dumps(given))
            READY.touch()
            signal.pause()


@contextmanager
def _held() -> Iterator[Node]:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    shutil.rmtree(FOLDER, ignore_errors=True)
    try:
        with node(FOLDER) as cluster:
            print("the node is ready", flush=True)
            yield cluster
    except MissingError as missing:
        sys.exit(str(missing))


def _running() -> bool:
    if not PID.exists():
        return False
    command = Path(f"/proc/{PID.read_text()}/cmdline")
    # One that has ended and was not waited for yet has no command line.
    return command.exists() and command.read_text().endswith(("cluster\0hold\0", "cluster\0hold-demo\0"))


def _how() -> str:
    kubeconfig = FOLDER / "admin.kubeconfig"
    return f"""\
The cluster is ready: one node, our kinds (fs, dp, fv), and the image {BASE}
for pods with `imagePullPolicy: Never`.

    export KUBECONFIG={kubeconfig}
    alias kubectl={built("kubectl")}
    kubectl get nodes

`make cluster-down` ends it and leaves nothing."""


if __name__ == "__main__":
    {"up": up, "down": down, "hold": hold, "demo": up_demo, "hold-demo": hold_demo}[sys.argv[1]]()
