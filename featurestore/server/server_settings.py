"""What one server is told when it starts. Without pydantic: the command line takes its defaults from here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from featurestore.server.authentication import Authentication

LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """Options of ``featurestore serve``, which says what each may be; a worker gets them as JSON.

    ``folder``: the project, None for what ``FEATURESTORE_URI`` names. ``port``: 0 for any that is free.
    ``timeout_s``: from a request's first byte to its answer. ``drain_s``: how long after SIGTERM new requests
    are still answered, so that load balancers see ``/readyz`` fail first. ``keepalive_requests``: how many requests a
    connection has on average, until an answer ends it. ``audit_log``: a file, or ``-`` for standard
    output. ``service_account``, ``api_server``: None for those of the pod. ``oidc_groups``: who may read, empty for all.
    ``push``: whether rows are taken.
    """

    folder: Path | None = None
    host: str = "127.0.0.1"
    port: int = 6566
    workers: int = 1
    threads: int = 8
    max_body_bytes: int = 4 << 20
    max_entities: int = 10_000
    max_requests: int = 1_000
    timeout_s: float = 10.0
    drain_s: float = 0.0
    keepalive_requests: int = 1_000
    access_log: bool = False
    audit_log: Path | None = None
    auth: Authentication = Authentication.NONE
    token_file: Path | None = None
    service_account: Path | None = None
    api_server: str | None = None
    oidc_issuer: str | None = None
    oidc_audience: str | None = None
    oidc_groups_claim: str = "groups"
    oidc_groups: tuple[str, ...] = ()
    oidc_ca: Path | None = None
    push: bool = False
    tls_cert: Path | None = None
    tls_key: Path | None = None
