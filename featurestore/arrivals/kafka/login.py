"""What a client of Kafka is told, so that the brokers let it in: from variables of the environment or keys of a Secret.

Of these, only what is listed here is passed on. Whoever may write a Secret could otherwise have the operator read its own
files, or load a library, by options of librdkafka.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from featurestore.errors import SpecError, did_you_mean

PROTOCOL, MECHANISM = "KAFKA_SECURITY_PROTOCOL", "KAFKA_SASL_MECHANISM"
USERNAME, PASSWORD = "KAFKA_SASL_USERNAME", "KAFKA_SASL_PASSWORD"
AUTHORITIES, CERTIFICATE = "KAFKA_SSL_CA", "KAFKA_SSL_CERTIFICATE"
KEY, KEY_PASSWORD = "KAFKA_SSL_KEY", "KAFKA_SSL_KEY_PASSWORD"
OPTIONS = {
    MECHANISM: "sasl.mechanism",
    USERNAME: "sasl.username",
    PASSWORD: "sasl.password",
    AUTHORITIES: "ssl.ca.pem",
    CERTIFICATE: "ssl.certificate.pem",
    KEY: "ssl.key.pem",
    KEY_PASSWORD: "ssl.key.password",
}
_OF_LOGINS = ("KAFKA_SECURITY_", "KAFKA_SASL_", "KAFKA_SSL_")
_PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


def login(environ: Mapping[str, str] | None, where: str) -> dict[str, str]:
    """Options of librdkafka. ``environ``: None for the process's own environment.

    A password is sent without TLS only if the protocol that is named says so.

    >>> login({"KAFKA_SASL_USERNAME": "ann", "KAFKA_SASL_PASSWORD": "x"}, "")["security.protocol"]
    'SASL_SSL'

    Raises:
        SpecError: a protocol or a mechanism that there is not, or a key of a Secret that only seems to be heeded.
    """
    if environ is not None:
        _require_heeded(environ, where)
    known = os.environ if environ is None else environ
    options = {option: known[name] for name, option in OPTIONS.items() if known.get(name)}
    protocol = known.get(PROTOCOL) or _protocol(options)
    _require(PROTOCOL, protocol, _PROTOCOLS, where)
    if protocol.startswith("SASL"):
        options.setdefault("sasl.mechanism", "SCRAM-SHA-512")
        _require(MECHANISM, options["sasl.mechanism"], _MECHANISMS, where)
    else:
        options = {name: value for name, value in options.items() if not name.startswith("sasl.")}
    return {"security.protocol": protocol, **options}


def _protocol(options: Mapping[str, str]) -> str:
    if "sasl.username" in options:
        return "SASL_SSL"
    return "SSL" if any(name.startswith("ssl.") for name in options) else "PLAINTEXT"


def _require(name: str, value: str, known: tuple[str, ...], where: str) -> None:
    if value not in known:
        raise SpecError(
            f"{name} has a value that is not known", where=where, wanted=", ".join(known), got=repr(value)
        )


def _require_heeded(environ: Mapping[str, str], where: str) -> None:
    """Raises SpecError if a key of the Secret is named like those of a login, and is none of them."""
    heeded = (PROTOCOL, *OPTIONS)
    unknown = sorted(name for name in environ if name.startswith(_OF_LOGINS) and name not in heeded)
    if unknown:
        raise SpecError(
            "the Secret has a key that no login to Kafka takes",
            where=where,
            wanted=", ".join(heeded),
            got=", ".join(unknown),
            hint=did_you_mean(unknown[0], heeded),
        )
