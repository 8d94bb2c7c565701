"""Who read what: a line of JSON for each read, whole, however many processes write to the file."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import orjson

from featurestore.server.caller import Caller


@dataclass(frozen=True, slots=True)
class Read:
    """What a request is about. ``features``: as it names them. ``pipelines``: whose refused rows were shown,
    or to which ``rows`` were pushed.
    """

    views: Collection[str] = ()
    features: Collection[str] = ()
    entities: int = 0
    pipelines: Collection[str] = ()
    rows: int | None = None


class AuditLog:
    """``path``: None writes nothing; ``-`` is standard output."""

    def __init__(self, path: Path | None) -> None:
        self._number: int | None = None
        if path is not None:
            to_output = str(path) == "-"
            self._number = 1 if to_output else os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)

    @property
    def writes(self) -> bool:
        return self._number is not None

    def write(self, caller: Caller, route: str, status: int, read: Read | None) -> None:
        """``read``: None if nothing was read."""
        if self._number is None:
            return
        line = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "caller": caller.name,
            "route": route,
            "status": status,
            "views": [] if read is None else sorted(read.views),
            "features": [] if read is None else read.features,
            "entities": 0 if read is None else read.entities,
        }
        if read is not None and read.pipelines:
            line["pipelines"] = sorted(read.pipelines)
        if read is not None and read.rows is not None:
            line["rows"] = read.rows
        os.write(self._number, orjson.dumps(line) + b"\n")
