"""How this operator runs: options, and for each an environment variable that a manifest can set."""

from __future__ import annotations

import argparse
import json
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

LogFormat = Literal["text", "json"]
MetricsAccess = Literal["open", "token"]


@dataclass(frozen=True, slots=True)
class Settings:
    """``namespaces``: those that are served; empty is all. ``identity``: name of this operator among others.

    ``port``: of probes and metrics. ``webhook_port``: None serves no webhook. ``notification_port``:
    None takes none. ``grace_s``: time from SIGTERM to the
    end. ``job_image``: of Jobs whose pipeline names none. ``job_service_account``: theirs, which needs no
    permission. ``max_jobs``: that have not ended, of all namespaces. ``max_jobs_per_namespace``: where no policy says
    how many. ``redis_image``: of managed servers. ``trust_namespaces``: they may use all that the operator may.
    ``metrics_access``: who may read the metrics. ``job_egress``: where Jobs and workers may connect, as the ``egress`` of a
    NetworkPolicy; () is everywhere.
    """

    identity: str
    kubeconfig: str | None = None
    namespaces: tuple[str, ...] = ()
    workers: int = 8
    resync_s: float = 600.0
    leader_elect: bool = True
    lease_namespace: str | None = None
    lease_name: str = "featurestore-operator"
    lease_s: int = 15
    port: int = 8080
    webhook_port: int | None = None
    notification_port: int | None = None
    grace_s: float = 25.0
    job_image: str = "featurestore-job"
    job_service_account: str = "default"
    max_jobs: int = 20
    max_jobs_per_namespace: int = 10
    redis_image: str = "redis:7.4"
    trust_namespaces: bool = False
    metrics_access: MetricsAccess = "open"
    job_egress: tuple[dict[str, Any], ...] = ()
    log_format: LogFormat = "text"
    log_level: str = "INFO"


def parse(arguments: Sequence[str], environment: Mapping[str, str]) -> Settings:
    """The settings that a command line and an environment ask for; the command line goes first.

    >>> parse(["--namespace", "a", "--no-leader-elect"], {"FEATURESTORE_OPERATOR_WORKERS": "2"}).workers
    2

    Raises:
        SystemExit: they cannot be understood, or help was asked for.
    """
    parser = argparse.ArgumentParser(
        prog="featurestore-operator",
        description="Bring every FeatureStore, DataPipeline and FeatureView to what its spec wants.",
        epilog="Each option is also read from FEATURESTORE_OPERATOR_<OPTION>, such as FEATURESTORE_OPERATOR_WORKERS.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    preset = Settings(identity=environment.get("HOSTNAME") or socket.gethostname())

    def option(flag: str, value: object, **more: object) -> None:
        name = "FEATURESTORE_OPERATOR_" + flag.strip("-").replace("-", "_").upper()
        parser.add_argument(flag, default=environment.get(name, value), **more)  # type: ignore[arg-type]

    parser.add_argument(
        "--namespace",
        action="append",
        default=[
            namespace
            for namespace in environment.get("FEATURESTORE_OPERATOR_NAMESPACE", "").split(",")
            if namespace
        ],
        help="serve this namespace; may be given again; without it all are served",
    )
    option(
        "--kubeconfig",
        environment.get("KUBECONFIG") or None,
        help="file; without it the pod's service account",
    )
    option("--identity", preset.identity, help="name of this operator among others")
    option("--workers", preset.workers, type=_positive, help="resources that are handled at the same time")
    option(
        "--resync-s",
        preset.resync_s,
        type=_seconds,
        help="look at all resources that often, though nothing happened",
    )
    parser.add_argument(
        "--leader-elect",
        action=argparse.BooleanOptionalAction,
        default=environment.get("FEATURESTORE_OPERATOR_LEADER_ELECT", "true").lower() != "false",
        help="work only while holding a Lease; saves work, safety does not need it",
    )
    option("--lease-namespace", None, help="namespace of the Lease; without it the pod's own")
    option("--lease-name", preset.lease_name, help="name of the Lease")
    option("--lease-s", preset.lease_s, type=_positive, help="time after which another operator takes over")
    option("--port", preset.port, type=int, help="port of /healthz, /readyz and /metrics")
    option(
        "--webhook-port", None, type=int, help="port of the API server's reviews; without it none are made"
    )
    option("--notification-port", None, type=int, help="port of notifications; without it none are taken")
    option("--grace-s", preset.grace_s, type=_seconds, help="time from SIGTERM to the end")
    option("--job-image", preset.job_image, help="image of Jobs whose pipeline names none")
    option("--job-service-account", preset.job_service_account, help="service account of those Jobs")
    option(
        "--max-jobs", preset.max_jobs, type=_positive, help="Jobs at once; namespaces take turns beyond that"
    )
    option(
        "--max-jobs-per-namespace",
        preset.max_jobs_per_namespace,
        type=_positive,
        help="Jobs at once of a namespace of which no FeatureStorePolicy says so",
    )
    option("--redis-image", preset.redis_image, help="image of a managed Redis that names none")
    parser.add_argument(
        "--trust-namespaces",
        action=argparse.BooleanOptionalAction,
        default=environment.get("FEATURESTORE_OPERATOR_TRUST_NAMESPACES", "false").lower() == "true",
        help="let every namespace that is served use the operator's own identity, any ServiceAccount and any image, "
        "instead of what a FeatureStorePolicy allows",
    )
    option(
        "--metrics-access",
        preset.metrics_access,
        choices=("open", "token"),
        help="who may read /metrics: everybody, or whose token the API server lets get it",
    )
    option(
        "--job-egress",
        preset.job_egress,
        type=_rules,
        help="where Jobs and workers may connect: a list in JSON, as the egress of a NetworkPolicy; without it everywhere",
    )
    option("--log-format", preset.log_format, choices=("text", "json"), help="how lines are written")
    option("--log-level", preset.log_level, choices=("DEBUG", "INFO", "WARNING", "ERROR"), help="least level")
    parsed = vars(parser.parse_args(arguments))
    return Settings(namespaces=tuple(dict.fromkeys(parsed.pop("namespace"))), **parsed)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def _rules(text: str) -> tuple[dict[str, Any], ...]:
    try:
        rules = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"is not JSON: {error}") from error
    if not isinstance(rules, list) or not all(
        isinstance(rule, dict) and rule.keys() <= _RULE for rule in rules
    ):
        raise argparse.ArgumentTypeError('must be a list of {"to": […], "ports": […]}')
    return tuple(rules)


_RULE = {"to", "ports"}


def _seconds(text: str) -> float:
    number = float(text)
    if not 0 < number < 1e9:
        raise argparse.ArgumentTypeError("must be more than 0 seconds")
    return number
