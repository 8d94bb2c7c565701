"""What one server is told when it starts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from featurestore.server.authentication import Authentication

LOOPBACK = ("127.0.0.1", "::1", "localhost")


class ServerSettings(BaseModel):
    """Options of ``featurestore serve``; a worker gets them as JSON.

    ``folder``: the project, None for what ``FEATURESTORE_URI`` names. ``port``: 0 for any that is free.
    ``timeout_s``: from a request's first byte to its answer. ``drain_s``: how long after SIGTERM new requests
    are still answered, so that load balancers see ``/readyz`` fail first. ``audit_log``: a file, or ``-`` for standard
    output. ``service_account``, ``api_server``: None for those of the pod. ``oidc_groups``: who may read, empty for all.
    ``push``: whether rows are taken.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: Path | None = None
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 6566
    workers: Annotated[int, Field(ge=1, le=256)] = 1
    threads: Annotated[int, Field(ge=1, le=256)] = 8
    max_body_bytes: Annotated[int, Field(ge=1)] = 4 << 20
    max_entities: Annotated[int, Field(ge=1)] = 10_000
    max_requests: Annotated[int, Field(ge=1)] = 1_000
    timeout_s: Annotated[float, Field(gt=0)] = 10.0
    drain_s: Annotated[float, Field(ge=0)] = 0.0
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
