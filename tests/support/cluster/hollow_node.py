"""A node without containers: a pod of ours is run as a process of this machine, with its own arguments and environment.

What it runs is real, and what it tells the API server is what a kubelet tells; images, limits and networks are not there.
For those there is a real node.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cluster.control_plane import ControlPlane
from forked_process import as_imported
from kubernetes.client import ApiException, CoreV1Api
from urllib3.exceptions import HTTPError

LABEL = "app.kubernetes.io/managed-by=featurestore"
POLL_S, WATCH_S = 0.1, 5
Object = dict[str, Any]


@dataclass
class _Running:
    process: subprocess.Popen[bytes]
    log: Path
    termination: Path
    started: str
    probed: tuple[str, int] | None = None


@dataclass
class HollowNode:
    """Runs the pods of one namespace. ``ran``: names of the pods that it started, in order. ``environ``: of all.

    ``stuck``: when true, new pods are left pending, as on a full cluster. ``paused``: their processes start and stand.
    ``most``: pods at once, as memory bounds them; the others are left pending.
    """

    plane: ControlPlane
    namespace: str
    environ: dict[str, str]
    folder: Path
    ran: list[str] = field(default_factory=list)
    stuck: bool = False
    paused: bool = False
    most: int = 1000
    _running: dict[str, _Running] = field(default_factory=dict)
    _pods: dict[str, Object] = field(default_factory=dict)
    _changed: threading.Event = field(default_factory=threading.Event)

    def run(self, api: CoreV1Api, stop: threading.Event) -> None:
        """Look at the pods until told to stop: they are listed when something was told of one."""
        while not stop.is_set():
            told = self._changed.wait(POLL_S)
            self._changed.clear()
            try:
                if told:
                    self._list(api)
                self._look(api)
            except (ApiException, HTTPError, OSError):
                # The API server is away: a test may have stopped it.
                self._changed.set()
                stop.wait(POLL_S)

    def watch(self, api: CoreV1Api, stop: threading.Event) -> None:
        """Hear of the pods until told to stop."""
        while not stop.is_set():
            self._changed.set()
            try:
                asked: Object = {"label_selector": LABEL, "watch": True, "timeout_seconds": WATCH_S}
                told = api.list_namespaced_pod(self.namespace, **asked, _preload_content=False)
                for _ in told.stream():  # type: ignore[attr-defined]
                    self._changed.set()
                told.release_conn()  # type: ignore[attr-defined]
            except (ApiException, HTTPError, OSError):
                stop.wait(POLL_S)

    def _list(self, api: CoreV1Api) -> None:
        pods = api.list_namespaced_pod(self.namespace, label_selector=LABEL, _preload_content=False)
        items = json.loads(pods.data)["items"]  # type: ignore[attr-defined]
        self._pods = {it["metadata"]["uid"]: it for it in items}
        for uid in [uid for uid in self._running if uid not in self._pods]:
            process = self._running.pop(uid).process
            process.kill()
            process.wait()

    def _look(self, api: CoreV1Api) -> None:
        for uid, pod in list(self._pods.items()):
            phase = pod["status"].get("phase", "Pending")
            if "deletionTimestamp" in pod["metadata"]:
                self._evict(api, pod)
                del self._pods[uid]
            elif uid in self._running:
                self._reap(api, pod)
            elif phase == "Pending" and not self.stuck and len(self._running) < self.most:
                self._start(api, pod)

    def close(self) -> None:
        for running in self._running.values():
            running.process.kill()
            running.process.wait()

    def kill(self, exit_code: int = 137, reason: str = "OOMKilled") -> None:
        """Have the containers that run now end as if the kernel had killed them."""
        for running in self._running.values():
            (running.log.parent / f"{running.log.stem}.end").write_text(f"{exit_code} {reason}")
            running.process.kill()

    @property
    def pids(self) -> list[int]:
        """Of the processes of pods that run."""
        return [running.process.pid for running in self._running.values()]

    def process(self, pod: str) -> subprocess.Popen[bytes]:
        """The process of a pod that runs."""
        return next(it.process for it in self._running.values() if it.log.stem == pod)

    def resume(self) -> None:
        """Let all run on, and start what waits."""
        self.stuck = self.paused = False
        for running in list(self._running.values()):
            running.process.send_signal(signal.SIGCONT)

    def _start(self, api: CoreV1Api, pod: Object) -> None:
        container = pod["spec"]["containers"][0]
        uid, name = pod["metadata"]["uid"], pod["metadata"]["name"]
        log, termination = self.folder / f"{name}.log", self.folder / f"{name}.end.json"
        environ = {**self.environ, "FEATURESTORE_TERMINATION_LOG": str(termination)}
        try:
            environ |= dict(self._environ(api, container))
        except ApiException as error:
            waiting = {"reason": "CreateContainerConfigError", "message": str(error.reason)}
            self._say(api, name, "Pending", {"waiting": waiting})
            return
        environ.pop("TMPDIR", None)
        address = _address(uid)
        environ["FEATURESTORE_WORKER_HOST"] = address
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "featurestore_transforms", *container["args"]],
                env=environ,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
            )
        pod["status"]["phase"] = "Running"
        if self.paused:
            process.send_signal(signal.SIGSTOP)
        now = _now()
        port = next((port["containerPort"] for port in container.get("ports", ())), None)
        probed = (address, port) if port else None
        self._running[uid] = _Running(process, log, termination, now, probed)
        self.ran.append(name)
        self._say(api, name, "Running", {"running": {"startedAt": now}})

    def _reap(self, api: CoreV1Api, pod: Object) -> None:
        running = self._running[pod["metadata"]["uid"]]
        code = running.process.poll()
        if code is None:
            self._probe(api, pod, running)
            return
        del self._running[pod["metadata"]["uid"]]
        said = running.termination.read_text() if running.termination.exists() else ""
        if not said and code:
            said = running.log.read_text()[-2000:]
        reason = "Completed" if code == 0 else "Error"
        end = running.log.parent / f"{running.log.stem}.end"
        if end.exists():
            exit_code, reason = end.read_text().split(" ", 1)
            code, said = int(exit_code), ""
        terminated = {
            "exitCode": code if code >= 0 else 128 - code,
            "reason": reason,
            "message": said,
            "startedAt": running.started,
            "finishedAt": _now(),
        }
        pod["status"]["phase"] = phase = "Succeeded" if code == 0 else "Failed"
        self._say(api, pod["metadata"]["name"], phase, {"terminated": terminated})

    def _probe(self, api: CoreV1Api, pod: Object, running: _Running) -> None:
        """Say that the pod is ready, once its port takes connections."""
        if running.probed is None:
            return
        try:
            socket.create_connection(running.probed, timeout=1).close()
        except OSError:
            return
        name, status = pod["metadata"]["name"], {"podIP": running.probed[0]}
        ready = {"conditions": [{"type": "Ready", "status": "True"}]}
        api.patch_namespaced_pod_status(name, self.namespace, {"status": {**status, **ready}})
        running.probed = None

    def _evict(self, api: CoreV1Api, pod: Object) -> None:
        running = self._running.pop(pod["metadata"]["uid"], None)
        if running is not None:
            running.process.send_signal(signal.SIGCONT)
            running.process.terminate()
            running.process.wait()
            self._running[pod["metadata"]["uid"]] = running
            self._reap(api, pod)
        try:
            api.delete_namespaced_pod(pod["metadata"]["name"], self.namespace, grace_period_seconds=0)
        except ApiException as error:
            if error.status != 404:
                raise

    def _say(self, api: CoreV1Api, name: str, phase: str, state: Object) -> None:
        container = {
            "name": "job",
            "image": "",
            "imageID": "",
            "ready": phase == "Running",
            "restartCount": 0,
            "state": state,
        }
        status = {"phase": phase, "containerStatuses": [container]}
        try:
            api.patch_namespaced_pod_status(name, self.namespace, {"status": status})
        except ApiException as error:
            if error.status != 404:
                raise

    def _environ(self, api: CoreV1Api, container: Object) -> Iterator[tuple[str, str]]:
        for source in container.get("envFrom", ()):
            if "secretRef" in source:
                found = api.read_namespaced_secret(source["secretRef"]["name"], self.namespace)
                for key, value in (found.data or {}).items():
                    yield source.get("prefix", "") + key, base64.b64decode(value).decode()
        for variable in container.get("env", ()):
            yield variable["name"], variable.get("value", "")


@contextmanager
def hollow_node(plane: ControlPlane, namespace: str, **environ: str) -> Iterator[HollowNode]:
    """A hollow node for the pods of a namespace, until the end of the block."""
    stop = threading.Event()
    kept = {"PATH": os.environ["PATH"], **as_imported()}
    with tempfile.TemporaryDirectory(prefix="hollow-node-") as folder, plane.client() as client:
        node = HollowNode(plane, namespace, {**kept, **environ}, Path(folder))
        api = CoreV1Api(client)

        thread = threading.Thread(target=node.run, args=(api, stop), daemon=True)
        thread.start()
        threading.Thread(target=node.watch, args=(api, stop), daemon=True).start()
        try:
            yield node
        finally:
            stop.set()
            thread.join()
            node.close()


def _address(uid: str) -> str:
    """An address of this machine that no other pod has: workers all have the same port."""
    first, second, third = hashlib.sha256(uid.encode()).digest()[:3]
    return f"127.{first}.{second}.{max(2, third)}"


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
