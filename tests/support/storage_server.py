"""The two servers that features are stored in: S3 and Redis, for this machine or for the pods of a node."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster.binaries import MissingError, built, installed
from server import Server, free_port, serving
from unavailable import unavailable


@contextmanager
def s3(
    folder: Path,
    address: str = "127.0.0.1",
    account: str = "tests",
    port: int | None = None,
    events_to: str = "",
    accounts: Path | None = None,
) -> Iterator[dict[str, str]]:
    """An S3 server with one account: the environment that points s3fs, deltalake and polars at it.

    ``port``: where it was before, with the same folder. ``events_to``: a URL that it posts its events to, or
    ``nats://HOST:PORT/SUBJECT`` or ``kafka://HOST:PORT/TOPIC``. ``accounts``: an empty folder for further accounts,
    each of which has buckets of its own.

    Raises:
        MissingError: versitygw was not built.
    """
    with s3_process(folder, address, account, port, events_to, accounts) as (_, environment):
        yield environment


@contextmanager
def s3_process(
    folder: Path,
    address: str = "127.0.0.1",
    account: str = "tests",
    port: int | None = None,
    events_to: str = "",
    accounts: Path | None = None,
) -> Iterator[tuple[Server, dict[str, str]]]:
    """As ``s3``, with the server's process: for tests that make it slow."""
    port = port or free_port()
    command = [built("versitygw"), "--port", f"{address}:{port}", "--quiet"]
    command += _events(events_to)
    command += ["--iam-dir", accounts] if accounts is not None else []
    command += ["posix", folder]
    keys = {"ROOT_ACCESS_KEY": account, "ROOT_SECRET_KEY": f"{account}-only"}
    with serving(command, port, folder.with_suffix(".log"), keys, address) as server:
        yield (
            server,
            {
                "AWS_ACCESS_KEY_ID": keys["ROOT_ACCESS_KEY"],
                "AWS_SECRET_ACCESS_KEY": keys["ROOT_SECRET_KEY"],
                "AWS_REGION": "us-east-1",
                "AWS_DEFAULT_REGION": "us-east-1",
                "AWS_ENDPOINT_URL": f"http://{address}:{port}",
            },
        )


def _events(to: str) -> list[str]:
    """How the server is told where its events go."""
    place, _, name = to.partition("://")[2].rpartition("/")
    if to.startswith("nats://"):
        return ["--event-nats-url", f"nats://{place}", "--event-nats-topic", name]
    if to.startswith("kafka://"):
        return ["--event-kafka-url", place, "--event-kafka-topic", name]
    return ["--event-webhook-url", to] if to else []


@contextmanager
def buckets(folder: Path, *names: str) -> Iterator[dict[str, str]]:
    """As ``s3`` with these buckets; without the server, the test is reported as not run."""
    for name in names:
        # A bucket is a folder of the server's.
        (folder / name).mkdir(parents=True)
    try:
        with s3(folder) as credentials:
            yield credentials
    except MissingError as missing:
        unavailable(missing)


@contextmanager
def redis(
    folder: Path, address: str = "127.0.0.1", password: str = "", port: int | None = None
) -> Iterator[str]:
    """URL of a Redis server that keeps nothing on disk. ``password``: what it asks for, if anything.

    ``port``: where one was before.

    Raises:
        MissingError: redis-server is not installed.
    """
    with redis_process(folder, address, password, port) as (_, url):
        yield url


@contextmanager
def redis_process(
    folder: Path, address: str = "127.0.0.1", password: str = "", port: int | None = None
) -> Iterator[tuple[Server, str]]:
    """As ``redis``, with the server's process: for tests that kill it."""
    port = port or free_port()
    command = [
        installed("redis-server"),
        "--port",
        str(port),
        "--bind",
        address,
        "--save",
        "",
        "--dir",
        folder,
    ]
    command += ["--protected-mode", "no", "--requirepass", password]
    with serving(command, port, folder.with_suffix(".log"), address=address) as server:
        yield server, f"redis://{address}:{port}"
