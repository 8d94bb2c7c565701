"""A program that reads what is online, in each of the ways in which programs do."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from featurestore.client.answers import Answer
from featurestore.client.connection import Store
from featurestore.client.feature_reader import FeatureReader
from featurestore.errors import RequestError, StorageError
from featurestore.registry.project import open_project
from featurestore.resources.value import ColumnType
from featurestore.server.application import Application
from featurestore.server.audit_log import AuditLog
from featurestore.server.backend import Backend
from featurestore.server.caller import Anonymous
from featurestore.server.measurements import Measurements
from featurestore.server.server_settings import ServerSettings
from featurestore.views.value_column import ArrowColumn

WAYS = ("prepared", "awaited", "get_features", "json", "arrow")
_ANY_SIZE = ServerSettings(threads=1, max_body_bytes=1 << 30, max_entities=1 << 30, timeout_s=600)
_ERRORS = {422: RequestError, 503: StorageError}
_FLOATS = (ColumnType.FLOAT32, ColumnType.FLOAT64)
_FLOAT_LISTS = (ColumnType.LIST_FLOAT32, ColumnType.LIST_FLOAT64)
Value = tuple[Any, str, datetime | None]
"""A value as Python has it, its status and its event time."""


class Read(NamedTuple):
    """``values``: by column, of each entity. ``commits``: by view."""

    values: dict[str, list[Value]]
    commits: dict[str, int]


class OnlineClient:
    """Reads the store at a storage root, in this process; over HTTP by the application without a socket.

    ``now_us``: the time that it reads for. Readers and the application are kept, as those of a program are.
    """

    def __init__(self, root: str, *, full_feature_names: bool = False) -> None:
        self.now_us = 0
        self._full_feature_names = full_feature_names
        self._store = Store(open_project(root, {}, Path("/")), clock_us=lambda: self.now_us)
        self._readers: dict[tuple[str, ...], FeatureReader] = {}
        self._backend = Backend(self._store, _ANY_SIZE, Measurements(), Anonymous(), AuditLog(None))
        self._application = Application(self._backend)

    def read(
        self, way: str, features: Sequence[str], kinds: Mapping[str, ColumnType], rows: pa.Table
    ) -> Read:
        """What one of the ``WAYS`` answers. ``kinds``: types of the columns. ``rows``: the entities.

        Raises:
            StorageError: the client raises it, or the server says 503.
            RequestError: the client raises it, or the server says 422.
        """
        match way:
            case "prepared":
                return _of_answer(self._reader(features).read(rows.to_pydict()))
            case "awaited":
                return _of_answer(asyncio.run(self._awaited(features, rows.to_pylist())))
            case "get_features":
                return self._get_features(features, kinds, rows)
            case "json":
                return _of_json(json.loads(self._ask(features, rows, "application/json")), kinds)
            case _:
                return _of_arrow(self._ask(features, rows, "application/vnd.apache.arrow.stream"), kinds)

    def _reader(self, features: Sequence[str]) -> FeatureReader:
        key = tuple(features)
        if key not in self._readers:
            self._readers[key] = self._store.reader(
                list(features), full_feature_names=self._full_feature_names, timeout=600
            )
        return self._readers[key]

    async def _awaited(self, features: Sequence[str], rows: list[dict[str, Any]]) -> Answer:
        reader = self._reader(features)
        try:
            return await reader.read_async(rows)
        finally:
            await reader.aclose()

    def _get_features(self, features: Sequence[str], kinds: Mapping[str, ColumnType], rows: pa.Table) -> Read:
        result = self._store.get_features(
            list(features), rows, full_feature_names=self._full_feature_names, include_event_timestamps=True
        )
        table = result.to_arrow()
        statuses = {name: list(map(str, column)) for name, column in result.statuses().items()}
        return Read(_of_table(table, kinds, statuses), dict(result.commits))

    def _ask(self, features: Sequence[str], rows: pa.Table, accepted: str) -> bytes:
        body = {
            "features": list(features),
            "entities": rows.to_pydict(),
            "full_feature_names": self._full_feature_names,
            "statuses": True,
            "event_timestamps": True,
        }
        status, content = asyncio.run(self._answered(json.dumps(body).encode(), accepted))
        if status in _ERRORS:
            raise _ERRORS[status](json.loads(content)["detail"])
        assert status == 200, content
        return content

    async def _answered(self, body: bytes, accepted: str) -> tuple[int, bytes]:
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": "/v1/features", "query_string": b""}
        try:
            await self._application({**scope, "headers": [(b"accept", accepted.encode())]}, receive, send)
        finally:
            # Connections are of a loop, and this one ends.
            for kept in self._backend._readers.values():
                await kept.reader.aclose()
        head, *rest = sent
        return head["status"], b"".join(each["body"] for each in rest)


def _of_answer(answer: Answer) -> Read:
    values, statuses, times = answer.to_dict(), answer.statuses(), answer.event_times()
    return Read(
        {
            name: [
                (value, str(status), None if np.isnat(time) else time.item().replace(tzinfo=UTC))
                for value, status, time in zip(column, statuses[name], times[name], strict=True)
            ]
            for name, column in values.items()
        },
        dict(answer.commits),
    )


def _of_arrow(content: bytes, kinds: Mapping[str, ColumnType]) -> Read:
    table = pa.ipc.open_stream(content).read_all()
    statuses = {name: table.column(f"{name}__status").to_pylist() for name in kinds}
    return Read(_of_table(table, kinds, statuses), json.loads(table.schema.metadata[b"commits"]))


def _of_table(
    table: pa.Table, kinds: Mapping[str, ColumnType], statuses: Mapping[str, list[str]]
) -> dict[str, list[Value]]:
    def listed(name: str, kind: ColumnType) -> list[Any]:
        return ArrowColumn(kind, table.column(name).combine_chunks(), np.zeros(0, np.uint8)).to_list()

    return {
        name: list(
            zip(listed(name, kind), statuses[name], listed(f"{name}__ts", ColumnType.TIMESTAMP), strict=True)
        )
        for name, kind in kinds.items()
    }


def _of_json(answer: dict[str, Any], kinds: Mapping[str, ColumnType]) -> Read:
    assert answer["features"].keys() == answer["statuses"].keys() == kinds.keys()
    values = {
        name: [
            (_value(value, kind), status, _value(time, ColumnType.TIMESTAMP))
            for value, status, time in zip(
                answer["features"][name],
                answer["statuses"][name],
                answer["event_timestamps"][name],
                strict=True,
            )
        ]
        for name, kind in kinds.items()
    }
    assert {len(column) for column in values.values()} <= {answer["rows"]}
    return Read(values, answer["commits"])


def _value(value: Any, kind: ColumnType) -> Any:
    """As docs/serving.md says that values are written."""
    if value is None:
        return None
    if kind is ColumnType.TIMESTAMP:
        return datetime.fromisoformat(value)
    if kind is ColumnType.DATE:
        return date.fromisoformat(value)
    if kind is ColumnType.BYTES:
        return base64.b64decode(value)
    if kind in _FLOATS:
        return float(value)
    if kind in _FLOAT_LISTS:
        return [None if each is None else float(each) for each in value]
    return value
