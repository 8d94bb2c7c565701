"""What the operator's probes, metrics and reviews are served by: an ASGI application in a thread of its own."""

from __future__ import annotations

import socket
import ssl
import threading

import uvicorn
from starlette.types import ASGIApp

_BACKLOG = 128
_GRACE_S = 5
"""How long what was asked already may take at the end."""


class HttpServer:
    """Listens on ``port`` of all addresses from the beginning, and answers once it is started.

    ``port``: 0 means any free one; afterwards it says which. ``tls``: its certificate may be loaded anew meanwhile: new
    connections get the newest, and those that are open keep theirs.
    """

    def __init__(self, name: str, application: ASGIApp, port: int, tls: ssl.SSLContext | None = None) -> None:
        self._socket = socket.create_server(("", port), backlog=_BACKLOG)
        self.port: int = self._socket.getsockname()[1]
        config = uvicorn.Config(
            application,
            http="h11",
            loop="asyncio",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            backlog=_BACKLOG,
            timeout_graceful_shutdown=_GRACE_S,
        )
        config.load()
        config.ssl = tls
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, args=([self._socket],), name=name, daemon=True
        )

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End it, whether it was started or not."""
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join()
        self._socket.close()
