"""A tenant beside another: a person who administers one namespace, and has a bucket and a Redis of their own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import manifest
import redis
import storage_server
import yaml
from cluster.access import KubectlError
from cluster.binaries import built
from cluster.control_plane import ControlPlane
from cluster.fixtures import namespace_of
from cluster.hollow_node import HollowNode, hollow_node
from cluster_story import Unmetered
from conditions import Object, ReportsConditions
from eventually import eventually
from installation import DEPLOY
from operating import Operator
from server import Server, free_port

from featurestore.storage.filesystem import filesystem
from featurestore_operator.kube import access
from featurestore_operator.kube.api import Api
from featurestore_operator.kube.api_resources import OURS

PATIENCE_S = 90.0
KINDS = {kind.lower(): resource for kind, resource in OURS.items()}
MADE = ("jobs", "pods", "configmaps", "events", "services", "statefulsets", "deployments")
"""What an operator makes and says."""
PEOPLE = ("featurestore-view", "featurestore-edit", "featurestore-admin")


@dataclass(frozen=True)
class Rival(ReportsConditions):
    """``user``: who it is to the API server. ``keys``: of its bucket, whose folder is ``bucket``."""

    patience_s: ClassVar[float] = PATIENCE_S
    plane: ControlPlane
    api: Api
    user: str
    namespace: str
    bucket: Path
    keys: Mapping[str, str]
    redis_url: str
    node: HollowNode

    @property
    def root(self) -> str:
        return f"s3://{self.bucket.name}/store"

    @property
    def raw(self) -> str:
        return f"s3://{self.bucket.name}/raw"

    @property
    def online(self) -> Object:
        return {"redis": {"url": self.redis_url}}

    def put(self, name: str, content: bytes) -> None:
        """An object in its bucket, below ``raw``."""
        fs, path = filesystem(f"{self.raw}/{name}", self.keys)
        fs.pipe_file(path, content)

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """What kubectl prints for this person.

        Raises:
            KubectlError: it failed.
        """
        kubeconfig = self.plane.kubeconfig_of(self.user)
        return self.plane.kubectl(*arguments, stdin=stdin, kubeconfig=kubeconfig)

    def apply(self, *manifests: Object) -> None:
        self.kubectl("-n", self.namespace, "apply", "-f", "-", stdin=yaml.safe_dump_all(manifests))

    def refused(self, *arguments: str, stdin: str | None = None) -> str:
        """What this person is told by a command that the API server does not let them do.

        Raises:
            AssertionError: it does.
        """
        try:
            done = self.kubectl(*arguments, stdin=stdin)
        except KubectlError as refusal:
            return str(refusal)
        raise AssertionError(f"{self.user} may {arguments}: {done}")

    def of(self, kind: str, name: str, spec: Object, **annotations: str) -> Object:
        metadata: Object = {"name": name, "namespace": self.namespace}
        if annotations:
            metadata["annotations"] = annotations
        return {"apiVersion": manifest.OURS, "kind": kind, "metadata": metadata, "spec": spec}

    def delete(self, *names: str) -> None:
        """``names``: as ``datapipeline/events``. Return once they are gone."""
        self.kubectl("-n", self.namespace, "delete", "--wait", *names)

    def get(self, kind: str, name: str) -> Object:
        return self.api.get(KINDS[kind], self.namespace, name)

    def resources(self) -> dict[tuple[str, str], tuple[Object, str, str]]:
        """Spec of each of our objects, and status and reason of its condition ``Ready``, by kind and name."""
        states = {}
        for kind, resource in OURS.items():
            for item in self.api.list(resource, self.namespace):
                conditions = {it["type"]: it for it in item.get("status", {}).get("conditions", ())}
                ready = conditions.get("Ready", {"status": "", "reason": ""})
                states[kind, item["metadata"]["name"]] = item["spec"], ready["status"], ready["reason"]
        return states

    def stored(self) -> dict[str, bytes]:
        """Each object of its bucket."""
        files = (path for path in self.bucket.rglob("*") if path.is_file())
        return {str(path.relative_to(self.bucket)): path.read_bytes() for path in files}

    def published(self) -> dict[bytes, bytes | None]:
        """Each key of its Redis."""
        with redis.Redis.from_url(self.redis_url) as client:
            return {key: client.dump(key) for key in client.scan_iter()}

    def texts(self) -> dict[str, bytes]:
        """What is told of it, by where: objects that are no Secrets, Events, logs of its pods and of the operator, its bucket."""
        kinds = (*(f"{it.plural}.featurestore.dev" for it in OURS.values()), *MADE)
        objects = self.plane.kubectl("-n", self.namespace, "get", ",".join(kinds), "-o", "json")
        logs = {path.name: path.read_bytes() for path in self.node.folder.iterdir() if path.is_file()}
        operator = (self.bucket.parents[1] / "operator.log").read_bytes()
        return {**self.stored(), **logs, "objects": objects.encode(), "operator": operator}

    def told(self) -> str:
        lines = [f"{self.user}:"]
        for kind, resource in OURS.items():
            for item in self.api.list(resource, self.namespace):
                name = f"{kind} {item['metadata']['name']}"
                conditions = item.get("status", {}).get("conditions", ())
                lines += [f"{name}: {it['type']} {it['reason']}: {it['message']}" for it in conditions]
        return "\n".join(lines)


@contextmanager
def rivals(plane: ControlPlane, folder: Path, names: Sequence[str]) -> Iterator[list[Rival]]:
    """Tenants of one cluster, one operator and one S3 server; a hollow node runs their Jobs.

    None has another's keys. Those that the operator has in its environment open every bucket.
    """
    with ExitStack() as stack:
        buckets, accounts = folder / "s3", folder / "accounts"
        for each in (buckets, accounts):
            each.mkdir()
        keys = stack.enter_context(storage_server.s3(buckets, accounts=accounts))
        api = Api(access.configuration(str(plane.kubeconfig)), Unmetered())
        stack.callback(api.close)
        roles = [it for it in yaml.safe_load_all((DEPLOY / "operator.yaml").read_text()) if _of_people(it)]
        plane.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(roles))
        stack.callback(plane.kubectl, "delete", "clusterroles", *PEOPLE)
        found = []
        for name in names:
            own = {**keys, "AWS_ACCESS_KEY_ID": name, "AWS_SECRET_ACCESS_KEY": f"{name}-only"}
            _account(keys, name, f"{name}-only")
            (folder / name).mkdir()
            url = stack.enter_context(storage_server.redis(folder / name))
            namespace = stack.enter_context(namespace_of(plane))
            node = stack.enter_context(hollow_node(plane, namespace))
            found.append(Rival(plane, api, name, namespace, buckets / f"{name}-features", own, url, node))
            _bind(found[-1])
        stack.enter_context(operator_of_all(plane, folder / "operator.log", keys))
        yield found


@contextmanager
def operator_of_all(plane: ControlPlane, log: Path, environ: Mapping[str, str]) -> Iterator[Operator]:
    """An operator that serves every namespace and trusts none, with these variables in its environment."""
    kubeconfig, port = plane.kubeconfig_of("operator", ["system:masters"]), free_port()
    options = (f"--kubeconfig={kubeconfig}", f"--port={port}", "--no-leader-elect")
    command = [sys.executable, "-m", "featurestore_operator", *options]
    server = Server(command, log, lambda: operator.get("/readyz")[0] == 200, environ)
    operator = Operator(server, port, "operator", "")
    server.start()
    try:
        yield operator
    finally:
        server.stop()


def _of_people(item: Object) -> bool:
    return item["kind"] == "ClusterRole" and item["metadata"]["name"] in PEOPLE


def _account(keys: Mapping[str, str], name: str, secret: str) -> None:
    """An account of the S3 server, and its bucket."""
    admin = [built("versitygw"), "admin", f"--endpoint-url={keys['AWS_ENDPOINT_URL']}"]
    admin += [f"--access={keys['AWS_ACCESS_KEY_ID']}", f"--secret={keys['AWS_SECRET_ACCESS_KEY']}"]
    account = ["create-user", f"--access={name}", f"--secret={secret}", "--role=user"]
    bucket = ["create-bucket", f"--owner={name}", f"--bucket={name}-features"]
    for command in (account, bucket):
        subprocess.run([*map(str, admin), *command], check=True, capture_output=True, timeout=60)


def _bind(rival: Rival) -> None:
    """Let its person do what who administers a namespace may do there. Return once they may."""
    for role in ("admin", *PEOPLE):
        options = (f"--clusterrole={role}", f"--user={rival.user}")
        rival.plane.kubectl("-n", rival.namespace, "create", "rolebinding", role, *options)

    def may() -> bool:
        try:
            rival.kubectl("-n", rival.namespace, "get", "secrets,erasures")
        except KubectlError:
            return False
        return True

    eventually(may, PATIENCE_S)
