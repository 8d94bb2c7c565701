"""A pod that stays: it is asked for one batch after the other, and runs each in a process of its own.

Everything is imported once, and a batch is forked from there. What a batch does to its process is gone with it: memory,
threads, what users' functions leave behind, and crashes.

    POST / {"pipeline": "flights", "number": 7, "timeLimitS": 3600}
        503                                one runs already
        200, a line each second, "done"    it is in storage; without the word, it may not be: a Job finds out

Whoever reaches the port can have done what is due, and nothing else. The connection is the lease: when it ends, the batch does.
"""

from __future__ import annotations

import faulthandler
import gc
import importlib
import os
import select
import shutil
import signal
import socket
import tempfile
import time
import traceback
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import FrameType

from pydantic import ValidationError

from featurestore.arrivals.crash import signal_name
from featurestore.errors import Conflict, FeatureStoreError
from featurestore.protocol import WORKER_DONE, WORKER_PORT, JobRequest, WarmBatch
from featurestore.storage.objects import Storage
from featurestore_transforms.entrypoint.pod import ProgressLog, say
from featurestore_transforms.entrypoint.supervisor import end_now, end_with

HOST = "FEATURESTORE_WORKER_HOST"
"""Variable: the address to listen at; else all."""
_ALONE = {"OPENBLAS_NUM_THREADS": "1", "_RJEM_MALLOC_CONF": "background_thread:false"}
"""What keeps libraries from starting threads when they are imported: a process that is forked has none of them."""
_IMPORTED = (
    "deltalake",
    "pyarrow.dataset",
    "featurestore_transforms.batch.batch",
    "featurestore_transforms.entrypoint.job",
    "featurestore_transforms.sources.file_reader",
    "featurestore_transforms.sources.kafka_reader",
    "featurestore_transforms.views.build",
    "featurestore.online.publish",
    "featurestore.online.redis.store",
)
_IF_INSTALLED = ("confluent_kafka.admin", "redis")
"""Imported as well, where they are: each takes a batch that is forked a tenth of a second."""
_BEAT_S = 1.0
_CALL_S = 2.0
"""How long a caller may take to say what is wanted."""
_LONGEST = 4096
_UNHEARD_MS = 10_000
"""How long a caller's host may leave what is sent to it unacknowledged, before it counts as gone."""


def main(root: str, kind: str) -> None:
    """Run batches of pipelines with workers of this ``kind``, until SIGTERM: the batch that runs then is let end."""
    os.environ.update({name: os.environ.get(name, value) for name, value in _ALONE.items()})
    for name in _IMPORTED:
        importlib.import_module(name)
    for name in _IF_INSTALLED:
        with suppress(ImportError):
            importlib.import_module(name)
    # Pages with objects that nobody counts any more stay the same for all that are forked.
    gc.collect()
    gc.freeze()
    with _Server(root, kind, os.environ.get(HOST, "")) as server:
        say(f"waits for batches at port {WORKER_PORT}")
        server.run()
    say("ends")


class _Server(HTTPServer):
    """One connection at a time; while a batch runs, others are turned away."""

    request_queue_size = 64
    timeout = 0.5

    def __init__(self, root: str, kind: str, host: str) -> None:
        self.root, self.kind = root, kind
        self._told_to_end = False
        if not host and socket.has_dualstack_ipv6():
            self.address_family, host = socket.AF_INET6, "::"
        super().__init__((host, WORKER_PORT), _Handler)

    def run(self) -> None:
        signal.signal(signal.SIGTERM, self._end)
        while not self._told_to_end:
            self.handle_request()

    def handle_error(self, request: object, client_address: object) -> None:
        """Callers come and go; a defect of ours is told."""
        traceback.print_exc()

    def turn_away(self) -> None:
        """Answer a caller that it has come at a bad time."""
        try:
            caller, _ = self.socket.accept()
        except OSError:
            return
        with caller:
            caller.settimeout(0)
            try:
                caller.sendall(b"HTTP/1.0 503 Busy\r\n\r\n")
                caller.shutdown(socket.SHUT_WR)
                caller.recv(_LONGEST)
            except OSError:
                return

    def _end(self, number: int, frame: FrameType | None) -> None:
        self._told_to_end = True


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = _CALL_S

    def do_POST(self) -> None:
        try:
            length = int(self.headers.get("Content-Length", ""))
            if not 0 <= length <= _LONGEST:
                raise ValueError(f"{length} bytes")
            batch = WarmBatch.model_validate_json(self.rfile.read(length))
        except (ValidationError, ValueError):
            self.send_error(HTTPStatus.BAD_REQUEST)
            return
        if self._is_gone():
            # It waited in line until it went away, and may have asked somebody else since.
            return
        self.send_response(HTTPStatus.OK)
        self.end_headers()
        if self._run(batch):
            self._tell(WORKER_DONE)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """What is run says more."""

    def _run(self, batch: WarmBatch) -> bool:
        """Whether the batch is in storage."""
        began_s, about = time.monotonic(), f"{batch.pipeline}: batch {batch.number}"
        say(f"{about}: begins")
        scratch = tempfile.mkdtemp(prefix="featurestore-batch-")
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNHEARD_MS)
        parent = os.getpid()
        child = os.fork()
        if not child:
            end_with(parent)
            self.server.socket.close()
            self.connection.close()
            _run_in_child(self.server.root, self.server.kind, batch, scratch)
        try:
            code = self._attend(child, batch, began_s)
        finally:
            # What a process that was killed leaves would fill the pod.
            shutil.rmtree(scratch, ignore_errors=True)
        how = signal_name(-code) if code < 0 else f"exit code {code}" if code else "done"
        say(f"{about}: {how} after {time.monotonic() - began_s:.2f} s")
        return code == 0

    def _attend(self, child: int, batch: WarmBatch, began_s: float) -> int:
        """The exit code of the child, which is ended when its caller is gone or its time is over."""
        ended, listening, beat_s = os.pidfd_open(child), self.server.socket, began_s
        try:
            while True:
                ready, _, _ = select.select([ended, listening, self.connection], [], [], _BEAT_S)
                if ended in ready:
                    break
                if listening in ready:
                    self.server.turn_away()
                now_s, is_heard = time.monotonic(), self.connection not in ready
                if now_s - beat_s >= _BEAT_S:
                    beat_s, is_heard = now_s, is_heard and self._tell(b"")
                if not is_heard or now_s - began_s > batch.time_limit_s:
                    say("is ended: " + ("its time is over" if is_heard else "who asked for it is gone"))
                    os.kill(child, signal.SIGKILL)
                    break
        finally:
            os.close(ended)
        _, status = os.waitpid(child, 0)
        return os.waitstatus_to_exitcode(status)

    def _tell(self, line: bytes) -> bool:
        """Whether the caller still hears."""
        try:
            self.connection.sendall(line + b"\n")
        except OSError:
            return False
        return True

    def _is_gone(self) -> bool:
        # Nothing is sent after the request: what is there to read is the end.
        return bool(select.select([self.connection], [], [], 0)[0])


def _run_in_child(root: str, kind: str, batch: WarmBatch, scratch: str) -> None:
    """Run the batch and end this process."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    faulthandler.enable()
    os.environ["TMPDIR"] = tempfile.tempdir = scratch
    try:
        run_due(Storage(root), kind, batch)
    except FeatureStoreError as error:
        say(f"failed: {error}")
        end_now(error.exit_code)
    except BaseException:  # noqa: BLE001 - panics of engines and exits of callables are failures, too
        traceback.print_exc()
        end_now(1)
    end_now(0)


def run_due(storage: Storage, kind: str, batch: WarmBatch) -> None:
    """Run the batch and bring on the views that keep up with it, if it is due and of a pipeline with workers of this kind.

    Raises:
        FeatureStoreError: it is not, or it failed.
    """
    from featurestore.arrivals.ledger import Ledger
    from featurestore.reconcile.steps import RunBatch
    from featurestore.registry.registry import Registry
    from featurestore.resources import DataPipeline
    from featurestore.resources.execution import Execution
    from featurestore_transforms.batch.peak import forget_peak
    from featurestore_transforms.entrypoint.job import run_job

    forget_peak()
    accepted = Registry(storage).current(DataPipeline, batch.pipeline)
    spec = accepted.resource.spec if accepted is not None else None
    if accepted is None or spec is None or spec.execution is not Execution.WARM or spec.worker_kind != kind:
        raise Conflict(
            "this worker does not run batches of this pipeline",
            where=batch.pipeline,
            wanted=f"execution: Warm, of workers of kind {kind}",
            got=spec.worker_kind if spec is not None else "no such pipeline",
        )
    due = Ledger(storage, batch.pipeline).committed_batch() + 1
    if batch.number != due:
        where, wanted = f"{batch.pipeline}, batch {batch.number}", f"batch {due}"
        raise Conflict("this batch is not due", where=where, wanted=wanted, got=str(batch.number))
    step = RunBatch(batch.pipeline, batch.number, accepted.digest, batch.turn)
    request = JobRequest.model_validate(
        {"pipeline": batch.pipeline, "task": step.description, "request": step.request(storage.root)}
    )
    run_job(storage, request, say, ProgressLog())
