"""One batch, run by a worker that stays: the connection to it is what the worker holds the batch by."""

from __future__ import annotations

import socket
from contextlib import suppress
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException

from featurestore.errors import TransientError
from featurestore.protocol import WORKER_DONE, WORKER_PORT, WarmBatch

_CONNECT_S, _LONGEST = 2.0, 64
SILENT_S = 10.0
"""How long a worker may say nothing before it counts as gone; it says something each second."""


class WorkerCall:
    """``host``: address of the worker's ``pod``."""

    def __init__(self, namespace: str, pod: str, host: str, batch: WarmBatch) -> None:
        self.namespace, self.pod, self.batch = namespace, pod, batch
        self._cancelled = False
        self._connection = HTTPConnection(host, WORKER_PORT, timeout=_CONNECT_S)
        self._socket: socket.socket | None = None

    def run(self) -> bool:
        """Whether the batch is in storage, once the worker has ended with it. If not, it is at work at something else, or failed.

        Raises:
            TransientError: it does not answer, or no longer.
        """
        try:
            self._connection.connect()
            self._socket = self._connection.sock
            if self._cancelled:
                return False
            self._connection.sock.settimeout(SILENT_S)
            self._connection.request("POST", "/", self.batch.model_dump_json(by_alias=True))
            with self._connection.getresponse() as response:
                last = b""
                while response.status == HTTPStatus.OK and (line := response.readline(_LONGEST)):
                    last = line.strip()
        except (OSError, HTTPException) as error:
            raise TransientError("the worker does not answer", where=self.pod, got=repr(error)) from error
        finally:
            self._connection.close()
        return last == WORKER_DONE

    def cancel(self) -> None:
        """Have the worker end the batch: what is not committed is not there."""
        self._cancelled = True
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_WR)
