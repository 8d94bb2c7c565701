"""What autoscalers ask a cluster for: CPU of pods, by metrics-server, and metrics of pods that a Prometheus has.

Both are processes beside the node, as its other servers are; the API server passes on to them what it is asked.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cluster.binaries import built
from cluster.node import Node
from prometheus import Prometheus
from server import Server, accepts, free_port

NAMESPACE = "kube-system"
AVAILABLE_S = 300


@contextmanager
def metrics_server(node: Node, folder: Path) -> Iterator[None]:
    """CPU and memory of pods, as the kubelet has them each 15 seconds, until the end of the block.

    Raises:
        MissingError: metrics-server was not built.
    """
    arguments = (
        f"--kubeconfig={node.kubeconfig}",
        # The kubelet signs its certificate itself.
        "--kubelet-insecure-tls",
        "--kubelet-use-node-status-port",
        "--kubelet-preferred-address-types=InternalIP",
        "--metric-resolution=15s",
    )
    with _api(node, folder, "metrics-server", ("metrics.k8s.io", "v1beta1"), arguments):
        yield


@contextmanager
def prometheus_metrics(node: Node, folder: Path, prometheus: Prometheus, rules: str) -> Iterator[None]:
    """A metric of pods, until the end of the block. ``rules``: a file of the Prometheus adapter with one rule.

    Raises:
        MissingError: what serves it was not built.
    """
    (folder / "rules.yaml").write_text(rules)
    arguments = (
        f"--lister-kubeconfig={node.kubeconfig}",
        f"--prometheus-url=http://127.0.0.1:{prometheus.port}",
        f"--config={folder / 'rules.yaml'}",
    )
    with _api(node, folder, "scaling", ("custom.metrics.k8s.io", "v1beta2"), arguments):
        yield


@contextmanager
def _api(
    node: Node, folder: Path, program: str, served: tuple[str, str], arguments: Sequence[str]
) -> Iterator[None]:
    """``served``: group and version."""
    group, version = served
    port = free_port()
    signed = node.authority.sign(program, program, hosts=[f"{program}.{NAMESPACE}.svc"])
    command = [
        built(program),
        f"--bind-address={node.address}",
        f"--secure-port={port}",
        f"--tls-cert-file={signed.certificate}",
        f"--tls-private-key-file={signed.key}",
        f"--authentication-kubeconfig={node.kubeconfig}",
        f"--authorization-kubeconfig={node.kubeconfig}",
        *arguments,
    ]
    server = Server(command, folder / f"{program}.log", lambda: accepts(port, node.address))
    server.start()
    items = _objects(node, program, group, version, port)
    listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    try:
        node.kubectl("apply", "--filename=-", stdin=listed)
        is_available = ("wait", "--for=condition=Available", f"--timeout={AVAILABLE_S}s")
        node.kubectl(*is_available, f"apiservice/{version}.{group}")
        yield
    finally:
        # A group that nobody answers for would keep namespaces from ending.
        node.kubectl("delete", "--filename=-", "--ignore-not-found", stdin=listed)
        server.stop()


def _objects(node: Node, program: str, group: str, version: str, port: int) -> list[dict[str, object]]:
    """The Service of a process of this machine, and that it answers for the group."""
    metadata = {"name": program, "namespace": NAMESPACE}
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"ports": [{"name": "https", "port": 443, "targetPort": port}]},
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {**metadata, "labels": {"kubernetes.io/service-name": program}},
            "addressType": "IPv4",
            "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
            "endpoints": [{"addresses": [node.address], "conditions": {"ready": True}}],
        },
        {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": f"{version}.{group}"},
            "spec": {
                "group": group,
                "version": version,
                "service": {**metadata, "port": 443},
                "caBundle": base64.b64encode(node.ca.read_bytes()).decode(),
                "groupPriorityMinimum": 100,
                "versionPriority": 100,
            },
        },
    ]
