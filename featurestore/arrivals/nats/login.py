"""What a client of NATS is variables, so that the servers let it in: from variables of the environment or keys of a Secret."""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from featurestore.errors import SpecError

USERNAME, PASSWORD, TOKEN = "NATS_USERNAME", "NATS_PASSWORD", "NATS_TOKEN"
CREDENTIALS = "NATS_CREDENTIALS"
TLS, AUTHORITIES, CERTIFICATE, KEY = "NATS_TLS", "NATS_TLS_CA", "NATS_TLS_CERTIFICATE", "NATS_TLS_KEY"
NAMES = (USERNAME, PASSWORD, TOKEN, CREDENTIALS, TLS, AUTHORITIES, CERTIFICATE, KEY)


@dataclass(frozen=True, slots=True)
class NatsLogin:
    """By the names of the variables, those that are set."""

    variables: tuple[tuple[str, str], ...] = field(repr=False)

    @classmethod
    def of(cls, environ: Mapping[str, str] | None) -> NatsLogin:
        """``environ``: None for the process's own environment."""
        known = os.environ if environ is None else environ
        return cls(tuple((name, known[name]) for name in NAMES if known.get(name)))

    def options(self, where: str) -> dict[str, Any]:
        """Options of nats-py.

        Raises:
            SpecError: what is said has no meaning.
        """
        given = dict(self.variables)
        options: dict[str, Any] = {}
        for name, option in ((USERNAME, "user"), (PASSWORD, "password"), (TOKEN, "token")):
            if name in given:
                options[option] = given[name]
        if CREDENTIALS in given:
            from nats.aio.client import RawCredentials

            options["user_credentials"] = RawCredentials(given[CREDENTIALS])
        if (tls := _tls(given, where)) is not None:
            options["tls"] = tls
        return options


def _tls(login: Mapping[str, str], where: str) -> ssl.SSLContext | None:
    if not any(login.get(name) for name in (TLS, AUTHORITIES, CERTIFICATE)):
        return None
    try:
        context = ssl.create_default_context(cadata=login.get(AUTHORITIES))
        if login.get(CERTIFICATE):
            # There is no way to give a key but in a file.
            with tempfile.TemporaryDirectory(prefix="featurestore-") as folder:
                pem = Path(folder, "client.pem")
                pem.touch(0o600)
                pem.write_text(f"{login[CERTIFICATE]}\n{login.get(KEY, '')}")
                context.load_cert_chain(pem)
    except (ssl.SSLError, ValueError) as error:
        names = f"{AUTHORITIES}, {CERTIFICATE} and {KEY}"
        raise SpecError("TLS has no meaning", where=where, wanted=f"PEM in {names}", got=str(error)) from None
    return context
