"""Which kind of source a spec asks for: the one place that knows them all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from featurestore.arrivals.delta.delta_source import DeltaSource
from featurestore.arrivals.files.file_source import FileSource
from featurestore.arrivals.iceberg.iceberg_source import IcebergSource
from featurestore.arrivals.kafka.kafka_source import KafkaSource
from featurestore.arrivals.nats.nats_source import NatsSource
from featurestore.arrivals.redis.redis_source import RedisSource
from featurestore.arrivals.source import ArrivalSource
from featurestore.arrivals.sql.sql_source import SqlSource
from featurestore.resources.data_pipeline import Source


class SourceKind(NamedTuple):
    """A row of the table.

    ``serves``: whether a spec is of this kind. ``open``: makes its source, without looking at it yet. ``reader``: the
    module with the ``open_reader`` of its arrivals, loaded where there is a data engine.
    """

    serves: Callable[[Source], bool]
    open: Callable[[Source, str | None, Mapping[str, str] | None], ArrivalSource]
    reader: str


SOURCE_KINDS = (
    SourceKind(
        lambda source: source.kafka is not None, KafkaSource, "featurestore_transforms.sources.kafka_reader"
    ),
    SourceKind(
        lambda source: source.nats is not None, NatsSource, "featurestore_transforms.sources.nats_reader"
    ),
    SourceKind(
        lambda source: source.redis is not None, RedisSource, "featurestore_transforms.sources.redis_reader"
    ),
    SourceKind(
        lambda source: source.delta is not None, DeltaSource, "featurestore_transforms.sources.delta_reader"
    ),
    SourceKind(
        lambda source: source.sql is not None, SqlSource, "featurestore_transforms.sources.sql_reader"
    ),
    SourceKind(
        lambda source: source.iceberg is not None,
        IcebergSource,
        "featurestore_transforms.sources.iceberg_reader",
    ),
    SourceKind(lambda source: True, FileSource, "featurestore_transforms.sources.file_reader"),
)
"""The first that serves is taken."""


def source_kind(source: Source) -> SourceKind:
    """The kind of source that a spec asks for."""
    return next(kind for kind in SOURCE_KINDS if kind.serves(source))


def open_source(
    source: Source, base: str | None = None, environ: Mapping[str, str] | None = None
) -> ArrivalSource:
    """The source that a spec names.

    ``base``: what relative paths are relative to; None for the working folder. ``environ``: has the credentials;
    None for the process's own environment.
    """
    return source_kind(source).open(source, base, environ)
