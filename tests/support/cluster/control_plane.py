"""A real control plane: etcd and kube-apiserver as processes on free ports, controllers if wanted.

There is no node and, without controllers, nobody who acts on what is stored: Jobs make no pods, owners' deaths
delete nothing, a deleted namespace stays in ``Terminating``.
"""

from __future__ import annotations

import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from cluster.access import Access
from cluster.audit import POLICY, AuditLog
from cluster.binaries import built, installed
from cluster.certificate import Authority, Certificate, signing_key
from server import Server, accepts, free_port

START_S = 180.0
SERVICES = "10.96.0.0/16"
KUBERNETES_SERVICE = "10.96.0.1"
CONTROLLERS, SCHEDULER = "system:kube-controller-manager", "system:kube-scheduler"


class ControlPlane(Access):
    """etcd and kube-apiserver. Everything of theirs is in ``folder``, which must be empty.

    ``address``: where the API server listens; nodes need one that is not the loopback.
    ``audit``: what it was asked, as far as ``audit_policy`` has it written down. ``url``, ``ca``, ``kubeconfig``,
    ``kubectl`` …: see ``Access``.
    """

    def __init__(self, folder: Path, address: str = "127.0.0.1", audit_policy: str = POLICY) -> None:
        self._port = free_port()
        super().__init__(folder, f"https://{address}:{self._port}", Authority.create(folder, "cluster"))
        self._trust = ssl.create_default_context(cafile=str(self.ca))
        self.audit = AuditLog(folder / "audit.log")
        self._address = address
        self._front = Authority.create(folder, "front-proxy")
        self.tokens, self._token_check = signing_key(folder)
        (folder / "audit-policy.yaml").write_text(audit_policy)
        self._etcd_port = free_port()
        self._etcd = self._etcd_server()
        self._api_server = self._kube_apiserver()

    def start(self) -> None:
        """Return once the API server is ready.

        Raises:
            ServerError: a server did not start.
            MissingError: a program is not on this machine.
        """
        self._etcd.start()
        self.start_api_server()

    def stop(self) -> None:
        self.stop_api_server()
        self._etcd.kill()  # Nobody will read what it would write to the disk.

    def start_api_server(self) -> None:
        """Start it where it was before: same port, same data."""
        self._api_server.start(START_S)

    def stop_api_server(self) -> None:
        self._api_server.stop()

    def kill_api_server(self) -> None:
        """End it as a crash would."""
        self._api_server.kill()

    def restart_api_server(self) -> None:
        self.stop_api_server()
        self.start_api_server()

    @contextmanager
    def controllers(self) -> Iterator[None]:
        """kube-controller-manager and kube-scheduler, until the end of the block."""
        with ExitStack() as stack:
            servers = [self._kube_controller_manager(), self._kube_scheduler()]
            for server in servers:
                server.launch()
                stack.callback(server.stop)
            for server in servers:
                server.wait()
            yield

    def _etcd_server(self) -> Server:
        client, peer = (f"http://127.0.0.1:{port}" for port in (self._etcd_port, free_port()))
        command = [
            installed("etcd"),
            f"--data-dir={self.folder / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync",  # It is never started again, so nothing needs to outlive the machine.
            "--log-level=warn",
            "--logger=zap",
        ]
        return Server(command, self.folder / "etcd.log", lambda: accepts(self._etcd_port))

    def _kube_apiserver(self) -> Server:
        hosts = [
            self._address,
            "127.0.0.1",
            "localhost",
            KUBERNETES_SERVICE,
            "kubernetes",
            "kubernetes.default.svc",
        ]
        own = self.authority.sign("kube-apiserver", "kube-apiserver", hosts=list(dict.fromkeys(hosts)))
        to_kubelet = self.authority.sign("to-kubelet", "kube-apiserver", ["system:masters"])
        front = self._front.sign("front", "front-proxy")
        command = [
            built("kube-apiserver"),
            f"--etcd-servers=http://127.0.0.1:{self._etcd_port}",
            f"--bind-address={self._address}",
            f"--secure-port={self._port}",
            f"--service-cluster-ip-range={SERVICES}",
            f"--tls-cert-file={own.certificate}",
            f"--tls-private-key-file={own.key}",
            f"--client-ca-file={self.ca}",
            f"--kubelet-client-certificate={to_kubelet.certificate}",
            f"--kubelet-client-key={to_kubelet.key}",
            f"--requestheader-client-ca-file={self._front.own.certificate}",
            "--requestheader-allowed-names=front-proxy",
            "--requestheader-username-headers=X-Remote-User",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            f"--proxy-client-cert-file={front.certificate}",
            f"--proxy-client-key-file={front.key}",
            # Whoever reaches the API server finds it to be the issuer of its tokens (OpenID Connect discovery).
            f"--service-account-issuer={self.url}",
            f"--service-account-jwks-uri={self.url}/openid/v1/jwks",
            f"--service-account-signing-key-file={self.tokens}",
            f"--service-account-key-file={self._token_check}",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged=true",
            "--kubelet-preferred-address-types=InternalIP",
            f"--audit-policy-file={self.folder / 'audit-policy.yaml'}",
            f"--audit-log-path={self.audit.path}",
            "--audit-log-maxsize=100000",
            "--profiling=false",
            "--endpoint-reconciler-type=none"
            if self._address.startswith("127.")
            else "--endpoint-reconciler-type=lease",
        ]
        return Server(command, self.folder / "kube-apiserver.log", self._api_server_is_ready)

    def _api_server_is_ready(self) -> bool:
        if not accepts(self._port, self._address):
            return False
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=5, context=self._trust) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def _kube_controller_manager(self) -> Server:
        kubeconfig = self.kubeconfig_of(CONTROLLERS)
        own: Certificate = self.authority.own
        port = free_port()
        command = [
            built("kube-controller-manager"),
            f"--kubeconfig={kubeconfig}",
            f"--authentication-kubeconfig={kubeconfig}",
            f"--authorization-kubeconfig={kubeconfig}",
            "--bind-address=127.0.0.1",
            f"--secure-port={port}",
            f"--cert-dir={self.folder}",
            "--leader-elect=false",
            "--use-service-account-credentials=true",
            f"--service-account-private-key-file={self.tokens}",
            f"--root-ca-file={self.ca}",
            f"--cluster-signing-cert-file={own.certificate}",
            f"--cluster-signing-key-file={own.key}",
            f"--service-cluster-ip-range={SERVICES}",
            # Autoscalers look and act in seconds instead of minutes.
            "--horizontal-pod-autoscaler-sync-period=3s",
            "--horizontal-pod-autoscaler-downscale-stabilization=20s",
        ]
        return Server(command, self.folder / "kube-controller-manager.log", lambda: accepts(port))

    def _kube_scheduler(self) -> Server:
        kubeconfig = self.kubeconfig_of(SCHEDULER)
        port = free_port()
        command = [
            built("kube-scheduler"),
            f"--kubeconfig={kubeconfig}",
            f"--authentication-kubeconfig={kubeconfig}",
            f"--authorization-kubeconfig={kubeconfig}",
            "--bind-address=127.0.0.1",
            f"--secure-port={port}",
            f"--cert-dir={self.folder}",
            "--leader-elect=false",
        ]
        return Server(command, self.folder / "kube-scheduler.log", lambda: accepts(port))


@contextmanager
def control_plane(folder: Path, audit_policy: str = POLICY) -> Iterator[ControlPlane]:
    """A control plane that is ready, until the end of the block."""
    folder.mkdir(parents=True, exist_ok=True)
    plane = ControlPlane(folder, audit_policy=audit_policy)
    try:
        plane.start()
        yield plane
    finally:
        plane.stop()
