"""An OpenID Connect issuer that shows its keys over HTTP, and signs whatever a test wants."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any

from http_server import answering
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

AUDIENCE = "features"


class OpenIdIssuer:
    """``shown``: the keys it lists now. ``is_away``: whether it answers 503. ``looks``: how often its keys were asked for.

    ``changed``: what its discovery document says instead.
    """

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.key: RSAKey | ECKey = ECKey.generate_key("P-256", {"kid": "first"})
        self.shown: list[dict[str, Any]] = [self.key.as_dict(private=False)]
        self.is_away, self.looks = False, 0
        self.changed: dict[str, Any] = {}

    def rotate(self, kid: str) -> None:
        """Sign with a new key, which is all that is shown from now on."""
        self.key = ECKey.generate_key("P-256", {"kid": kid})
        self.shown = [self.key.as_dict(private=False)]

    def token(self, *, header: dict[str, Any] | None = None, key: Any = None, **claims: Any) -> str:
        """A token of ann, valid for five minutes; a claim or a header that is None is left out."""
        now = int(time.time())
        usual = {"iss": self.url, "aud": AUDIENCE, "sub": "ann", "iat": now, "exp": now + 300}
        said = {name: value for name, value in {**usual, **claims}.items() if value is not None}
        signer = key or self.key
        head = {"alg": "ES256", "kid": signer.kid, **(header or {})}
        head = {name: value for name, value in head.items() if value is not None}
        return jwt.encode(head, said, signer, algorithms=[head["alg"]])

    def answer(self, path: str) -> object:
        """The document at a path."""
        if path == "/.well-known/openid-configuration":
            return {"issuer": self.url, "jwks_uri": f"{self.url}/keys", **self.changed}
        self.looks += 1
        return {"keys": self.shown}


@contextmanager
def openid_issuer() -> Iterator[OpenIdIssuer]:
    """An issuer on a port of its own, until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if issuer.is_away:
                self.send_error(503)
                return
            content = json.dumps(issuer.answer(self.path)).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Tests are quiet."""

    with answering(Handler) as port:
        issuer = OpenIdIssuer(port)
        yield issuer
