"""The two servers that features are stored in: S3 and Redis, for this machine or for the pods of a node."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster.binaries import built, installed
from server import free_port, serving

_ACCOUNT = {"ROOT_ACCESS_KEY": "tests", "ROOT_SECRET_KEY": "tests-only"}


@contextmanager
def s3(folder: Path, address: str = "127.0.0.1") -> Iterator[dict[str, str]]:
    """An S3 server: the environment that points s3fs, deltalake and polars at it.

    Raises:
        MissingError: versitygw was not built.
    """
    port = free_port()
    command = [built("versitygw"), "--port", f"{address}:{port}", "--quiet", "posix", folder]
    with serving(command, port, folder.with_suffix(".log"), _ACCOUNT, address):
        yield {
            "AWS_ACCESS_KEY_ID": _ACCOUNT["ROOT_ACCESS_KEY"],
            "AWS_SECRET_ACCESS_KEY": _ACCOUNT["ROOT_SECRET_KEY"],
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": f"http://{address}:{port}",
            "AWS_ALLOW_HTTP": "true",
        }


@contextmanager
def redis(folder: Path, address: str = "127.0.0.1") -> Iterator[str]:
    """URL of a Redis server that keeps nothing on disk.

    Raises:
        MissingError: redis-server is not installed.
    """
    port = free_port()
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
    command += ["--protected-mode", "no"]
    with serving(command, port, folder.with_suffix(".log"), address=address):
        yield f"redis://{address}:{port}"
