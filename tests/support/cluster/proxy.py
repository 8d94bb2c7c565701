"""A way to the API server on which things go wrong as they do in life: for one client, call by call.

The client speaks TLS with the proxy, and the proxy TLS with the API server, as the user that the client says it is.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cluster.control_plane import ControlPlane

WRITING = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_HOPS = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "host"})
"""Headers that are about one connection."""


@dataclass(frozen=True, slots=True)
class Call:
    """What a client asks. ``number``: of all its calls, from 1; ``nth``: of those that ask for the same."""

    number: int
    nth: int
    what: str
    method: str
    path: str
    query: Mapping[str, list[str]]

    @property
    def watches(self) -> bool:
        return _watches(self.query)

    @property
    def writes(self) -> bool:
        return self.method in WRITING

    @property
    def reads(self) -> bool:
        return self.method == "GET" and not self.watches

    def __str__(self) -> str:
        return f"{self.number}: {self.what}, the {self.nth}."


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API server answers, whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Fault:
    """What goes wrong; this one lets everything pass. Methods are called from several threads."""

    def ask(self, call: Call) -> Answer | None:
        """An answer in place of the API server's, which is not asked then.

        Raises:
            ConnectionError: it is not asked, and the client gets none; its connection ends.
        """
        return None

    def answer(self, call: Call, answer: Answer) -> Answer | None:
        """What the client gets of an answer; None: nothing, its connection ends."""
        return answer

    def answered(self, call: Call) -> None:
        """The client has its answer."""

    def told(self, call: Call) -> None:
        """A watch is about to tell the client of something."""


def _watches(query: Mapping[str, list[str]]) -> bool:
    return query.get("watch", [""])[0] in ("true", "1")


def _what(method: str, path: str, query: Mapping[str, list[str]]) -> str:
    """What is asked, by whatever name: ``PATCH featureviews/status``, ``WATCH jobs``, ``GET /apis``."""
    verb = "WATCH" if _watches(query) else method
    _, _, of_namespace = path.partition("/namespaces/")
    _, _, target = of_namespace.partition("/")
    if of_namespace and not target:
        target = "namespaces"
    plural, *name_and_part = target.split("/")
    return f"{verb} {'/'.join((plural, *name_and_part[1:])) or path}"


def refusal(status: int, reason: str, **headers: str) -> Answer:
    """An answer by which the API server says no, in its own words."""
    body = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": f"injected: {reason}",
        "reason": reason,
        "code": status,
    }
    return Answer(status, {"Content-Type": "application/json", **headers}, json.dumps(body).encode())


@dataclass
class Proxy:
    """``calls``: all that was asked, in order. ``fault``: may be exchanged at any time."""

    url: str
    target: str
    trust: ssl.SSLContext
    fault: Fault = field(default_factory=Fault)
    calls: list[Call] = field(default_factory=list)
    _asked: Counter[str] = field(default_factory=Counter)
    _watches: set[http.client.HTTPSConnection] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, fault: Fault) -> None:
        """Count from 1 again, with this fault."""
        with self._lock:
            self.fault, self.calls, self._asked = fault, [], Counter()

    def count(self, method: str, url: str) -> Call:
        parts = urlsplit(url)
        query = parse_qs(parts.query)
        what = _what(method, parts.path, query)
        with self._lock:
            self._asked[what] += 1
            call = Call(len(self.calls) + 1, self._asked[what], what, method, parts.path, query)
            self.calls.append(call)
            return call

    def cut(self) -> int:
        """End all watches in the middle, as a network does; how many there were."""
        with self._lock:
            watches = list(self._watches)
        for connection in watches:
            with suppress(OSError):
                if connection.sock is not None:
                    connection.sock.shutdown(socket.SHUT_RDWR)
        return len(watches)

    def connect(self) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(urlsplit(self.target).netloc, timeout=60, context=self.trust)

    @contextmanager
    def watching(self, connection: http.client.HTTPSConnection) -> Iterator[None]:
        with self._lock:
            self._watches.add(connection)
        try:
            yield
        finally:
            with self._lock:
                self._watches.discard(connection)


class _Handler(BaseHTTPRequestHandler):
    """One connection of the client, with one of its own to the API server."""

    protocol_version = "HTTP/1.1"
    # Head and body of an answer are written apart, and the second would wait 40 ms for the first to be acknowledged.
    disable_nagle_algorithm = True

    @property
    def proxy(self) -> Proxy:
        assert isinstance(self.server, _Listener)
        return self.server.proxy

    def setup(self) -> None:
        super().setup()
        self._upstream = self.proxy.connect()

    def finish(self) -> None:
        self._upstream.close()
        with suppress(OSError):
            super().finish()

    def log_message(self, *_: Any) -> None:
        """The calls are recorded."""

    def forward(self) -> None:
        call = self.proxy.count(self.command, self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fault = self.proxy.fault
        try:
            answer = fault.ask(call)
            if answer is None and call.watches:
                self._watch(call)
                return
            answer = fault.answer(call, answer or self._asked(call, body))
            if answer is None:
                self._hang_up()
                return
            self.send_response(answer.status)
            self._headers(answer.headers)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)
            self.wfile.flush()
            fault.answered(call)
        except (OSError, http.client.HTTPException):
            # Either end went away: so does the other one.
            self._hang_up()

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = forward

    def _asked(self, call: Call, body: bytes) -> Answer:
        answer = self._request(body)
        return Answer(answer.status, dict(answer.getheaders()), answer.read())

    def _request(self, body: bytes) -> http.client.HTTPResponse:
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOPS}
        self._upstream.request(self.command, self.path, body or None, headers)
        return self._upstream.getresponse()

    def _watch(self, call: Call) -> None:
        answer = self._request(b"")
        self.send_response(answer.status)
        self._headers(dict(answer.getheaders()))
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.flush()
        self.proxy.fault.answered(call)
        with self.proxy.watching(self._upstream):
            while part := answer.read1(65536):
                self.proxy.fault.told(call)
                self.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
                self.wfile.flush()
            if answer.isclosed():
                self.wfile.write(b"0\r\n\r\n")
                self.wfile.flush()
            else:
                self._hang_up()

    def _headers(self, headers: Mapping[str, str]) -> None:
        for name, value in headers.items():
            if name.lower() not in {*_HOPS, "date"}:
                self.send_header(name, value)

    def _hang_up(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    own: ssl.SSLContext
    proxy: Proxy

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        # The handshake is made at the first read: a client that is slow with it is met by its own thread.
        return self.own.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), address

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed in the middle is nothing to tell of."""


@contextmanager
def proxy(plane: ControlPlane, user: str) -> Iterator[Proxy]:
    """A proxy to the API server, as a user who may do everything, until the end of the block."""
    trust = ssl.create_default_context(cafile=str(plane.ca))
    known = plane.authority.sign(f"proxied-{user}", user, ["system:masters"])
    trust.load_cert_chain(known.certificate, known.key)
    own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served = plane.authority.sign(f"proxy-{user}", "proxy", hosts=["127.0.0.1"])
    own.load_cert_chain(served.certificate, served.key)
    with _Listener(("127.0.0.1", 0), _Handler) as listener:
        listener.own = own
        way = listener.proxy = Proxy(f"https://127.0.0.1:{listener.server_address[1]}", plane.url, trust)
        thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield way
        finally:
            way.cut()
            listener.shutdown()
            thread.join()
