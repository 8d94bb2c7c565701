"""A node ends with whoever started it, even if that was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from cluster import network, remains
from cluster.node import STATE
from eventually import eventually

SUPPORT = Path(__file__).parents[1] / "support"

ENDLESS = """
import sys, time
from pathlib import Path
from cluster.node import node
from cluster.image import PAUSE
POD = '''
# The controller of service accounts makes it, too, sooner or later.
apiVersion: v1
kind: ServiceAccount
metadata: {name: default}
---
apiVersion: v1
kind: Pod
metadata: {name: it}
spec: {containers: [{name: it, image: "%s", imagePullPolicy: Never}]}
''' % PAUSE
with node(Path(sys.argv[1])) as cluster:
    cluster.kubectl("apply", "--filename=-", stdin=POD)
    cluster.kubectl("wait", "--for=condition=Ready", "pod/it", "--timeout=600s")
    print("ready", flush=True)
    time.sleep(600)
"""


def test_a_killed_session_leaves_no_container_no_mount_and_no_bridge(
    no_cluster: None, tmp_path: Path
) -> None:
    session = subprocess.Popen(
        [sys.executable, "-c", ENDLESS, str(tmp_path / "node")],
        env={**os.environ, "PYTHONPATH": str(SUPPORT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    with session:
        assert session.stdout is not None
        assert session.stdout.readline() == "ready\n"
        assert left()
        session.send_signal(signal.SIGKILL)
    eventually(lambda: not left(), why=left)


def left() -> list[str]:
    """What there is of a node on this machine."""
    found = [it for _, it in remains.processes() if f"-address\0{STATE}/containerd.sock\0" in it]
    found += [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if f"{STATE}/" in line]
    places = [STATE, Path(f"/sys/class/net/{network.BRIDGE}")]
    places += [root / remains.CGROUP for root in remains.cgroup_roots()]
    found += [str(place) for place in places if place.exists()]
    rules = subprocess.run(["iptables-save"], capture_output=True, text=True, check=True).stdout
    return found + [line for line in rules.splitlines() if "KUBE-" in line]
