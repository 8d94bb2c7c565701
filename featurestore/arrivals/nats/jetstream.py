"""One stream of JetStream as its servers tell of it: which one it is, and where it begins and ends.

https://docs.nats.io/reference/reference-protocols/nats_api_reference. A stream is one partition.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from featurestore.arrivals.nats.login import NatsLogin
from featurestore.arrivals.nats.nats_connection import ANSWER_S, NatsConnection, connection
from featurestore.arrivals.position import Position
from featurestore.arrivals.streams.stream_client import Found, Look
from featurestore.errors import StorageError
from featurestore.resources.nats import Nats

NO_STREAM, NO_MESSAGE = 10059, 10037
"""Codes of errors, https://github.com/nats-io/nats-server/blob/main/server/errors.json"""


class StreamOfNats:
    """``environ``: has what it takes to log in; None for the process's own environment."""

    def __init__(self, nats: Nats, environ: Mapping[str, str] | None) -> None:
        self._nats, self.where = nats, nats.place
        self._login = NatsLogin.of(environ)

    @property
    def connection(self) -> NatsConnection:
        return connection(self._nats.servers, self._login)

    def look(self) -> Look | None:
        """See :class:`featurestore.arrivals.streams.stream_client.StreamClient`.

        Raises:
            StorageError: no server answered, or messages do not stay in the stream when somebody took them.
        """
        info = self._ask(f"STREAM.INFO.{self._nats.stream}", {})
        if info is None:
            return None
        if (retention := info["config"].get("retention", "limits")) != "limits":
            raise StorageError(
                "messages leave the stream when somebody took them",
                where=self.where,
                wanted="a stream with retention limits",
                got=retention,
            )
        state = info["state"]
        end = int(state["last_seq"]) + 1
        if self._nats.subject is not None:
            last = self._ask(f"STREAM.MSG.GET.{self._nats.stream}", {"last_by_subj": self._nats.subject})
            end = 0 if last is None else int(last["message"]["seq"]) + 1
        begin = int(state["first_seq"])
        made = datetime.fromisoformat(info["created"])
        # An empty stream that has not had a message is not there yet.
        return Look(f"nats://{self._nats.stream}/{_identity(made)}", {0: begin}, {0: 0 if end == 1 else end})

    def grown(self) -> Mapping[str, Found]:
        look = self.look()
        return {f"{look.uri}/{partition}": end for partition, end in look.ends.items()} if look else {}

    def since(self, look: Look, partitions: Sequence[int], milliseconds: int) -> Mapping[int, Found]:
        """A reader that begins there says where that is."""
        start = datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=milliseconds)
        config = {
            "deliver_policy": "by_start_time",
            "opt_start_time": start.isoformat().replace("+00:00", "Z"),
            **self.reader,
        }
        begins: dict[int, Found] = {}
        for partition in partitions:
            consumer = self._ask(
                f"CONSUMER.CREATE.{self._nats.stream}", {"stream_name": self._nats.stream, "config": config}
            )
            if consumer is None:
                continue
            self._ask(f"CONSUMER.DELETE.{self._nats.stream}.{consumer['name']}", {})
            begins[partition] = (
                int(consumer["delivered"]["stream_seq"]) + 1 if consumer["num_pending"] else -1
            )
        return begins

    @property
    def reader(self) -> dict[str, Any]:
        """What a consumer is told that nobody keeps: nothing is acknowledged."""
        return {
            "ack_policy": "none",
            "inactive_threshold": 60_000_000_000,
            "mem_storage": True,
            "num_replicas": 1,
            **({"filter_subject": self._nats.subject} if self._nats.subject else {}),
        }

    def count(self, first: int, end: int, most: int) -> tuple[int, int]:
        counted = min(end - first, most)
        return counted, first + counted

    def span(self, position: Position) -> str:
        return f"sequence numbers {position.first} to {position.end - 1}"

    def _ask(self, api: str, body: Mapping[str, Any]) -> dict[str, Any] | None:
        """The answer; None if there is no such stream or message."""
        from nats.errors import NoRespondersError

        async def asked(client: Any) -> Any:
            try:
                return await client.request(f"$JS.API.{api}", json.dumps(body).encode(), timeout=ANSWER_S)
            except NoRespondersError:
                raise StorageError(
                    "NATS has no JetStream", where=self.where, wanted="a server with jetstream"
                ) from None

        answer: dict[str, Any] = json.loads(self.connection.run(asked, self.where).data)
        error = answer.get("error")
        if error is None:
            return answer
        if error.get("err_code") in (NO_STREAM, NO_MESSAGE):
            return None
        raise StorageError("JetStream refused", where=self.where, got=str(error.get("description")))


def _identity(made: datetime) -> str:
    return made.astimezone(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
