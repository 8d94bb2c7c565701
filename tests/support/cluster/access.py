"""Ways into a cluster: kubeconfigs for any user, the official client, kubectl."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cluster.binaries import built
from cluster.certificate import Authority, Certificate

if TYPE_CHECKING:
    from kubernetes.client import ApiClient


class Access:
    """Ways into the API server at ``url``. ``kubeconfig`` is of a user who may do everything."""

    def __init__(self, folder: Path, url: str, authority: Authority) -> None:
        self.folder = folder
        self.url = url
        self.authority = authority
        self.ca = authority.own.certificate
        self.kubeconfig = self.kubeconfig_of("admin", ["system:masters"])

    def kubeconfig_of(self, user: str, groups: Sequence[str] = (), url: str | None = None) -> Path:
        """Kubeconfig of a user of any name, in any groups; ``url``: by way of a proxy."""
        signed = self.authority.sign(_file(user), user, groups)
        return self._write(user, _certificate(signed), url)

    def kubeconfig_of_service_account(self, namespace: str, name: str, url: str | None = None) -> Path:
        """Kubeconfig with a token of a service account that is there, good for a day."""
        from kubernetes.client import AuthenticationV1TokenRequest, CoreV1Api, V1TokenRequestSpec

        wanted = AuthenticationV1TokenRequest(spec=V1TokenRequestSpec(audiences=[], expiration_seconds=86400))
        with self.client() as client:
            answer = CoreV1Api(client).create_namespaced_service_account_token(name, namespace, wanted)
        assert answer.status is not None
        assert answer.status.token is not None
        return self._write(f"{namespace}.{name}", {"token": answer.status.token}, url)

    def client(self, kubeconfig: Path | None = None) -> ApiClient:
        """The official client, to be closed by whoever asked for it."""
        from kubernetes import config

        client: ApiClient = config.new_client_from_config(str(kubeconfig or self.kubeconfig))  # type: ignore[no-untyped-call]
        return client

    def kubectl(
        self, *arguments: str | Path, stdin: str | None = None, kubeconfig: Path | None = None
    ) -> str:
        """What kubectl prints.

        Raises:
            KubectlError: it failed.
        """
        command = [built("kubectl"), f"--kubeconfig={kubeconfig or self.kubeconfig}", *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=600)
        if done.returncode:
            raise KubectlError(done.stderr.strip())
        return done.stdout

    def _write(self, user: str, credentials: dict[str, str], url: str | None) -> Path:
        path = self.folder / f"{_file(user)}.kubeconfig"
        cluster = {"server": url or self.url, "certificate-authority": str(self.ca)}
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "it",
            "clusters": [{"name": "it", "cluster": cluster}],
            "users": [{"name": user, "user": credentials}],
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": user}}],
        }
        path.write_text(json.dumps(content))
        return path


class KubectlError(Exception):
    """kubectl failed; the message is what it said."""


def _certificate(signed: Certificate) -> dict[str, str]:
    return {"client-certificate": str(signed.certificate), "client-key": str(signed.key)}


def _file(user: str) -> str:
    return user.replace(":", ".").replace("/", ".")
