"""Where the Redis of a FeatureStore is: its URL, or that of the server which the operator keeps."""

from __future__ import annotations

import os
from collections.abc import Mapping

from featurestore.errors import SpecError
from featurestore.resources.store import Redis

MANAGED_URL = "FEATURESTORE_REDIS_URL"
"""Environment variable with the URL of a managed Redis: the operator sets it where pods read and write."""


def redis_url(redis: Redis, environ: Mapping[str, str] | None = None) -> str:
    """The URL to connect to. ``environ``: else that of the process.

    Raises:
        SpecError: the server is kept by an operator, and the environment does not say where.
    """
    if redis.url is not None:
        return redis.url
    url = (os.environ if environ is None else environ).get(MANAGED_URL)
    if url:
        return url
    raise SpecError(
        "the operator keeps this Redis, and there is none outside of its cluster",
        where="FeatureStore spec.online.redis.managed",
        wanted=f"its URL in {MANAGED_URL}",
        got="nothing",
        hint="On a laptop, use {duckdb: {}} or the url of a Redis",
    )
