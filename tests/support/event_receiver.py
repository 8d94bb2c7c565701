"""Who is told of commits: keeps what was posted, and answers as it is told to."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Receiver:
    """``requests``: what was posted. ``answer``: the status of what comes next. ``refuses``: a source."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.answer = 202
        self.refuses = ""
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                receiver.requests.append({"headers": dict(self.headers), "body": body})
                refused = json.loads(body)["source"] == receiver.refuses
                self.send_response(400 if refused else receiver.answer)
                self.send_header("Location", f"{receiver.url}elsewhere")
                self.end_headers()

            def log_message(self, *_: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"

    @property
    def ids(self) -> list[str]:
        return [json.loads(request["body"])["id"] for request in self.requests]


@contextmanager
def event_receiver() -> Iterator[Receiver]:
    started = Receiver()
    thread = threading.Thread(target=started.server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield started
    finally:
        started.server.shutdown()
        started.server.server_close()
        thread.join()
