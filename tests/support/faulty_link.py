"""A TCP link to a server on this machine that delays, holds back, trickles or cuts what the server answers."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

_PIECE_BYTES = 1 << 16

Fault = Callable[[socket.socket, bytes, int], None]
"""Passes a piece of an answer on to the client, which got so many bytes since the fault began; or fails to."""


class FaultyLink:
    """Passes everything on until told otherwise. What is told counts for open connections and for new ones."""

    def __init__(self, to_port: int) -> None:
        self._to_port = to_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.accepted = 0
        self._lock = threading.Lock()
        self._fault: Fault | None = None
        self._over = threading.Event()
        self._over.set()
        self._open: set[socket.socket] = set()
        self._act: Callable[[], None] | None = None
        self._acts_now = False
        threading.Thread(target=self._accept, daemon=True).start()

    def heal(self) -> None:
        """Pass everything on. What was held back comes now, late."""
        self._fault = None
        self._over.set()

    def hold(self) -> None:
        """Take what is asked, and keep what is answered."""
        self._begin(lambda to, piece, at: self._wait())

    def delay(self, delay_s: float) -> None:
        """Let each piece of an answer take so long."""
        self._begin(lambda to, piece, at: self._wait(delay_s))

    def trickle(self, pause_s: float) -> None:
        """Pass on one byte, wait, pass on the next."""

        def slowly(to: socket.socket, piece: bytes, at: int) -> None:
            while len(piece) > 1 and not self._over.is_set():
                to.sendall(piece[:1])
                piece = piece[1:]
                self._wait(pause_s)
            to.sendall(piece)

        self._begin(slowly, passes=False)

    def cut(self, after_bytes: int, *, once: bool = False) -> None:
        """Close the connection when so much was answered on it, each one or the first."""

        def short(to: socket.socket, piece: bytes, at: int) -> None:
            if at + len(piece) > after_bytes:
                if once:
                    self.heal()
                to.sendall(piece[: after_bytes - at])
                raise ConnectionAbortedError
            to.sendall(piece)

        self._begin(short, passes=False)

    def before_next_request(self, act: Callable[[], None]) -> None:
        """Do this once, after the next answer and before what is asked then reaches the server."""
        self._act, self._acts_now = act, False

    def close(self) -> None:
        """End all connections, and take no more."""
        self._listener.close()
        self.heal()
        with self._lock:
            for each in self._open:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
                each.close()

    def _begin(self, fault: Fault, *, passes: bool = True) -> None:
        def passing(to: socket.socket, piece: bytes, at: int) -> None:
            fault(to, piece, at)
            to.sendall(piece)

        self._over.clear()
        self._fault = passing if passes else fault

    def _wait(self, most_s: float | None = None) -> None:
        self._over.wait(most_s)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.accepted += 1
                try:
                    server = socket.create_connection(("127.0.0.1", self._to_port))
                except OSError:
                    client.close()
                    continue
                with self._lock:
                    self._open |= {client, server}
                for work in (self._ask, self._answer):
                    threading.Thread(target=work, args=(client, server), daemon=True).start()

    def _ask(self, client: socket.socket, server: socket.socket) -> None:
        with self._ends(client, server):
            while piece := client.recv(_PIECE_BYTES):
                if self._acts_now and self._act is not None:
                    act, self._act = self._act, None
                    act()
                server.sendall(piece)

    def _answer(self, client: socket.socket, server: socket.socket) -> None:
        with self._ends(client, server):
            fault, at = None, 0
            while piece := server.recv(_PIECE_BYTES):
                if fault is not self._fault:
                    fault, at = self._fault, 0
                if fault is None:
                    client.sendall(piece)
                else:
                    fault(client, piece, at)
                    at += len(piece)
                self._acts_now = True

    @contextmanager
    def _ends(self, *both: socket.socket) -> Iterator[None]:
        try:
            with suppress(OSError):
                yield
        finally:
            for each in both:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)


@contextmanager
def faulty_link(to_port: int) -> Iterator[FaultyLink]:
    """The link, until the end of the block."""
    link = FaultyLink(to_port)
    try:
        yield link
    finally:
        link.close()
