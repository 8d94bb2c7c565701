"""The kinds of streams that tests of all of them are about. A new kind joins by a line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from redis_key import RedisKey

STREAMS: dict[str, Callable[[pytest.FixtureRequest], Any]] = {
    "kafka": lambda request: request.getfixturevalue("kafka_broker").topic(),
    "nats": lambda request: request.getfixturevalue("nats").stream(),
    "redis": lambda request: RedisKey(request.getfixturevalue("redis_server")),
}
