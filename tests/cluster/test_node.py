"""The node of the tests runs real containers, which reach what they should, and leaves nothing behind."""

from __future__ import annotations

import json
from pathlib import Path

from cluster.image import BASE, build
from cluster.node import Node
from eventually import eventually

SUPPORT = Path(__file__).parents[1] / "support"

JOB = """
apiVersion: batch/v1
kind: Job
metadata: {{name: {name}}}
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      terminationGracePeriodSeconds: 0
      containers:
      - name: it
        image: {image}
        imagePullPolicy: Never
        command: {command}
        resources: {{limits: {{memory: {memory}}}}}
"""
WEB = """
apiVersion: v1
kind: Service
metadata: {{name: web}}
spec: {{selector: {{app: web}}, ports: [{{port: 80, targetPort: 8000}}]}}
---
apiVersion: v1
kind: Pod
metadata: {{name: web, labels: {{app: web}}}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: it
    image: {image}
    imagePullPolicy: Never
    command: [python3, -m, http.server, --directory, /etc]
    readinessProbe: {{httpGet: {{path: /hostname, port: 8000}}, periodSeconds: 1}}
"""


def start(
    cluster: Node, namespace: str, command: list[str], memory: str = "256Mi", image: str = BASE
) -> None:
    text = JOB.format(name="it", image=image, command=json.dumps(command), memory=memory)
    cluster.kubectl("apply", f"--namespace={namespace}", "--filename=-", stdin=text)


def finished(cluster: Node, namespace: str) -> dict[str, str]:
    """The conditions of the Job once there are any."""

    def conditions() -> dict[str, str]:
        job = json.loads(cluster.kubectl("get", "job", "it", f"--namespace={namespace}", "--output=json"))
        found = {it["type"]: it["status"] for it in job["status"].get("conditions", ())}
        return found if found.keys() & {"Complete", "Failed"} else {}

    eventually(conditions, 60, lambda: cluster.kubectl("describe", "pods", f"--namespace={namespace}"))
    return conditions()


def python(cluster: Node, namespace: str, source: str) -> str:
    """What this program prints in a pod."""
    start(cluster, namespace, ["python3", "-c", source])
    assert finished(cluster, namespace).get("Complete") == "True", cluster.kubectl(
        "logs", "job/it", "-n", namespace
    )

    def printed() -> str:
        return cluster.kubectl("logs", "job/it", f"--namespace={namespace}")

    # Its last line may come a moment after its end.
    eventually(lambda: printed().endswith("\n"))
    return printed()


def test_a_job_runs_to_complete(cluster: Node, cluster_namespace: str) -> None:
    assert python(cluster, cluster_namespace, "print(6 * 7)") == "42\n"


def test_a_pod_above_its_memory_limit_is_killed_for_that(cluster: Node, cluster_namespace: str) -> None:
    start(cluster, cluster_namespace, ["python3", "-c", "b'x' * 10**9"], memory="64Mi")
    assert finished(cluster, cluster_namespace)["Failed"] == "True"
    pods = json.loads(cluster.kubectl("get", "pods", "-n", cluster_namespace, "--output=json"))["items"]
    ended = [pod["status"]["containerStatuses"][0]["state"]["terminated"] for pod in pods]
    assert [(it["reason"], it["exitCode"]) for it in ended] == [("OOMKilled", 137)]


def test_pods_find_services_by_name(cluster: Node, cluster_namespace: str) -> None:
    cluster.kubectl("apply", f"--namespace={cluster_namespace}", "--filename=-", stdin=WEB.format(image=BASE))
    cluster.kubectl(
        "wait", "--for=condition=Ready", "pod/web", f"--namespace={cluster_namespace}", "--timeout=600s"
    )
    # A service is known to the names and to the node's rules a moment after its pod is ready.
    source = """
import time, urllib.request
deadline = time.monotonic() + 120
while True:
    try:
        print(urllib.request.urlopen("http://web/hostname", timeout=2).status)
        break
    except OSError:
        if time.monotonic() > deadline:
            raise
        time.sleep(0.1)
"""
    assert python(cluster, cluster_namespace, source) == "200\n"


def test_pods_reach_the_api_server_with_their_token(cluster: Node, cluster_namespace: str) -> None:
    source = """
import ssl, urllib.request
own = "/var/run/secrets/kubernetes.io/serviceaccount"
request = urllib.request.Request("https://kubernetes.default.svc/api", headers={
    "Authorization": "Bearer " + open(own + "/token").read()})
trust = ssl.create_default_context(cafile=own + "/ca.crt")
print(urllib.request.urlopen(request, context=trust, timeout=60).status)
"""
    assert python(cluster, cluster_namespace, source) == "200\n"


def test_pods_reach_the_storage_of_this_machine(
    cluster: Node, cluster_namespace: str, cluster_redis: str, cluster_s3: dict[str, str]
) -> None:
    source = f"""
import socket, urllib.error, urllib.parse, urllib.request
redis = urllib.parse.urlparse("{cluster_redis}")
with socket.create_connection((redis.hostname, redis.port), timeout=60) as connection:
    connection.sendall(b"PING\\r\\n")
    print(connection.recv(100).decode().strip())
try:
    urllib.request.urlopen("{cluster_s3["AWS_ENDPOINT_URL"]}/", timeout=60)
except urllib.error.HTTPError as refused:
    print(refused.code)
"""
    assert python(cluster, cluster_namespace, source) == "+PONG\n403\n"


def test_a_dockerfile_is_built_on_the_local_base_and_runs(
    cluster: Node, cluster_namespace: str, tmp_path: Path
) -> None:
    (tmp_path / "said.txt").write_text("hello\n")
    (tmp_path / "Dockerfile").write_text(
        """
ARG BASE=scratch
FROM ${BASE} AS build
COPY said.txt /said.txt
RUN tr a-z A-Z < /said.txt > /shouted.txt
FROM ${BASE}
COPY --from=build /shouted.txt /shouted.txt
RUN useradd --uid 65532 nonroot
USER 65532
ENTRYPOINT ["python3"]
"""
    )
    image = build(tmp_path / "Dockerfile", tmp_path, "localhost/featurestore-tests/shout:1")
    cluster.load(image)
    source = "import os; print(os.getuid(), open('/shouted.txt').read(), end='')"
    start(cluster, cluster_namespace, ["python3", "-c", source], image=image.name)
    assert finished(cluster, cluster_namespace).get("Complete") == "True"
    assert cluster.kubectl("logs", "job/it", f"--namespace={cluster_namespace}") == "65532 HELLO\n"
