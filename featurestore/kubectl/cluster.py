"""What the API server has, asked for by way of kubectl: its kubeconfig, its login, its current namespace."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from typing import Any

Object = dict[str, Any]
GROUP = "featurestore.dev"
PIPELINE_LABEL = f"{GROUP}/pipeline"
LABELS = {
    "FeatureView": f"{GROUP}/view",
    "TrainingSet": f"{GROUP}/trainingset",
    "Erasure": f"{GROUP}/erasure",
}
"""On Jobs that are not the pipeline's own: whose they are, by kind."""
JOB_LABEL = "batch.kubernetes.io/job-name"
WORKER_SELECTOR = "app.kubernetes.io/name=featurestore-worker"


class KubectlFailed(Exception):
    """kubectl cannot tell; the message is what it says."""


class Cluster:
    """``options``: of kubectl, such as ``["--context", "prod", "-n", "models"]``.

    ``refusals``: of what the user may not list, and of logs that cannot be read, in kubectl's words.
    """

    def __init__(self, options: Sequence[str]) -> None:
        self._options = list(options)
        self.refusals: list[str] = []

    def resources(self, *, all_namespaces: bool) -> list[Object]:
        """Our resources, of all kinds that the cluster knows and the user may list: in the current namespace, or in all.

        Raises:
            KubectlFailed: the API server does not know our kinds, does not answer, or lets the user list none of them.
        """
        names = self._kubectl("api-resources", f"--api-group={GROUP}", "--namespaced=true", "-o", "name")
        if not names.split():
            raise KubectlFailed(
                "the cluster does not know our resources: the operator is not installed in it"
            )
        where = ["--all-namespaces"] if all_namespaces else []
        kinds = sorted(names.split())
        done = self._run("get", ",".join(kinds), *where, "-o", "json")
        self.refusals = [line for line in done.stderr.splitlines() if "(Forbidden)" in line]
        if done.returncode and not 0 < len(self.refusals) < len(kinds):
            raise _failure(done)
        # Of several kinds, kubectl prints what it may list, and ends with 1 for the rest.
        resources: list[Object] = json.loads(done.stdout)["items"]
        return resources

    def jobs(self, resource: Object) -> list[Object]:
        """Jobs that work for a resource, the newest first; [] where the user may not see Jobs."""
        return sorted(self._of("jobs", resource), key=_began, reverse=True)

    def pods(self, resource: Object) -> list[Object]:
        """Pods of the Jobs of a resource; [] where the user may not see pods."""
        return self._of("pods", resource)

    def worker_pods(self, resource: Object) -> list[Object]:
        """Workers that stay, in the namespace of a resource; [] where the user may not see pods."""
        return self._permitted(resource, "pods", f"--selector={WORKER_SELECTOR}")

    def log(self, pod: Object, *, previous: bool = False) -> str:
        """What a pod has logged, each line after its time. ``previous``: before its container was started again.

        Raises:
            KubectlFailed: there is none, or the user may not read it.
        """
        metadata = pod["metadata"]
        options = ["--timestamps", *(["--previous"] if previous else [])]
        return self._kubectl("logs", metadata["name"], f"--namespace={metadata['namespace']}", *options)

    def events(self, resource: Object) -> list[Object]:
        """Events about a resource, the newest first; [] where the user may not see Events."""
        fields = f"involvedObject.uid={resource['metadata']['uid']}"
        events = self._permitted(resource, "events", f"--field-selector={fields}")
        return sorted(events, key=last_seen, reverse=True)

    def _of(self, what: str, resource: Object) -> list[Object]:
        name = resource["metadata"]["name"]
        if resource["kind"] == "DataPipeline":
            # Jobs of what is made of its dataset have this label, too.
            selector = ",".join([f"{PIPELINE_LABEL}={name}", *(f"!{label}" for label in LABELS.values())])
        elif resource["kind"] in LABELS:
            selector = f"{LABELS[resource['kind']]}={name}"
        else:
            return []
        return self._permitted(resource, what, f"--selector={selector}")

    def _permitted(self, resource: Object, *query: str) -> list[Object]:
        try:
            namespace = resource["metadata"]["namespace"]
            return self._items("get", *query, f"--namespace={namespace}", "-o", "json")
        except KubectlFailed as error:
            if "Forbidden" in str(error):
                return []
            raise

    def _items(self, *arguments: str) -> list[Object]:
        items: list[Object] = json.loads(self._kubectl(*arguments))["items"]
        return items

    def _kubectl(self, *arguments: str) -> str:
        done = self._run(*arguments)
        if done.returncode:
            raise _failure(done)
        return done.stdout

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        program = shutil.which("kubectl")
        if program is None:
            raise KubectlFailed("there is no kubectl in your PATH")
        return subprocess.run(
            # What is said last counts, and the namespace of a resource goes before that of the user.
            [program, *arguments[:1], *self._options, *arguments[1:]],
            capture_output=True,
            text=True,
            check=False,
        )


def _failure(done: subprocess.CompletedProcess[str]) -> KubectlFailed:
    return KubectlFailed(done.stderr.strip() or f"kubectl ended with exit code {done.returncode}")


def _began(job: Object) -> tuple[str, int]:
    metadata = job["metadata"]
    attempt = (metadata.get("annotations") or {}).get(f"{GROUP}/attempt", "")
    return str(metadata.get("creationTimestamp")), int(attempt) if attempt.isdigit() else 0


def last_seen(event: Object) -> str:
    """When an Event was last told of, as RFC 3339."""
    series = event.get("series") or {}
    return str(
        series.get("lastObservedTime")
        or event.get("lastTimestamp")
        or event.get("eventTime")
        or event["metadata"].get("creationTimestamp", "")
    )
