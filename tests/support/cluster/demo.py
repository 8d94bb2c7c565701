"""README's features in a cluster that `make cluster-demo` started: installed, a file put, and read from within and without."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import flights
import yaml
from cluster.binaries import CACHE, built
from installation import CHART, NAMESPACE
from readme import blocks

FOLDER = CACHE / "cluster"
GIVEN = FOLDER / "demo.json"
"""What the process that holds the cluster made: names of images, and how the S3 server is reached."""
KUBECONFIG = FOLDER / "admin.kubeconfig"
FEATURES = "features.yaml"
READ = (
    "import featurestore; store = featurestore.connect(); "
    f'print(store.get_features(["aircraft-delays:last_arr_delay"], entities=[{{"tailnum": "{flights.TAILNUM}"}}]).to_dict())'
)
DEADLINE_S = 600
NEXT = f"""\
Go on, as in the README's "On Kubernetes":

    export KUBECONFIG={KUBECONFIG}
    alias kubectl={built("kubectl")}
    kubectl get fv,dp -o wide
    kubectl describe fv aircraft-delays
    kubectl get jobs

Put another file below s3://raw/flights/ with the keys of `kubectl get secret s3`, or change {FOLDER / FEATURES} and
apply it. `make cluster-down` ends it all and leaves nothing."""


def run() -> None:
    """Print each step with its seconds."""
    given: dict[str, Any] = json.loads(GIVEN.read_text())
    s3: dict[str, str] = given["s3"]
    with step("helm install, until the operator is ready"):
        images = f"images.operator={given['operator']},images.job={given['job']}"
        helm = ("install", "featurestore", CHART, f"--namespace={NAMESPACE}", "--create-namespace", "--wait")
        _run("helm", *helm, f"--set={images},replicas=1", f"--timeout={DEADLINE_S}s")
    with step("README's features.yaml, and a Secret"):
        flights.make_buckets(s3)
        kept = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL")
        _run(
            "kubectl", "create", "secret", "generic", "s3", *(f"--from-literal={it}={s3[it]}" for it in kept)
        )
        _, features, pod = blocks("yaml")
        (FOLDER / FEATURES).write_text(features)
        _run("kubectl", "apply", f"--filename={FOLDER / FEATURES}")
    with step("a day of flights is put to s3://raw/flights, until it is online"):
        flights.put(s3, "flights", 1)
        wait = ("wait", "fv/aircraft-delays", f"--timeout={DEADLINE_S}s")
        _run("kubectl", *wait, "--for=jsonpath={.status.onlineCommit}")
    with step("read from within, by README's pod"):
        model = yaml.safe_load(pod)
        container = model["spec"]["containers"][0]
        container |= {"image": given["job"], "command": ["python", "-c", READ]}
        model["spec"]["restartPolicy"] = "Never"
        _run("kubectl", "apply", "--filename=-", stdin=json.dumps(model))
        _run(
            "kubectl",
            "wait",
            "pod/model",
            "--for=jsonpath={.status.phase}=Succeeded",
            f"--timeout={DEADLINE_S}s",
        )
        within = _run("kubectl", "logs", "model").strip()
    with step("read from without, by this checkout"):
        without = _run(sys.executable, "-c", READ, environment=environment_of(model)).strip()
    assert within == without, (within, without)
    print(within)


def environment_of(pod: Mapping[str, Any]) -> dict[str, str]:
    """What the ConfigMap and the Secret hold that a pod takes its environment from."""
    found: dict[str, str] = {}
    for it in pod["spec"]["containers"][0]["envFrom"]:
        if named := it.get("configMapRef"):
            found |= json.loads(_run("kubectl", "get", "configmap", named["name"], "--output=json"))["data"]
        if named := it.get("secretRef"):
            data = json.loads(_run("kubectl", "get", "secret", named["name"], "--output=json"))["data"]
            found |= {name: base64.b64decode(value).decode() for name, value in data.items()}
    return found


@contextmanager
def step(name: str) -> Iterator[None]:
    """Print what is done, and how long it took."""
    began = time.monotonic()
    print(f"{name} … ", end="", flush=True)
    yield
    print(f"{time.monotonic() - began:.0f} s", flush=True)


def _run(
    program: str,
    *arguments: str | Path,
    stdin: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> str:
    """What a program prints; this one ends with what it said if it fails."""
    path = program if Path(program).is_absolute() else built(program)
    done = subprocess.run(
        [str(path), *map(str, arguments)],
        input=stdin,
        env={**os.environ, "KUBECONFIG": str(KUBECONFIG), **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(
            f"\n{Path(program).name} {' '.join(map(str, arguments[:3]))} … ended with {done.returncode}:\n{done.stderr}"
        )
    return done.stdout
