"""A cluster with a node for a person: ``make cluster`` starts it and leaves it running, ``make cluster-down`` ends it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from cluster.binaries import CACHE, MissingError, built
from cluster.fixtures import apply_crds
from cluster.image import base
from cluster.node import node

FOLDER = CACHE / "cluster"
PID, READY, LOG = (CACHE / f"cluster.{what}" for what in ("pid", "ready", "log"))


def up() -> None:
    """Start a process that holds the cluster, and return when it is ready."""
    if _running():
        print(_how())
        return
    READY.unlink(missing_ok=True)
    with LOG.open("w") as log:
        holder = subprocess.Popen(
            [sys.executable, "-m", "cluster", "hold"],
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
    print(_how())


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
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    shutil.rmtree(FOLDER, ignore_errors=True)
    try:
        with node(FOLDER) as cluster:
            apply_crds(cluster)
            cluster.load(base())
            READY.touch()
            signal.pause()
    except MissingError as missing:
        sys.exit(str(missing))


def _running() -> bool:
    if not PID.exists():
        return False
    command = Path(f"/proc/{PID.read_text()}/cmdline")
    return command.exists() and command.read_text().endswith("cluster\0hold\0")


def _how() -> str:
    kubeconfig = FOLDER / "admin.kubeconfig"
    return f"""\
The cluster is ready: one node, our kinds (fs, dp, fv), and the base image,
localhost/featurestore-tests/base:1, for pods with `imagePullPolicy: Never`.

    export KUBECONFIG={kubeconfig}
    alias kubectl={built("kubectl")}
    kubectl get nodes

`make cluster-down` ends it and leaves nothing."""


if __name__ == "__main__":
    {"up": up, "down": down, "hold": hold}[sys.argv[1]]()
