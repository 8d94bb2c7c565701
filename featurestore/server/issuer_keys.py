"""Keys that an OpenID Connect issuer signs with: found by its discovery document, kept, and looked at again.

https://openid.net/specs/openid-connect-discovery-1_0.html, and RFC 7517 for the keys.
"""

from __future__ import annotations

import http.client
import json
import logging
import math
import ssl
import threading
import time
import urllib.request
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from featurestore.errors import RequestError
from featurestore.server.problem_details import HttpProblem
from featurestore.server.server_settings import LOOPBACK

_log = logging.getLogger("featurestore.server")
_AGAIN_S, _FRESH_S = 5.0, 600.0
"""So long after a look, a key that is not known makes another one; and so long keys are trusted without a look."""
_TIMEOUT_S = 3.0
_MOST_BYTES = 1 << 20
_SHORTEST_RSA = 2048
PublicKey = RSAKey | ECKey


class IssuerKeys:
    """``issuer``: as its tokens name it. ``ca``: who signs its certificate, None for whom the machine trusts.

    Threads share it. Whoever's key is known never waits for the issuer.
    """

    def __init__(self, issuer: str, ca: Path | None, clock: Callable[[], float] = time.monotonic) -> None:
        if not _is_safe(issuer):
            raise RequestError(
                "the issuer cannot be trusted",
                where="--oidc-issuer",
                wanted="an https:// URL, or http:// of this machine",
                got=issuer,
            )
        try:
            trust = ssl.create_default_context(cafile=ca)
        except OSError as error:
            raise RequestError(
                "the certificates cannot be read", where="--oidc-ca", got=str(error)
            ) from error
        self._opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=trust), _NoRedirects())
        self._issuer, self._clock, self._looking = issuer, clock, threading.Lock()
        self._keys: tuple[PublicKey, ...] = ()
        self._answered, self._looked_s = False, -math.inf
        self._look()

    def key(self, kid: str | None) -> PublicKey | None:
        """The key of this name, or the only one if a token names none; None if the issuer has no such key.

        Raises:
            HttpProblem: the key is not known, and the issuer does not answer (503).
        """
        key = self._known(kid)
        age_s = self._clock() - self._looked_s
        if key is not None:
            if age_s >= (_FRESH_S if self._answered else _AGAIN_S) and self._looking.acquire(blocking=False):
                threading.Thread(target=self._look_and_release, daemon=True).start()
            return key
        if not self._looking.acquire(blocking=False):  # Waiting in line would take all threads from others.
            raise _unavailable()
        if self._clock() - self._looked_s >= _AGAIN_S:
            self._look_and_release()
        else:
            self._looking.release()
        key = self._known(kid)
        if key is None and not self._answered:
            raise _unavailable()
        return key

    def _known(self, kid: str | None) -> PublicKey | None:
        named = [key for key in self._keys if kid in (None, key.kid)]
        return named[0] if len(named) == 1 else None

    def _look_and_release(self) -> None:
        try:
            self._look()
        finally:
            self._looking.release()

    def _look(self) -> None:
        """Ask the issuer. If it does not answer, what was known stays, and it is told."""
        self._looked_s = self._clock()
        try:
            discovered = self._document(f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")
            if discovered.get("issuer") != self._issuer:
                raise ValueError(f"its discovery document is of {discovered.get('issuer')!r}")
            listed = self._document(discovered.get("jwks_uri")).get("keys")
            if not isinstance(listed, list):
                raise ValueError("it lists no keys")
            self._keys, self._answered = tuple(filter(None, map(_public_key, listed))), True
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._answered = False
            _log.error("the keys of the issuer %s are not read: %s", self._issuer, error)

    def _document(self, url: object) -> dict[str, Any]:
        """The JSON object at this address.

        Raises:
            OSError, HTTPException: it does not answer.
            ValueError: it is another thing, or its address is not safe.
        """
        if not isinstance(url, str) or not _is_safe(url):
            raise ValueError(f"{url!r} is not an address to get keys from")
        with self._opener.open(url, timeout=_TIMEOUT_S) as answer:
            content = answer.read(_MOST_BYTES + 1)
        document = json.loads(content) if len(content) <= _MOST_BYTES else None
        if not isinstance(document, dict):
            raise ValueError(f"{url} is not a JSON object of at most {_MOST_BYTES:,} bytes")
        return document


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """An issuer says itself where its keys are: nobody on the way sends us elsewhere."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _public_key(listed: Any) -> PublicKey | None:
    """None for a key that is for something else, that we do not know, or that is weak."""
    if not isinstance(listed, dict) or listed.get("use", "sig") != "sig":
        return None
    try:
        match listed.get("kty"):
            case "RSA":
                key = RSAKey.import_key(listed)
                return key if key.raw_value.key_size >= _SHORTEST_RSA else None
            case "EC":
                return ECKey.import_key(listed)
            case _:
                return None
    except (JoseError, ValueError, TypeError, KeyError) as error:
        _log.warning("a key of the issuer is not read: %s", type(error).__name__)
        return None


def _is_safe(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return bool(parts.hostname) and (
        parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)
    )


def _unavailable() -> HttpProblem:
    return HttpProblem(
        HTTPStatus.SERVICE_UNAVAILABLE, "it cannot be found out now whose token this is", retry_after_s=1
    )
