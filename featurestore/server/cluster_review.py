"""Callers whom the API server of the cluster knows, and what its RBAC lets them read.

A token is reviewed (TokenReview), and so is ``get`` on each FeatureView that is read, and ``create`` on ``push`` of a
DataPipeline that is pushed to (SubjectAccessReview). Answers are kept
for some seconds: so long a token that was revoked, or a role that was taken away, still counts.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import logging
import os
import ssl
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

from featurestore.errors import RequestError
from featurestore.server.caller import VIEWS, Caller, refused
from featurestore.server.problem_details import HttpProblem

_log = logging.getLogger("featurestore.server")
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_YES_S, _NO_S = 10.0, 2.0
"""How long it is remembered that somebody is known or may read, and that not."""
_KEPT = 10_000
_TIMEOUT_S = 5.0
Answer = TypeVar("Answer")


class ClusterReview:
    """Asks as the service account whose files stand in ``folder``, which the cluster renews."""

    asks = waits = True

    def __init__(self, url: str, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._url, self._folder = urlsplit(url), folder
        try:
            self._context = ssl.create_default_context(cafile=str(folder / "ca.crt"))
            self._namespace = (folder / "namespace").read_text().strip()
        except OSError as error:
            raise RequestError(
                "there is no service account here",
                where="--auth kubernetes",
                wanted="ca.crt, namespace and token of a pod's service account",
                got=str(error),
            ) from error
        self._callers: _Remembered[Caller | None] = _Remembered(clock)
        self._rights: _Remembered[bool] = _Remembered(clock)

    def caller(self, token: str) -> Caller:
        key = hashlib.sha256(token.encode(errors="surrogatepass")).digest()
        caller = self._callers.get(key, lambda: self._reviewed(token))
        if caller is None:
            raise refused()
        return caller

    def readable(self, caller: Caller, names: Collection[str], plural: str = VIEWS) -> set[str]:
        return {
            name
            for name in names
            if self._rights.get((caller, plural, name), partial(self._may, caller, "get", plural, name))
        }

    def may_push(self, caller: Caller, pipeline: str) -> bool:
        return self._rights.get(
            (caller, "push", pipeline), lambda: self._may(caller, "create", "datapipelines", pipeline, "push")
        )

    def _reviewed(self, token: str) -> Caller | None:
        status = self._ask("authentication.k8s.io/v1", "TokenReview", {"token": token})
        user = status.get("user", {})
        if not status.get("authenticated") or not user.get("username"):
            return None
        return Caller(
            user["username"], tuple(user.get("groups", ())), user.get("uid", ""), user.get("extra", {})
        )

    def _may(self, caller: Caller, verb: str, plural: str, name: str, subresource: str = "") -> bool:
        attributes = {
            "namespace": self._namespace,
            "verb": verb,
            "group": "featurestore.dev",
            "resource": plural,
            "subresource": subresource,
            "name": name,
        }
        spec = {
            "user": caller.name,
            "groups": list(caller.groups),
            "uid": caller.uid,
            "extra": caller.extra,
            "resourceAttributes": attributes,
        }
        return bool(self._ask("authorization.k8s.io/v1", "SubjectAccessReview", spec).get("allowed"))

    def _ask(self, group: str, kind: str, spec: dict[str, Any]) -> dict[str, Any]:
        """The status of a review.

        Raises:
            HttpProblem: the API server does not answer, or not to us (503).
        """
        body = json.dumps({"apiVersion": group, "kind": kind, "spec": spec})
        connection = http.client.HTTPSConnection(
            self._url.hostname or "", self._url.port or 443, timeout=_TIMEOUT_S, context=self._context
        )
        try:
            token = (self._folder / "token").read_text().strip()
            headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
            connection.request("POST", f"/apis/{group}/{kind.lower()}s", body, headers)
            answer = connection.getresponse()
            content = answer.read()
            if answer.status != HTTPStatus.CREATED:
                raise OSError(f"{answer.status} {content[:500].decode(errors='replace')}")
            status: dict[str, Any] = json.loads(content).get("status", {})
        except (OSError, http.client.HTTPException, ValueError) as error:
            _log.error("%s: %s", kind, error)
            raise HttpProblem(
                HTTPStatus.SERVICE_UNAVAILABLE, "it cannot be found out who may read this", retry_after_s=1
            ) from error
        finally:
            connection.close()
        return status


class _Remembered(Generic[Answer]):
    """Answers to questions, the last so many of them. An answer that is false is forgotten sooner; a failure is none."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._known: OrderedDict[Hashable, tuple[float, Answer]] = OrderedDict()

    def get(self, question: Hashable, ask: Callable[[], Answer]) -> Answer:
        with self._lock:
            known = self._known.get(question)
        if known is not None and self._clock() < known[0]:
            return known[1]
        answer = ask()
        with self._lock:
            self._known[question] = self._clock() + (_YES_S if answer else _NO_S), answer
            self._known.move_to_end(question)
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return answer


def api_server_url() -> str:
    """Of the cluster that this pod is in.

    Raises:
        RequestError: this is not a pod.
    """
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host:
        raise RequestError(
            "--auth kubernetes works in a pod only", where="--auth", hint="Use --auth token here"
        )
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
