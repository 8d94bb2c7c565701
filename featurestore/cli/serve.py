"""``featurestore serve``: features over HTTP, from a laptop or in a pod. Light, so that ``--help`` stays so."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from featurestore.errors import CodeError, RequestError
from featurestore.server.authentication import Authentication
from featurestore.server.server_settings import LOOPBACK, ServerSettings


def serve(
    context: typer.Context,
    host: Annotated[str, typer.Option(help="Address to listen at.")] = ServerSettings.host,
    port: Annotated[
        int, typer.Option(help="Port; 0 for any that is free.", min=0, max=65535)
    ] = ServerSettings.port,
    workers: Annotated[
        int, typer.Option(help="Processes that answer.", min=1, max=256)
    ] = ServerSettings.workers,
    max_body_bytes: Annotated[
        int, typer.Option(help="Largest body of a request.", min=1)
    ] = ServerSettings.max_body_bytes,
    max_entities: Annotated[
        int, typer.Option(help="Most entities, or pushed rows, of a request.", min=1)
    ] = ServerSettings.max_entities,
    max_requests: Annotated[
        int, typer.Option(help="Most requests at once, in each process.", min=1)
    ] = ServerSettings.max_requests,
    timeout_s: Annotated[
        float, typer.Option("--timeout", help="Seconds that a request may take.")
    ] = ServerSettings.timeout_s,
    drain_s: Annotated[
        float, typer.Option("--drain", help="Seconds after SIGTERM in which requests are still taken.")
    ] = ServerSettings.drain_s,
    keepalive_requests: Annotated[
        int,
        typer.Option(help="Requests of a connection, on average, until an answer ends it.", min=1),
    ] = ServerSettings.keepalive_requests,
    auth: Annotated[Authentication, typer.Option(help="How callers say who they are.")] = ServerSettings.auth,
    token_file: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            help="With --auth token: NAME TOKEN in each line, or NAME TOKEN push; read again when it changes."
        ),
    ] = None,
    service_account: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="With --auth kubernetes: folder with ca.crt, namespace and token; else the pod's."),
    ] = None,
    api_server: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="With --auth kubernetes: URL of the API server; else the pod's."),
    ] = None,
    oidc_issuer: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="With --auth oidc: URL of the issuer, as its tokens name it."),
    ] = None,
    oidc_audience: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="With --auth oidc: the audience that tokens must be for."),
    ] = None,
    oidc_groups: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            "--oidc-group", help="With --auth oidc: a group that may read; again for more; else all."
        ),
    ] = None,
    oidc_groups_claim: Annotated[
        str, typer.Option(help="With --auth oidc: the claim that has the groups of a caller.")
    ] = ServerSettings.oidc_groups_claim,
    oidc_ca: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            help="With --auth oidc: who signs the issuer's certificate, PEM; else whom the machine trusts."
        ),
    ] = None,
    audit_log: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="File for a line of JSON about each read; - for standard output."),
    ] = None,
    tls_cert: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Certificate, PEM; read again when it changes."),
    ] = None,
    tls_key: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Its key, PEM."),
    ] = None,
    push: Annotated[
        bool, typer.Option("--push", help="Take rows for pipelines whose source says push: POST /push/NAME.")
    ] = ServerSettings.push,
    access_log: Annotated[
        bool, typer.Option("--access-log", help="Log each request.")
    ] = ServerSettings.access_log,
) -> None:
    """Answer requests for features over HTTP, until Ctrl-C."""
    from featurestore.cli.app import settings as options

    known = {field.name for field in fields(ServerSettings)}
    given = {name: value for name, value in context.params.items() if name in known and value is not None}
    given["oidc_groups"] = tuple(oidc_groups or ())
    run_server(ServerSettings(folder=options.named_folder(), **_positive(given)))


def _positive(given: dict[str, Any]) -> dict[str, Any]:
    if given["timeout_s"] <= 0 or given["drain_s"] < 0:
        raise typer.BadParameter(
            "seconds are not negative, and a request needs some", param_hint="--timeout, --drain"
        )
    return given


def run_server(settings: ServerSettings) -> None:
    """Serve until a signal.

    Raises:
        CodeError: the packages of the server are not installed.
        RequestError: the address cannot be bound.
        NotFound: there is no store.
    """
    try:
        from featurestore.server.worker_pool import WorkerPool
        from featurestore.server.worker_process import bind, open_backend, serve
    except ImportError as error:
        hint = "pip install 'featurestore[server]'"
        raise CodeError("the packages of the server are not installed", got=str(error), hint=hint) from error
    open_backend(settings).close()
    try:
        listener = bind(settings)
    except OSError as error:
        where = f"{settings.host}:{settings.port}"
        raise RequestError("the server cannot listen there", where=where, got=str(error)) from error
    host, port = listener.getsockname()[:2]
    if settings.host not in LOOPBACK and settings.auth is Authentication.NONE:
        typer.echo("WARNING: whoever reaches this address can read every feature: see --auth", err=True)
    scheme = "http" if settings.tls_cert is None else "https"
    shown = f"[{host}]" if ":" in host else host
    typer.echo(
        f"features at {scheme}://{shown}:{port}, until Ctrl-C; what can be asked: /openapi.json", err=True
    )
    with listener:
        if settings.workers == 1:
            serve(settings, listener)
        else:
            WorkerPool(settings, listener).run()
