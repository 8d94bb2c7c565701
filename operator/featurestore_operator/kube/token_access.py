"""Who may read a URL of ours: whoever has a token to which the API server grants it.

TokenReview says whose a token is, and SubjectAccessReview whether that user may get the URL:
https://kubernetes.io/docs/reference/access-authn-authz/rbac/#referring-to-resources
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from featurestore.errors import FeatureStoreError
from featurestore_operator.kube.api import Api
from featurestore_operator.kube.api_resources import SUBJECT_ACCESS_REVIEW, TOKEN_REVIEW

KEPT_S = 60.0
"""How long an answer of the API server counts: a token that is revoked reads for so long."""
_MOST_KEPT = 256
_SCHEME = "bearer "


class TokenAccess:
    """Asks the API server once a minute for each token. Safe to use from several threads."""

    def __init__(self, api: Api, path: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._api, self._path, self._clock = api, path, clock
        self._lock = threading.Lock()
        self._kept: dict[bytes, tuple[float, HTTPStatus]] = {}

    def check(self, authorization: str) -> HTTPStatus:
        """OK, or why not. ``authorization``: the header of the request; "" if it has none."""
        token = authorization[len(_SCHEME) :].strip() if authorization.lower().startswith(_SCHEME) else ""
        if not token:
            return HTTPStatus.UNAUTHORIZED
        name, now_s = hashlib.sha256(token.encode()).digest(), self._clock()
        with self._lock:
            kept = self._kept.get(name)
        if kept is not None and now_s - kept[0] < KEPT_S:
            return kept[1]
        try:
            answer = self._ask(token)
        except FeatureStoreError:
            return HTTPStatus.SERVICE_UNAVAILABLE
        with self._lock:
            if len(self._kept) >= _MOST_KEPT:
                self._kept.clear()
            self._kept[name] = now_s, answer
        return answer

    def _ask(self, token: str) -> HTTPStatus:
        status = self._api.create(TOKEN_REVIEW, _review({"token": token})).get("status", {})
        if not status.get("authenticated"):
            return HTTPStatus.UNAUTHORIZED
        user = status.get("user", {})
        asked = {
            "user": user.get("username", ""),
            "uid": user.get("uid", ""),
            "groups": user.get("groups", []),
            "extra": user.get("extra", {}),
            "nonResourceAttributes": {"path": self._path, "verb": "get"},
        }
        allowed = self._api.create(SUBJECT_ACCESS_REVIEW, _review(asked)).get("status", {}).get("allowed")
        return HTTPStatus.OK if allowed else HTTPStatus.FORBIDDEN


def _review(spec: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"namespace": ""}, "spec": spec}
