"""HTTPS for the API server's reviews: a path that only it is told takes an AdmissionReview and gives one back."""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from featurestore.errors import FeatureStoreError
from featurestore_operator.http_server import HttpServer
from featurestore_operator.webhook.admission import Review

if TYPE_CHECKING:
    from featurestore_operator.webhook.certificate import ServingCertificate

logger = logging.getLogger(__name__)

RENEW_S = 3600.0
RETRY_S = 10.0
_LARGEST = 8 * 1024**2
"""No object of the API server is half as large."""
_BODY_S = 10.0
_LOOK_AGAIN_S = 5.0
"""How often another path makes it ask which one is right."""

Answer = Callable[[Mapping[str, Any]], Review]
"""The review of a request."""


class Webhook:
    """Serves on ``port`` of all addresses once it has a certificate; 0 is any free port.

    ``certificate``: what to serve with from now on; asked for at the start, once an hour, and when somebody asks at
    another path, as the API server does once it was told another one.
    """

    def __init__(self, port: int, answer: Answer, certificate: Callable[[], ServingCertificate]) -> None:
        self._certificate = certificate
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.minimum_version = ssl.TLSVersion.TLSv1_2
        self._served: ServingCertificate | None = None
        self._renewing = threading.Lock()
        self._renewed_s = float("-inf")
        self._answer = answer
        routes = [Route("/{path:path}", self._review, methods=["POST"])]
        self._server = HttpServer("webhook-serve", Starlette(routes=routes), port, self._tls)
        self.port = self._server.port
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="webhook", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()
        self._server.stop()

    def _run(self) -> None:
        while True:
            try:
                with self._renewing:
                    self._renew()
                wait_s = RENEW_S
            except FeatureStoreError as error:
                logger.warning("the webhook's certificate cannot be kept: %s", error)
                wait_s = RETRY_S
            if self._stopping.wait(wait_s):
                return

    def _is_asked(self, path: str) -> bool:
        """Whether the API server would ask at this path."""
        if self._knows(path):
            return True
        with self._renewing:
            if not self._knows(path) and time.monotonic() - self._renewed_s > _LOOK_AGAIN_S:
                try:
                    self._renew()
                except FeatureStoreError as error:
                    logger.warning("it is not known where the API server asks for reviews: %s", error)
        return self._knows(path)

    def _knows(self, path: str) -> bool:
        served = self._served
        return served is not None and hmac.compare_digest(served.path.encode(), path.encode())

    def _renew(self) -> None:
        self._renewed_s = time.monotonic()
        serving = self._certificate()
        if serving == self._served:
            return
        # The standard library reads certificates from files only.
        with TemporaryDirectory() as folder:
            file = Path(folder) / "tls.pem"
            file.touch(mode=0o600)
            file.write_bytes(serving.certificate + serving.key)
            self._tls.load_cert_chain(file)
        is_first = self._served is None
        self._served = serving
        if is_first:
            self._server.start()

    async def _review(self, request: Request) -> Response:
        length = int(request.headers.get("Content-Length", "0"))
        if not 0 < length <= _LARGEST or not await run_in_threadpool(self._is_asked, request.url.path):
            return Response(status_code=HTTPStatus.NOT_FOUND, headers={"Connection": "close"})
        try:
            async with asyncio.timeout(_BODY_S):
                review = json.loads(await request.body())["request"]
            uid = review["uid"]
        except TimeoutError:
            return Response(status_code=HTTPStatus.REQUEST_TIMEOUT, headers={"Connection": "close"})
        except (ValueError, KeyError, TypeError):
            return Response(status_code=HTTPStatus.BAD_REQUEST)
        return JSONResponse((await run_in_threadpool(self._answered, review)).to_dict(uid))

    def _answered(self, review: Mapping[str, Any]) -> Review:
        try:
            return self._answer(review)
        except Exception:
            # A defect of ours must not keep people from their objects; conditions say what is wrong with them.
            logger.exception("a review failed because of a bug")
            return Review(True, warnings=("It was not checked: see the operator's log",))
