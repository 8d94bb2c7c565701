"""Callers that a file lists: ``NAME TOKEN`` a line, or ``NAME TOKEN push``; read again when it changes."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Collection
from pathlib import Path

from featurestore.errors import RequestError
from featurestore.server.caller import VIEWS, Caller, refused

_log = logging.getLogger("featurestore.server")
_LOOK_S = 1.0
_SHORTEST = 16


class TokenFile:
    """Whoever has a token of the file may read everything, and push to every pipeline if its line says so.

    Tokens are kept as digests.
    """

    asks, waits = True, False

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, threading.Lock()
        self._stamp = _stamp(path)
        self._callers = read_tokens(path)
        self._looked_s = time.monotonic()

    def caller(self, token: str) -> Caller:
        self._look()
        caller = self._callers.get(_digest(token))
        if caller is None:
            raise refused()
        return caller

    def readable(self, caller: Caller, names: Collection[str], plural: str = VIEWS) -> set[str]:
        return set(names)

    def may_push(self, caller: Caller, pipeline: str) -> bool:
        return caller.pushes

    def _look(self) -> None:
        """Read the file again if it is another one. One that is wrong changes nothing, and is told."""
        with self._lock:
            if time.monotonic() < self._looked_s + _LOOK_S:
                return
            self._looked_s = time.monotonic()
            try:
                stamp = _stamp(self._path)
                if stamp != self._stamp:
                    self._callers, self._stamp = read_tokens(self._path), stamp
            except (OSError, RequestError) as error:
                _log.error("the file of tokens is not read, the tokens that were known stay valid: %s", error)


def read_tokens(path: Path) -> dict[bytes, Caller]:
    """Digest of each token to whose it is.

    Raises:
        OSError: the file cannot be read.
        RequestError: a line is not of the form, or there is none.
    """
    callers: dict[bytes, Caller] = {}
    for number, line in enumerate(path.read_text().splitlines(), 1):
        parts = line.split()
        if not parts or parts[0].startswith("#"):
            continue
        if len(parts) < 2 or parts[2:] not in ([], ["push"]) or len(parts[1]) < _SHORTEST:
            raise RequestError(
                "this is not a line of a file of tokens",
                where=f"line {number} of the file of tokens",
                wanted=f"NAME TOKEN or NAME TOKEN push, with a token of at least {_SHORTEST} characters",
            )
        callers[_digest(parts[1])] = Caller(parts[0], pushes=len(parts) == 3)
    if not callers:
        raise RequestError(
            "there are no tokens", where="the file of tokens", wanted="NAME TOKEN in each line"
        )
    return callers


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="surrogatepass")).digest()


def _stamp(path: Path) -> tuple[int, int, int]:
    stat = path.stat()
    return stat.st_mtime_ns, stat.st_size, stat.st_ino
