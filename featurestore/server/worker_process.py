"""A process that serves, from its first look at the store until it is drained.

After SIGTERM or SIGINT it answers for ``drain_s`` more seconds, with ``/readyz`` failing and each connection closed after
its answer; then it takes no new connection, finishes what it has begun, and ends. A second signal ends it at once.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
import ssl
import sys
import time
from pathlib import Path
from types import FrameType

import uvicorn
from pydantic import TypeAdapter

from featurestore.client.connection import Store
from featurestore.client.push import load_libraries
from featurestore.errors import RequestError
from featurestore.registry.project import open_project
from featurestore.server.application import Application
from featurestore.server.audit_log import AuditLog
from featurestore.server.authentication import Authentication
from featurestore.server.backend import Backend
from featurestore.server.caller import Anonymous, Authenticator
from featurestore.server.cluster_review import SERVICE_ACCOUNT, ClusterReview, api_server_url
from featurestore.server.measurements import Measurements
from featurestore.server.server_settings import ServerSettings
from featurestore.server.token_file import TokenFile

_log = logging.getLogger("featurestore.server")
LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class DrainingServer(uvicorn.Server):
    """Ends in two steps: see the module."""

    def __init__(self, config: uvicorn.Config, backend: Backend, parent: int | None) -> None:
        super().__init__(config)
        self._parent = parent
        self._backend = backend
        self._end_s: float | None = None
        self._certificate: list[tuple[int, int]] = []

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._end_s is not None:
            self.should_exit = self.force_exit = True
        self._backend.readiness.draining = True
        self._end_s = time.monotonic() + self._backend.settings.drain_s

    async def on_tick(self, counter: int) -> bool:
        if self._parent is not None and self._end_s is None and os.getppid() != self._parent:
            self.handle_exit(signal.SIGTERM, None)  # Nobody watches over this worker any more.
        if counter % 10 == 0:
            self._renew_certificate()
        if self._end_s is not None and time.monotonic() >= self._end_s:
            self.should_exit = True
        return await super().on_tick(counter)

    def _renew_certificate(self) -> None:
        """New connections get the certificate that stands in the file now. One that does not fit its key is tried again."""
        settings, context = self._backend.settings, self.config.ssl
        if context is None or settings.tls_cert is None:
            return
        try:
            stamps = [path.stat() for path in (settings.tls_cert, settings.tls_key) if path is not None]
            current = [(stamp.st_mtime_ns, stamp.st_ino) for stamp in stamps]
            if current != self._certificate:
                # A pair that does not fit leaves a context with half of it: it is tried in another one first.
                ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(settings.tls_cert, settings.tls_key)
                context.load_cert_chain(settings.tls_cert, settings.tls_key)
                self._certificate = current
        except OSError as error:
            _log.error("the certificate is not renewed: %s", error)


def open_backend(settings: ServerSettings) -> Backend:
    """The store that the settings name, and what routes ask of it.

    Raises:
        NotFound: there is no store.
        RequestError: what authentication needs is not there.
    """
    store = Store(open_project(settings.folder, os.environ, Path.cwd()))
    if settings.push:
        load_libraries()
    return Backend(store, settings, Measurements(), _authenticator(settings), AuditLog(settings.audit_log))


def _authenticator(settings: ServerSettings) -> Authenticator:
    match settings.auth:
        case Authentication.TOKEN:
            if settings.token_file is None:
                raise RequestError("--auth token needs a --token-file", where="--auth")
            try:
                return TokenFile(settings.token_file)
            except OSError as error:
                raise RequestError("the file of tokens cannot be read", got=str(error)) from error
        case Authentication.KUBERNETES:
            url = settings.api_server or api_server_url()
            return ClusterReview(url, settings.service_account or SERVICE_ACCOUNT)
        case Authentication.OIDC:
            return _openid_connect(settings)
        case Authentication.NONE:
            if settings.token_file is not None or settings.oidc_issuer is not None:
                raise RequestError(
                    "a file of tokens or an issuer guards nothing here",
                    where="--auth",
                    wanted="token or oidc",
                    got="none",
                )
            return Anonymous()


def _openid_connect(settings: ServerSettings) -> Authenticator:
    if settings.oidc_issuer is None or settings.oidc_audience is None:
        raise RequestError("--auth oidc needs an --oidc-issuer and an --oidc-audience", where="--auth")
    # Cryptography takes a while to load, which only this way of authentication needs.
    from featurestore.server.issuer_keys import IssuerKeys
    from featurestore.server.openid_connect import OpenIdConnect

    keys = IssuerKeys(settings.oidc_issuer, settings.oidc_ca)
    claim, groups = settings.oidc_groups_claim, settings.oidc_groups
    return OpenIdConnect(keys, settings.oidc_issuer, settings.oidc_audience, claim, groups)


def serve(settings: ServerSettings, listener: socket.socket, parent: int | None = None) -> None:
    """Answer what comes in by the socket, until a signal, or until the process ``parent`` is gone."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format=LOG_FORMAT)
    backend = open_backend(settings)
    config = uvicorn.Config(
        Application(backend),
        access_log=settings.access_log,
        log_config=None,
        log_level="info" if settings.access_log else "warning",
        lifespan="on",
        ws="none",
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=75,
        ssl_certfile=settings.tls_cert,
        ssl_keyfile=settings.tls_key,
    )
    # What was loaded stays; looking through it for garbage would take a fifth of the time of a large answer.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    DrainingServer(config, backend, parent).run(sockets=[listener])


def bind(settings: ServerSettings) -> socket.socket:
    """A listening socket that several processes may share.

    Raises:
        OSError: the address is taken, or is not of this machine.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    return socket.create_server((settings.host, settings.port), family=family, backlog=2048)


if __name__ == "__main__":
    # A worker of a pool: settings, and the socket it inherited.
    parent_id = os.getppid()
    serve(
        TypeAdapter(ServerSettings).validate_json(sys.argv[1]),
        socket.socket(fileno=int(sys.argv[2])),
        parent_id,
    )
