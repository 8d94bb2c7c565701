"""A Redis Cluster on this machine: masters that share all slots, each with replicas if asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.binaries import installed
from eventually import eventually
from server import Server, accepts, free_port

SLOTS = 16384


@dataclass
class ClusterNode:
    """A server of a cluster. ``client``: asks this one alone."""

    server: Server
    port: int
    client: Any

    @property
    def id(self) -> str:
        return str(self.client.execute_command("CLUSTER MYID"))


@dataclass
class Cluster:
    """``masters``: with a third of the slots each, in order. ``replicas``: of each of them, in the same order."""

    masters: list[ClusterNode]
    replicas: list[ClusterNode]

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.masters)

    def empty(self) -> None:
        for node in self.masters:
            node.client.flushall()

    def owner(self, slot: int) -> ClusterNode:
        """The master that was given the slot at the start."""
        return self.masters[slot * len(self.masters) // SLOTS]


@contextmanager
def cluster(folder: Path, replicas: bool = False, node_timeout_ms: int = 5000) -> Iterator[Cluster]:
    """Three masters that keep nothing on disk, ready to answer.

    Raises:
        MissingError: redis-server is not installed.
    """
    with ExitStack() as open_:
        nodes = [_node(open_, folder, node_timeout_ms) for _ in range(6 if replicas else 3)]
        masters, others = nodes[:3], nodes[3:]
        for place, node in enumerate(masters):
            first, end = (-(-SLOTS * each // 3) for each in (place, place + 1))
            node.client.execute_command("CLUSTER ADDSLOTSRANGE", first, end - 1)
        for place, node in enumerate(nodes):
            # So that no two begin with the same, which they would have to settle among themselves.
            node.client.execute_command("CLUSTER SET-CONFIG-EPOCH", place + 1)
        for node in nodes[1:]:
            bus = nodes[0].client.config_get("cluster-port")["cluster-port"]
            node.client.execute_command("CLUSTER MEET", "127.0.0.1", nodes[0].port, bus)
        eventually(lambda: _know_all(nodes))
        for master, replica in zip(masters, others, strict=False):
            replica.client.execute_command("CLUSTER REPLICATE", master.id)
        eventually(lambda: all(_is_in_step(replica) for replica in others))
        yield Cluster(masters, others)


def _node(open_: ExitStack, folder: Path, node_timeout_ms: int) -> ClusterNode:
    import redis

    port, bus = free_port(), free_port()
    home = folder / str(port)
    home.mkdir(parents=True)
    command: list[object] = [installed("redis-server"), "--port", port, "--bind", "127.0.0.1", "--dir", home]
    command += ["--save", "", "--protected-mode", "no", "--cluster-enabled", "yes", "--cluster-port", bus]
    command += ["--cluster-node-timeout", node_timeout_ms, "--repl-diskless-sync-delay", 0]
    server = Server(command, home / "log", lambda: accepts(port))
    server.start()
    open_.callback(server.stop)
    client = redis.Redis(port=port, decode_responses=True)
    open_.callback(client.close)
    return ClusterNode(server, port, client)


def _know_all(nodes: Sequence[ClusterNode]) -> bool:
    said = [node.client.execute_command("CLUSTER INFO") for node in nodes]
    return all(it["cluster_state"] == "ok" and int(it["cluster_known_nodes"]) == len(nodes) for it in said)


def _is_in_step(replica: ClusterNode) -> bool:
    said = replica.client.info("replication")
    return (said["role"], said["master_link_status"]) == ("slave", "up")
