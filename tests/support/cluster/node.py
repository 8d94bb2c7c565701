"""A cluster with a node: a control plane with its controllers, containerd, kubelet and kube-proxy on this machine.

There is one at a time on a machine.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from cluster import network, remains
from cluster.binaries import CACHE, MissingError, built, installed
from cluster.control_plane import ControlPlane
from cluster.image import PAUSE, Image, pause
from server import Server, free_port

STATE = Path("/var/lib/featurestore-tests")
NAME, DOMAIN = "node", "cluster.local"
READY_S, CLEARED_S = 180.0, 90.0
PROGRAMS = ("containerd", "ctr", "runc", "iptables", "conntrack", "ip", "mount", "umount")


class Node(ControlPlane):
    """A control plane, and a node that runs pods. ``address``: where pods reach servers of this machine."""

    address = network.NODE

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, network.NODE)
        self._socket = STATE / "containerd.sock"
        self._kubelet_port = free_port()

    def start_node(self, stack: ExitStack) -> None:
        """Return once pods can run; ``stack`` ends what was started."""
        containerd = self._containerd()
        self._launch(containerd, stack)
        containerd.wait()
        if self._forget_containers():
            containerd.stop()
            containerd.start()
        self.load(pause())
        servers = [self._kubelet(), self._kube_proxy(), self._dns()]
        for server in servers:
            self._launch(server, stack)
        for server in servers:
            server.wait(READY_S)

    def load(self, image: Image) -> None:
        """Make an image known to the node, so that pods can be made of it."""
        self._ctr("images", "import", str(image.archive))

    def images(self) -> list[str]:
        """Names of the images that the node has; they stay from one node to the next."""
        return self._ctr("images", "list", "--quiet").split()

    def tag_image(self, name: str, other: str) -> None:
        """Have the node know an image by another name, too."""
        self._ctr("images", "tag", "--force", name, other)

    def forget_images(self, names: Iterable[str]) -> None:
        for name in names:
            self._ctr("images", "remove", name)

    def _forget_containers(self) -> bool:
        """Whether there was something to forget: images stay from one node to the next, containers must not."""
        old = self._ctr("containers", "list", "--quiet").split()
        if old:
            self._ctr("containers", "remove", *old)
        return bool(old)

    def _ctr(self, *arguments: str) -> str:
        command = [installed("ctr"), f"--address={self._socket}", "--namespace=k8s.io", *arguments]
        done = subprocess.run([*map(str, command)], check=True, capture_output=True, text=True)
        return done.stdout

    @staticmethod
    def _launch(server: Server, stack: ExitStack) -> None:
        server.launch()
        stack.callback(server.stop)

    def _containerd(self) -> Server:
        config = self.folder / "containerd.toml"
        config.write_text(
            f"""
version = 2
root = "{CACHE}/containerd"
state = "{STATE}/state"
[grpc]
address = "{self._socket}"
[plugins."io.containerd.internal.v1.opt"]
path = "{STATE}/opt"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{PAUSE}"
# A machine without CAP_SYS_RESOURCE cannot make a process less likely to be killed than its parent.
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{network.PLUGINS}"
conf_dir = "{STATE}/network"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false
"""
        )
        return Server(
            [installed("containerd"), f"--config={config}", "--log-level=warn"],
            self.folder / "containerd.log",
            self._containerd_answers,
        )

    def _containerd_answers(self) -> bool:
        try:
            self._ctr("images", "list", "--quiet")
        except subprocess.CalledProcessError:
            return False
        return True

    def _kubelet(self) -> Server:
        config = {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": network.NODE,
            "port": self._kubelet_port,
            "healthzPort": free_port(),
            "authentication": {"x509": {"clientCAFile": str(self.ca)}, "anonymous": {"enabled": False}},
            "authorization": {"mode": "Webhook"},
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{remains.CGROUP}",
            "failCgroupV1": False,
            "failSwapOn": False,
            "oomScoreAdj": 0,
            "containerRuntimeEndpoint": f"unix://{self._socket}",
            "resolvConf": "",
            "clusterDNS": [network.NODE],
            "clusterDomain": DOMAIN,
            "podLogsDir": str(STATE / "logs"),
            "volumePluginDir": str(STATE / "plugins"),
            "evictionHard": {
                "memory.available": "100Mi",
                "nodefs.available": "1%",
                "imagefs.available": "1%",
            },
            "imageGCHighThresholdPercent": 100,
            "maxPods": 100,
        }
        path = self.folder / "kubelet.json"
        path.write_text(json.dumps(config))
        command = [
            built("kubelet"),
            f"--config={path}",
            f"--kubeconfig={self.kubeconfig_of(f'system:node:{NAME}', ['system:nodes'])}",
            f"--hostname-override={NAME}",
            f"--node-ip={network.NODE}",
            f"--root-dir={STATE / 'kubelet'}",
            f"--cert-dir={self.folder / 'kubelet'}",
        ]
        return Server(command, self.folder / "kubelet.log", self._node_is_ready)

    def _node_is_ready(self) -> bool:
        nodes = json.loads(self.kubectl("get", "nodes", "--output=json"))["items"]
        conditions = [it for node in nodes for it in node["status"].get("conditions", ())]
        return any(it["type"] == "Ready" and it["status"] == "True" for it in conditions)

    def _kube_proxy(self) -> Server:
        health = free_port()
        config = {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "iptables",
            "clientConnection": {"kubeconfig": str(self.kubeconfig_of("system:kube-proxy"))},
            "hostnameOverride": NAME,
            "clusterCIDR": network.PODS,
            "bindAddress": network.NODE,
            "healthzBindAddress": f"127.0.0.1:{health}",
            "metricsBindAddress": f"127.0.0.1:{free_port()}",
            "oomScoreAdj": 0,
            # Zero leaves the machine's own settings as they are.
            "conntrack": {"maxPerCore": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        }
        path = self.folder / "kube-proxy.json"
        path.write_text(json.dumps(config))
        return Server([built("kube-proxy"), f"--config={path}"], self.folder / "kube-proxy.log", lambda: True)

    def _dns(self) -> Server:
        ready = free_port()
        corefile = self.folder / "Corefile"
        corefile.write_text(
            f"""
{DOMAIN}:53 in-addr.arpa:53 {{
    bind {network.NODE}
    ready 127.0.0.1:{ready}
    errors
    kubernetes {DOMAIN} in-addr.arpa {{
        kubeconfig {self.kubeconfig}
    }}
}}
"""
        )
        return Server(
            [built("dns"), f"-conf={corefile}"],
            self.folder / "dns.log",
            lambda: answers(f"http://127.0.0.1:{ready}/ready"),
        )


@contextmanager
def node(folder: Path) -> Iterator[Node]:
    """A cluster with a node that is ready, until the end of the block.

    Raises:
        MissingError: this machine cannot run one.
        ServerError: a server did not start.
    """
    check_machine()
    STATE.parent.mkdir(parents=True, exist_ok=True)
    with STATE.with_suffix(".lock").open("w") as lock:
        _take(lock)
        # A session that was killed could not do so itself.
        remains.remove(STATE)
        STATE.mkdir()
        folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            stack.enter_context(remains.removed_at_the_end(STATE, lock.fileno()))
            network.up(STATE / "network")
            _make_cgroups()
            cluster = Node(folder)
            stack.callback(cluster.stop)
            cluster.start()
            stack.enter_context(cluster.controllers())
            cluster.start_node(stack)
            yield cluster


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def check_machine() -> None:
    """Nothing, if this machine can run a node.

    Raises:
        MissingError: it cannot; says why.
    """
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise MissingError("a node runs on Linux on x86-64 only")
    if os.geteuid():
        raise MissingError("a node needs root, which this is not")
    for program in PROGRAMS:
        installed(program)
    for program in ("kubelet", "dns", "pause"):
        built(program)
    if not (network.PLUGINS / "bridge").exists():
        raise MissingError(f"{network.PLUGINS / 'bridge'} is not there")


def _take(lock: IO[str]) -> None:
    # A session that was killed is cleared away within seconds.
    deadline = time.monotonic() + CLEARED_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise MissingError(
                    "this machine runs a node already, which `make cluster-down` ends"
                ) from None
            time.sleep(0.1)
        else:
            return


def _make_cgroups() -> None:
    for root in remains.cgroup_roots():
        group = root / remains.CGROUP
        group.mkdir(exist_ok=True)
        for setting in ("cpuset.cpus", "cpuset.mems"):
            if (root / setting).exists() and (group / setting).exists():
                (group / setting).write_text((root / setting).read_text())
