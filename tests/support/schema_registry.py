"""A registry of schemas, as Confluent's answers ``GET /schemas/ids/N``, and values that begin with the number of theirs."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any

import fastavro
from http_server import answering


class Registry:
    """``answers``: by number, what the registry tells. ``logins``: how those who asked said who they are."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.answers: dict[int, dict[str, Any]] = {}
        self.logins: list[str | None] = []
        self.is_down = False

    def add(self, schema: dict[str, Any], **more: Any) -> int:
        number = len(self.answers) + 1
        self.answers[number] = {"schema": json.dumps(schema), **more}
        return number

    def add_protobuf(self, file: bytes, **more: Any) -> bytes:
        """What values begin with whose message is declared in this file: the number of its schema, without message indexes."""
        number = self.add({})
        text = base64.b64encode(file).decode()
        self.answers[number] = {"schema": text, "schemaType": "PROTOBUF", **more}
        return b"\0" + number.to_bytes(4)

    def value(self, number: int, row: dict[str, Any]) -> bytes:
        """The row as its writer writes it."""
        return b"\0" + number.to_bytes(4) + encoded(json.loads(self.answers[number]["schema"]), row)


def encoded(schema: dict[str, Any], row: dict[str, Any]) -> bytes:
    sink = io.BytesIO()
    fastavro.schemaless_writer(sink, fastavro.parse_schema(schema), row)
    return sink.getvalue()


@contextmanager
def schema_registry() -> Iterator[Registry]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            registry.logins.append(self.headers.get("Authorization"))
            number, _, query = self.path.removeprefix("/schemas/ids/").partition("?")
            answer = registry.answers.get(int(number)) if number.isdigit() else None
            if answer is not None and answer.get("schemaType") == "PROTOBUF" and query != "format=serialized":
                answer = {**answer, "schema": "syntax = 'proto3'; // as people read it"}
            self.send_response(503 if registry.is_down else 404 if answer is None else 200)
            self.end_headers()
            self.wfile.write(json.dumps(answer or {"error_code": 40403}).encode())

        def log_message(self, *_: Any) -> None: ...

    with answering(Handler) as port:
        registry = Registry(port)
        yield registry
