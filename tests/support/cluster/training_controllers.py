"""The controllers of training-operator, Trainer with JobSet, and KubeRay, as processes beside an API server.

They make pods, which no node runs here: what they write into them is what tests look at, and run processes with.
"""

from __future__ import annotations

import base64
import json
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from cluster.binaries import training_controllers_folder
from cluster.certificate import Certificate
from cluster.control_plane import ControlPlane
from cluster.fixtures import apply_crds
from server import Server, free_port

START_S = 600.0
CERTIFICATES = "k8s-webhook-server/serving-certs"
WATCHED = Path("/tmp", CERTIFICATES)
SECRETS = {"kubeflow": "training-operator-webhook-cert", "kubeflow-system": "kubeflow-trainer-webhook-cert"}
"""Where two of them keep their own certificates: Secrets that must be there."""
JOBSET = """
apiVersion: config.jobset.x-k8s.io/v1alpha1
kind: Configuration
internalCertManagement: {{enable: false}}
leaderElection: {{leaderElect: false}}
webhook: {{port: {port}}}
"""


@contextmanager
def training_controllers(plane: ControlPlane, folder: Path) -> Iterator[None]:
    """All of them, ready, until the end of the block. ``folder``: an empty one.

    Raises:
        MissingError: they were not built.
    """
    built = training_controllers_folder()
    apply_crds(plane, built / "crds")
    for namespace, secret in SECRETS.items():
        plane.kubectl("create", "namespace", namespace)
        plane.kubectl("create", "secret", "generic", secret, f"--namespace={namespace}")
    served = plane.authority.sign("webhooks", "webhooks", hosts=["127.0.0.1"])
    with ExitStack() as stack:
        stack.enter_context(_watched(served))
        port = free_port()
        (folder / "jobset.yaml").write_text(JOBSET.format(port=port))
        manager = ("--metrics-bind-address=0", "--health-probe-bind-address=127.0.0.1:{}")
        commands: dict[str, tuple[str, ...]] = {
            "training-operator.v1": (
                *("--enable-scheme=pytorchjob", "--enable-scheme=tfjob", "--webhook-server-port={}"),
                *("--pytorch-init-container-image=busybox", *manager),
            ),
            "jobset": (f"--config={folder / 'jobset.yaml'}", *manager),
            "trainer-controller-manager": ("--webhook-server-port={}", *manager),
            "ray-operator": (
                *("--enable-leader-election=false", "--metrics-addr=0"),
                "--health-probe-bind-address=127.0.0.1:{}",
            ),
        }
        servers = []
        for name, arguments in commands.items():
            home = folder / name
            _put(served, home / CERTIFICATES)
            ports = [free_port() for _ in arguments]
            filled = [argument.format(port) for argument, port in zip(arguments, ports, strict=True)]
            ready = partial(_answers, f"http://127.0.0.1:{ports[-1]}/readyz")
            command = [built / name, f"--kubeconfig={plane.kubeconfig}", *filled]
            server = Server(command, folder / f"{name}.log", ready, {"TMPDIR": str(home)})
            server.launch()
            stack.callback(server.stop)
            servers.append(server)
        for server in servers:
            server.wait(START_S)
        plane.kubectl("apply", "--server-side", "--filename=-", stdin=_webhooks(plane, built, port))
        plane.kubectl("apply", "--server-side", f"--filename={built / 'torch_distributed.yaml'}")
        yield


def environ_of(pod: Mapping[str, Any], secrets: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """What a node gives the container of a pod, of ``secrets`` by name: all of it, and nothing else."""
    [container] = pod["spec"]["containers"]
    environ: dict[str, str] = {}
    for source in container.get("envFrom", ()):
        environ |= secrets[source["secretRef"]["name"]]
    for variable in container.get("env", ()):
        reference = variable.get("valueFrom")
        if reference is None:
            environ[variable["name"]] = variable.get("value", "")
        else:
            environ[variable["name"]] = _field(pod, reference["fieldRef"]["fieldPath"])
    return environ


def secrets_of(plane: ControlPlane, namespace: str) -> dict[str, dict[str, str]]:
    """Values of all Secrets of a namespace, by name."""
    items = json.loads(plane.kubectl("get", "secrets", f"--namespace={namespace}", "--output=json"))["items"]
    return {
        it["metadata"]["name"]: {
            key: base64.b64decode(value).decode() for key, value in it.get("data", {}).items()
        }
        for it in items
    }


def _field(pod: Mapping[str, Any], path: str) -> str:
    """``metadata.name``, or ``metadata.annotations['…']``."""
    place, _, key = path.partition("['")
    found: Any = pod
    for name in place.split("."):
        found = found[name]
    return str(found[key.removesuffix("']")] if key else found)


def _webhooks(plane: ControlPlane, built: Path, port: int) -> str:
    """Those of JobSet, reached by URL: it needs what they fill in."""
    import yaml

    found = []
    for made in yaml.safe_load_all((built / "jobset-webhooks.yaml").read_text()):
        made["metadata"]["name"] = f"jobset-{made['metadata']['name']}"
        for webhook in made["webhooks"]:
            path = webhook["clientConfig"]["service"]["path"]
            ca = base64.b64encode(plane.ca.read_bytes()).decode()
            webhook["clientConfig"] = {"url": f"https://127.0.0.1:{port}{path}", "caBundle": ca}
            # Other pods than theirs are made while it stops.
            webhook["failurePolicy"] = "Ignore" if path.endswith("pod") else "Fail"
        found.append(made)
    return "---\n".join(map(json.dumps, found)).replace("---\n", "\n---\n")


@contextmanager
def _watched(served: Certificate) -> Iterator[None]:
    """A certificate where two of them wait for one, unless another run has put one there."""
    ours = not (WATCHED / "tls.crt").exists()
    if ours:
        _put(served, WATCHED)
    yield
    if ours:
        with suppress(OSError):
            shutil.rmtree(WATCHED)


def _put(served: Certificate, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(served.key, folder / "tls.key")
    shutil.copy(served.certificate, folder / "tls.crt")


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
