"""The network of a node: a bridge on which its pods are, whose address is the node's own.

Servers on this machine that pods are to reach listen on ``NODE``. Nothing is routed beyond the machine.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

BRIDGE = "featurestore0"
NODE = "10.244.0.1"
PODS = "10.244.0.0/24"
PLUGINS = Path("/usr/lib/cni")
FORWARD = Path("/proc/sys/net/ipv4/ip_forward")


def up(folder: Path) -> None:
    """Make the bridge, and write into ``folder`` how pods are put onto it."""
    ip("link", "add", "name", BRIDGE, "type", "bridge")
    ip("address", "add", f"{NODE}/24", "dev", BRIDGE)
    ip("link", "set", BRIDGE, "up")
    FORWARD.write_text("1")
    bridge = {
        "type": "bridge",
        "bridge": BRIDGE,
        "isGateway": True,
        "ipMasq": False,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "dataDir": str(folder / "addresses"),
            "ranges": [[{"subnet": PODS, "gateway": NODE}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    folder.mkdir()
    listed = {"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge, ports]}
    (folder / "10-pods.conflist").write_text(json.dumps(listed))


def down() -> None:
    """Remove the bridge and the rules of services; nothing where there are none."""
    if Path(f"/sys/class/net/{BRIDGE}").exists():
        ip("link", "delete", BRIDGE)
    for family in ("iptables", "ip6tables"):
        saved = subprocess.run([f"{family}-save"], capture_output=True, text=True, check=True).stdout
        kept = "".join(line for line in saved.splitlines(keepends=True) if "KUBE-" not in line)
        if kept != saved:
            subprocess.run([f"{family}-restore"], input=kept, text=True, check=True, capture_output=True)


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
