"""A web server with a folder of files in memory, which tells of them what a test lets it tell."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler
from typing import Any

from http_server import answering

ALL = frozenset({"etag", "modified", "size", "ranges", "head"})


class WebFolder:
    """``files``: path to bytes. ``tells``: of :data:`ALL`. ``status``: path to what is answered instead of the file.

    ``requests``: method, path and status of each. ``serves``: what is called before an answer, with method and path.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.tells = ALL
        self.status: dict[str, int] = {}
        self.changed: dict[str, int] = {}
        self.requests: list[tuple[str, str, int]] = []
        self.serves: list[Any] = []
        self.url = ""

    def put(self, path: str, data: bytes | str) -> None:
        self.files[path] = data if isinstance(data, bytes) else data.encode()
        self.changed[path] = self.changed.get(path, 0) + 1

    def write_index(self, *lines: str) -> None:
        """Writes the index, which also has lines that name no file."""
        self.put("index.txt", "\n".join(("# files", *lines, "")))

    def source(self, **more: Any) -> dict[str, Any]:
        """``spec.source`` of a pipeline that reads what the index lists."""
        return {"uri": f"{self.url}/raw/*.csv", "index": f"{self.url}/index.txt", "format": "CSV", **more}

    def asked(self, method: str, path: str) -> list[int]:
        """Status of each answer to such a request."""
        return [status for how, what, status in self.requests if (how, what) == (method, path)]


@contextmanager
def web_folder() -> Iterator[WebFolder]:
    """A server that is there while the block runs."""
    folder = WebFolder()
    with answering(partial(_Handler, folder)) as port:
        folder.url = f"http://127.0.0.1:{port}"
        yield folder


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, folder: WebFolder, *arguments: Any) -> None:
        self.folder = folder
        super().__init__(*arguments)

    def log_message(self, *_: object) -> None: ...

    def do_HEAD(self) -> None:
        if "head" in self.folder.tells:
            self._answer(has_body=False)
        else:
            self._send(405, {}, b"", has_body=True)

    def do_GET(self) -> None:
        self._answer(has_body=True)

    def _answer(self, *, has_body: bool) -> None:
        path = self.path.removeprefix("/")
        for serve in self.folder.serves:
            serve(self.command, path)
        data, tells = self.folder.files.get(path), self.folder.tells
        if data is None or path in self.folder.status:
            self._send(self.folder.status.get(path, 404), {}, b"", has_body=has_body)
            return
        headers = {}
        if "etag" in tells:
            headers["ETag"] = f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'
        if "modified" in tells:
            headers["Last-Modified"] = f"Mon, 01 Jan 2024 00:00:{self.folder.changed[path]:02d} GMT"
        if headers.get("ETag", "-") == self.headers.get("If-None-Match"):
            self._send(304, headers, b"", has_body=False)
            return
        wanted = self.headers.get("Range", "")
        if "ranges" in tells and wanted and has_body:
            first, last = wanted.removeprefix("bytes=").split("-")
            piece = data[int(first) : int(last) + 1]
            headers["Content-Range"] = f"bytes {first}-{int(first) + len(piece) - 1}/{len(data)}"
            self._send(206, headers, piece, has_body=True)
            return
        self._send(200, headers, data, has_body=has_body)

    def _send(self, status: int, headers: dict[str, str], body: bytes, *, has_body: bool) -> None:
        self.folder.requests.append((self.command, self.path.removeprefix("/"), status))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 304:
            if "size" in self.folder.tells:
                self.send_header("Content-Length", str(len(body)))
            else:
                self.send_header("Connection", "close")
        self.end_headers()
        if has_body:
            self.wfile.write(body)
