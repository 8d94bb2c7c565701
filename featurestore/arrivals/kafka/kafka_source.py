"""The partitions of a topic as arrivals."""

from __future__ import annotations

from collections.abc import Mapping

from featurestore.arrivals.kafka.topic import TopicClient
from featurestore.arrivals.streams.stream_source import StreamSource
from featurestore.resources.data_pipeline import Source


class KafkaSource(StreamSource):
    """``environ``: has what it takes to log in; None for the process's own environment."""

    def __init__(
        self, source: Source, base: str | None = None, environ: Mapping[str, str] | None = None
    ) -> None:
        assert source.kafka is not None
        super().__init__(source.kafka, f"topic {source.kafka.topic!r}", TopicClient(source.kafka, environ))
