"""What all tests share: storage roots of every kind, a Redis server, processes that are killed.

Servers are real, start once a session on free loopback ports, and end with it.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Protocol

import cloud_server
import hypothesis
import pytest
import storage_server
from cluster.binaries import MissingError
from examples import examples, exhaustive
from forked_process import forking
from kafka_broker import Broker, broker
from nats_server import NatsServer, nats_server
from postgres_server import PostgresServer, postgres_server
from unavailable import unavailable

from featurestore.storage.filesystem import filesystem
from featurestore.storage.objects import Storage

pytest_plugins = ["cluster.fixtures"]
# What runs where Feast is installed, which is not here.
collect_ignore = ["support/feast_answers.py", "support/feast_client.py", "support/platforms"]
if not os.environ.get("FRAMEWORKS"):
    # `make test-frameworks` brings what they need.
    collect_ignore.append("frameworks")

# An example may take as long as it likes: on a busy machine the first one loads libraries for more than 0.2 s.
# `make test` tries the same examples each time, so that it fails for what was changed; `make test-all` tries others.
hypothesis.settings.register_profile(
    "any machine", deadline=None, derandomize=not exhaustive(), max_examples=examples(100)
)
hypothesis.settings.load_profile("any machine")


# What libraries and tests are made of is there to the end: looking through it whenever memory is collected takes a sixth
# of the time.
gc.disable()
# Extensions look for what is left when Python ends, and call it a leak.
atexit.register(gc.unfreeze)


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
    gc.enable()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None]:
    """Fork the Pythons that a test starts, and those that are started for it, unless it is marked ``new_process``."""
    with forking() if item.get_closest_marker("new_process") is None else nullcontext():
        yield


class RunPython(Protocol):
    """Runs Python in a process of its own; with ``kill_at``, asserts that it was killed at that step."""

    def __call__(
        self, *arguments: str, kill_at: str | None = None, timeout_s: float = 600
    ) -> subprocess.CompletedProcess[str]: ...


@contextmanager
def environment_of(server: AbstractContextManager[dict[str, str]]) -> Iterator[dict[str, str]]:
    """What the server says of itself, which is the environment meanwhile. Whoever needs a server that is not built is
    told so.
    """
    try:
        with pytest.MonkeyPatch.context() as environment, server as settings:
            for name, value in settings.items():
                environment.setenv(name, value)
            yield settings
    except MissingError as missing:
        unavailable(missing)


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of an S3 server. The environment points s3fs, deltalake and polars at it, for the whole session."""
    with environment_of(storage_server.s3(tmp_path_factory.mktemp("s3"))) as settings:
        filesystem("s3://features")[0].mkdir("features")
        yield settings["AWS_ENDPOINT_URL"]


@pytest.fixture(scope="session")
def azure_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of an Azurite. The environment points obstore, delta-rs and Polars at it, for the whole session."""
    with environment_of(cloud_server.azure(tmp_path_factory.mktemp("azure"), "features")) as settings:
        yield settings["AZURITE_BLOB_STORAGE_URL"]


@pytest.fixture(scope="session")
def gcs_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a server of Google's Cloud Storage, as ``azure_server``."""
    with environment_of(cloud_server.gcs(tmp_path_factory.mktemp("gcs"), "features")) as settings:
        yield str(json.loads(settings["GOOGLE_SERVICE_ACCOUNT_KEY"])["gcs_base_url"])


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a Redis server that keeps nothing on disk."""
    try:
        with storage_server.redis(tmp_path_factory.mktemp("redis")) as url:
            yield url
    except MissingError as missing:
        unavailable(missing)


@pytest.fixture(scope="session")
def kafka_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker of Kafka. Each test has topics of its own on it."""
    try:
        with broker(tmp_path_factory.mktemp("kafka")) as started:
            yield started
    except MissingError as missing:
        unavailable(missing)


@pytest.fixture(scope="session")
def nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """A server of NATS. Each test has streams of its own on it."""
    try:
        with nats_server(tmp_path_factory.mktemp("nats")) as started:
            yield started
    except MissingError as missing:
        unavailable(missing)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A server of PostgreSQL. Each test has tables of its own on it."""
    try:
        with postgres_server(tmp_path_factory.mktemp("postgres")) as started:
            yield started
    except MissingError as missing:
        unavailable(missing)


@pytest.fixture
def redis_url(redis_server: str) -> str:
    """URL of a database of the Redis server, empty at the start of each test."""
    import redis

    url = f"{redis_server}/0"
    with redis.Redis.from_url(url) as client:
        client.flushall()
    return url


@pytest.fixture
def local_root(tmp_path: Path) -> str:
    return str(tmp_path / "root")


@pytest.fixture
def s3_root(s3_server: str) -> str:
    return f"s3://features/{uuid.uuid4().hex}"


@pytest.fixture
def azure_root(azure_server: str) -> str:
    return f"az://features/{uuid.uuid4().hex}"


@pytest.fixture
def gcs_root(gcs_server: str) -> str:
    return f"gs://features/{uuid.uuid4().hex}"


@pytest.fixture(params=["local", "s3"])
def storage_root(request: pytest.FixtureRequest) -> str:
    """An empty storage root, once in a local folder and once in object storage."""
    return str(request.getfixturevalue(f"{request.param}_root"))


@pytest.fixture
def storage(storage_root: str) -> Storage:
    return Storage(storage_root)


@pytest.fixture
def run_python() -> RunPython:
    def run(
        *arguments: str, kill_at: str | None = None, timeout_s: float = 600
    ) -> subprocess.CompletedProcess[str]:
        environment = {key: value for key, value in os.environ.items() if key != "FEATURESTORE_KILL_AT"}
        if kill_at:
            environment["FEATURESTORE_KILL_AT"] = kill_at
        done = subprocess.run(
            [sys.executable, *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        expected = -signal.SIGKILL if kill_at else 0
        assert done.returncode == expected, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    return run
