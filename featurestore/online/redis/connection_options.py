"""What a connection to Redis is made with: names, passwords and certificates of the environment, never of a URL."""

from __future__ import annotations

import atexit
import os
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from tempfile import mkstemp
from typing import Any

from featurestore.errors import CodeError

USERNAME, PASSWORD = "REDIS_USERNAME", "REDIS_PASSWORD"
SENTINEL_USERNAME, SENTINEL_PASSWORD = "REDIS_SENTINEL_USERNAME", "REDIS_SENTINEL_PASSWORD"
CA, CERTIFICATE, KEY = "REDIS_CA", "REDIS_CERTIFICATE", "REDIS_KEY"
"""PEM: whom to trust, and who we are if the server asks."""


def login(environ: Mapping[str, str], username: str = USERNAME, password: str = PASSWORD) -> dict[str, Any]:
    """Options of redis-py."""
    return {"username": environ.get(username) or None, "password": environ.get(password) or None}


def tls(environ: Mapping[str, str]) -> dict[str, Any]:
    """Options of redis-py for connections with TLS: without a CA, those of the system are trusted."""
    options: dict[str, Any] = {"ssl_ca_data": environ.get(CA) or None, "ssl_check_hostname": True}
    for option, name in (("ssl_certfile", CERTIFICATE), ("ssl_keyfile", KEY)):
        if pem := environ.get(name):
            options[option] = _file_with(pem)
    return options


def package(name: str) -> Any:
    """A module of redis-py.

    Raises:
        CodeError: it is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise CodeError(
            "the online store in Redis needs a package that is not installed",
            where="FeatureStore spec.online.redis",
            got=str(error),
            hint="pip install 'featurestore[redis]'",
        ) from error


def retry_once(name: str) -> Any:
    """For one of the packages of redis-py: over a new connection, if the server closed the kept one; else callers are told."""
    no_backoff, disconnected = (
        package("redis.backoff").NoBackoff(),
        package("redis.exceptions").ConnectionError,
    )
    return package(f"{name}.retry").Retry(no_backoff, 1, supported_errors=(disconnected,))


@cache
def _file_with(pem: str) -> str:
    """Its path, until this process ends. Nobody else reads it. Python takes a client's certificate from files alone."""
    descriptor, path = mkstemp(prefix="featurestore-", suffix=".pem")
    with os.fdopen(descriptor, "w") as file:
        file.write(pem)
    atexit.register(_remove, path, os.getpid())
    return path


def _remove(path: str, pid: int) -> None:
    # A process that was forked from it ends earlier.
    if os.getpid() == pid:
        with suppress(OSError):
            Path(path).unlink()
