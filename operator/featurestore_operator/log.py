"""Lines of the log: each with the resource it is about, and which look at it wrote it."""

from __future__ import annotations

import json
import logging
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from featurestore_operator.kube.object_key import Key
from featurestore_operator.settings import LogFormat

_look: ContextVar[tuple[Key, str] | None] = ContextVar("look", default=None)


@contextmanager
def looking_at(key: Key) -> Iterator[None]:
    """Lines of this thread are about ``key``, and share an id, until the end of the block."""
    token = _look.set((key, secrets.token_hex(4)))
    try:
        yield
    finally:
        _look.reset(token)


def configure(kind: LogFormat, level: str) -> None:
    """Write the log to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if kind == "json" else TextLines())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("featurestore").setLevel(level)
    logging.getLogger("featurestore_operator").setLevel(level)
    # It warns that it leaves signals alone, which is as it should be.
    logging.getLogger("kopf._core.reactor.running").setLevel(logging.ERROR)


class TextLines(logging.Formatter):
    """``2026-01-31T12:00:00.123Z INFO FeatureView prod/aircraft [1f2e3d4c] is Ready``"""

    def format(self, record: logging.LogRecord) -> str:
        look = _look.get()
        about = f"{look[0]} [{look[1]}] " if look else ""
        trace = f"\n{self.formatException(record.exc_info)}" if record.exc_info else ""
        return f"{_moment(record)} {record.levelname} {about}{record.getMessage()}{trace}"


class JsonLines(logging.Formatter):
    """One object a line: ``time``, ``level``, ``logger``, ``message``, and ``kind``, ``namespace``, ``name``, ``reconcile``."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": _moment(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if look := _look.get():
            line |= {**look[0]._asdict(), "reconcile": look[1]}
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def _moment(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{int(record.msecs):03d}Z"
