"""Connections of redis-py that wait no longer than the deadline of whoever uses them.

By itself redis-py lets each piece of an answer, each address of a host and each step of a login take as long as one may:
a server that sends a byte a second is waited for until its answer is whole.
"""

from __future__ import annotations

import socket
import time
from functools import cache
from typing import Any

from featurestore.online.deadline import until_s

_NEAR_S = 0.001
"""A socket's timeout is left alone if it is as near as that to what is left: setting it is a call of the system."""


class TimedConnection:
    """What connection classes of redis-py are mixed with. ``socket_timeout``: the most that one piece may take."""

    _socket_timeout: float
    _socket_connect_timeout: float

    # Connecting asks for these two once for each address.
    @property
    def socket_timeout(self) -> float:
        return _at_most(self._socket_timeout)

    @socket_timeout.setter
    def socket_timeout(self, value: float) -> None:
        self._socket_timeout = value

    @property
    def socket_connect_timeout(self) -> float:
        return _at_most(self._socket_connect_timeout)

    @socket_connect_timeout.setter
    def socket_connect_timeout(self, value: float) -> None:
        self._socket_connect_timeout = value

    def _connect(self) -> TimedSocket:
        connection: Any = super()
        return TimedSocket(connection._connect(), self._socket_timeout)

    def read_response(self, *args: Any, disconnect_on_error: bool = True, **options: Any) -> Any:
        # A connection to a master that Sentinel named would stay open after a timeout, and whoever asked next would take
        # the late answer for its own.
        connection: Any = super()
        return connection.read_response(*args, disconnect_on_error=disconnect_on_error, **options)


class TimedSocket:
    """A socket each of whose sends and receives ends by the deadline. ``most_s``: what each may take besides.

    Raises:
        TimeoutError: the deadline has passed.
    """

    __slots__ = ("_most_s", "_socket")

    def __init__(self, opened: socket.socket, most_s: float) -> None:
        self._socket, self._most_s = opened, most_s

    def sendall(self, data: bytes) -> None:
        sent = self._timed().send(data)
        while sent < len(data):
            sent += self._timed().send(memoryview(data)[sent:])

    def recv_into(self, buffer: bytearray) -> int:
        return self._timed().recv_into(buffer)

    def _timed(self) -> socket.socket:
        opened = self._socket
        now_s = opened.gettimeout()
        if now_s == 0:
            return opened  # it is looked whether there is anything, and not waited
        left_s = min(until_s() - time.monotonic(), self._most_s)
        if left_s <= 0:
            raise TimeoutError("the time for this read is over")
        if now_s is None or not -_NEAR_S < now_s - left_s < _NEAR_S:
            opened.settimeout(left_s)
        return opened

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)


def timed(client: Any) -> Any:
    """The client of redis-py, new; the connections that it makes keep to deadlines."""
    pool = client.connection_pool
    pool.connection_class = _timed_class(pool.connection_class)
    return client


@cache
def _timed_class(connection_class: type[Any]) -> type[Any]:
    return type(f"Timed{connection_class.__name__}", (TimedConnection, connection_class), {})


def _at_most(most_s: float) -> float:
    """What is left of the deadline, and never nothing, which would mean not to wait."""
    return max(min(until_s() - time.monotonic(), most_s), _NEAR_S)
