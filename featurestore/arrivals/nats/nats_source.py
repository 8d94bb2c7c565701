"""A stream of JetStream as arrivals."""

from __future__ import annotations

from collections.abc import Mapping

from featurestore.arrivals.nats.jetstream import StreamOfNats
from featurestore.arrivals.streams.stream_source import StreamSource
from featurestore.resources.data_pipeline import Source


class NatsSource(StreamSource):
    """``environ``: has what it takes to log in; None for the process's own environment."""

    def __init__(
        self, source: Source, base: str | None = None, environ: Mapping[str, str] | None = None
    ) -> None:
        assert source.nats is not None
        super().__init__(source.nats, f"stream {source.nats.stream!r}", StreamOfNats(source.nats, environ))
