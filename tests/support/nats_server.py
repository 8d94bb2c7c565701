"""A real server of NATS with JetStream, and streams on it that tests write to."""

from __future__ import annotations

import asyncio
import json
import ssl
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cluster.binaries import built
from nats.aio.client import Client
from server import Server, accepts, free_port

_SETTINGS = """
listen: "{host}:{port}"
jetstream {{ store_dir: "{folder}/jetstream", max_mem: 64M, max_file: 1G }}
{more}
"""


class NatsServer:
    """``address``: as ``host:port``. ``login``: user and password of tests, and the authority of its certificate."""

    def __init__(self, folder: Path, more: str = "", host: str = "127.0.0.1") -> None:
        port = free_port()
        self.address = f"{host}:{port}"
        self.login: dict[str, str] = {}
        settings = _SETTINGS.format(host=host, port=port, folder=folder, more=more)
        (folder / "nats.conf").write_text(settings)
        self.server = Server(
            [built("nats-server"), "-c", folder / "nats.conf"],
            folder / "nats.log",
            lambda: accepts(port, host),
        )

    def stream(self, **config: Any) -> NatsStream:
        """A new stream. ``config``: as nats-py has it."""
        found = NatsStream(self, f"events-{uuid.uuid4().hex[:8]}")
        found.create(**config)
        return found

    def publish(self, subject: str, body: bytes) -> None:
        """To whoever listens now."""

        async def sent(client: Any) -> None:
            await client.publish(subject, body)
            await client.flush()

        self.ask(sent)

    def ask(self, asked: Any) -> Any:
        """What ``asked(client)`` gives."""
        options: dict[str, Any] = dict(self.login)
        if authority := options.pop("authority", None):
            options |= {"tls": ssl.create_default_context(cadata=authority), "tls_hostname": "localhost"}

        async def answered() -> Any:
            client = Client()
            await client.connect(f"nats://{self.address}", **options)
            try:
                return await asked(client)
            finally:
                await client.close()

        return asyncio.run(answered())


class NatsStream:
    """A stream that a test writes to. It has the subjects below its name."""

    kind = "nats"

    def __init__(self, server: NatsServer, name: str) -> None:
        self.server, self.name = server, name

    def create(self, **config: Any) -> None:
        async def made(client: Any) -> None:
            await client.jetstream().add_stream(name=self.name, subjects=[f"{self.name}.>"], **config)

        self.server.ask(made)

    def delete(self) -> None:
        async def deleted(client: Any) -> None:
            await client.jetstream().delete_stream(self.name)

        self.server.ask(deleted)

    def send(self, *values: Any, subject: str = "a", headers: Mapping[str, str] | None = None) -> None:
        """Messages in the order of the values; bytes as they are, None as nothing, all else as JSON."""

        async def sent(client: Any) -> None:
            js = client.jetstream()
            for value in values:
                data = (
                    value
                    if isinstance(value, bytes)
                    else b""
                    if value is None
                    else json.dumps(value).encode()
                )
                await js.publish(f"{self.name}.{subject}", data, headers=dict(headers) if headers else None)

        self.server.ask(sent)

    def delete_first(self, count: int) -> None:
        """What retention does, at once: of all that ever were, the first so many are gone."""

        async def purged(client: Any) -> None:
            await client.jetstream().purge_stream(self.name, seq=count + 1)

        self.server.ask(purged)

    def delete_one(self, number: int) -> None:
        """The message with this number, from 1."""

        async def deleted(client: Any) -> None:
            await client.jetstream().delete_msg(self.name, number)

        self.server.ask(deleted)

    def source(self, **more: Any) -> dict[str, Any]:
        """``spec.source`` of a pipeline that reads it."""
        return {"nats": {"servers": self.server.address, "stream": self.name, "format": "JSON", **more}}


@contextmanager
def nats_server(folder: Path, more: str = "", host: str = "127.0.0.1") -> Iterator[NatsServer]:
    """A server, until the end of the block. ``more``: of its settings. ``host``: the address that it listens at.

    Raises:
        MissingError: it was not built.
    """
    found = NatsServer(folder, more, host)
    found.server.start()
    try:
        yield found
    finally:
        found.server.kill()
