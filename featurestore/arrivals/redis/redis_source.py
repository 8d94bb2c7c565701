"""A stream of Redis as arrivals."""

from __future__ import annotations

from collections.abc import Mapping

from featurestore.arrivals.redis.stream_key import StreamKey
from featurestore.arrivals.streams.stream_source import StreamSource
from featurestore.resources.data_pipeline import Source


class RedisSource(StreamSource):
    """``environ``: has what it takes to log in; None for the process's own environment."""

    def __init__(
        self, source: Source, base: str | None = None, environ: Mapping[str, str] | None = None
    ) -> None:
        assert source.redis is not None
        super().__init__(source.redis, f"stream {source.redis.stream!r}", StreamKey(source.redis, environ))
