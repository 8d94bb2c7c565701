"""DataPipeline: what arrives at a source becomes cleaned, checked rows in a dataset."""

from __future__ import annotations

import re
from dataclasses import replace
from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from featurestore.digest import digest
from featurestore.resources.delta_lake import DeltaLake
from featurestore.resources.execution import Execution
from featurestore.resources.iceberg import Iceberg
from featurestore.resources.job_spec import Job
from featurestore.resources.kafka import Kafka
from featurestore.resources.location import NO_CHAIN, NO_CREDENTIALS, SOURCE_PROTOCOL
from featurestore.resources.message_stream import Stream
from featurestore.resources.metadata import (
    DeletionPolicy,
    Description,
    Name,
    Owner,
    SecretRef,
    Tags,
)
from featurestore.resources.model import Model
from featurestore.resources.nats import Nats
from featurestore.resources.partition import Partition
from featurestore.resources.pod_template import QUEUE_LABEL
from featurestore.resources.quantity import Bytes
from featurestore.resources.redis_stream import RedisStream
from featurestore.resources.resource import Resource
from featurestore.resources.rule import MOST_EXPRESSIONS, SpecRule, Unique, bounded_text, exactly_one
from featurestore.resources.sql_query import SqlQuery
from featurestore.resources.text_format import CsvOptions, JsonOptions
from featurestore.resources.transform import SortKey, Transform
from featurestore.resources.trigger import ArrivalOrder, Trigger
from featurestore.resources.value import ColumnName, ColumnType, Expression, SourceName


class Format(StrEnum):
    PARQUET = "Parquet"
    CSV = "CSV"
    JSON = "JSON"
    ARROW = "Arrow"


class Compression(StrEnum):
    """How source files are compressed. ``Auto`` goes by the name: ``.gz``, ``.zst``."""

    AUTO = "Auto"
    NONE = "None"
    GZIP = "Gzip"
    ZSTD = "Zstd"


class OnOverwrite(StrEnum):
    """What a new version of a file that was taken before does."""

    REJECT = "Reject"
    APPEND = "Append"
    REPLACE = "Replace"


class Suspend(StrEnum):
    ACTIVE = "Active"
    SUSPENDED = "Suspended"


FOLDER_OF_ARROW = r"[^*?\[]+/\*\.arrow"
_FOLDER_OF_ARROW = re.compile(FOLDER_OF_ARROW)


class PushedColumn(Model):
    name: ColumnName = Field(description="Name of the field of a row, and of the column.")
    type: ColumnType = Field(description="Its type. A row that lacks the field, or has null, is taken.")


class Push(Model):
    """Rows that are sent by ``store.push`` or over HTTP become files of the source, one for each push."""

    schema_: Annotated[tuple[PushedColumn, ...], Unique("name")] = Field(
        alias="schema",
        min_length=1,
        max_length=2000,
        description="What each pushed row is checked against, before it is taken.",
    )


_WEB_GLOB = r"^https?://.*[*?\[]"
_INDEX = r"^https?://[^@?#\s]+$"
KINDS_OF_SOURCE = ("uri", "kafka", "nats", "redis", "delta", "iceberg", "sql")
"""Fields of a source, one of which is set."""


def _of_files(rule: SpecRule) -> SpecRule:
    """The rule, for a source of files only."""
    return replace(
        rule,
        holds=lambda source: source.uri is None or rule.holds(source),
        cel=f"!has(self.uri) || ({rule.cel})",
    )


class Source(Model):
    """Exactly one of uri, the streams (kafka, nats, redis), the tables (delta, iceberg) and sql is set; others go with uri."""

    uri: Annotated[str, StringConstraints(min_length=1, max_length=1024)] | None = Field(
        None, description="Glob of the source files: a path, or a URL of s3, gs, az, abfss, http or https."
    )
    index: Annotated[str, StringConstraints(max_length=1024, pattern=_INDEX)] | None = Field(
        None,
        description="URL of a document on a web server that lists its files: on each line a URL, which may be relative to the "
        "document, or an object of JSON with url. Those that uri names are taken.",
    )
    kafka: Kafka | None = Field(None, description="A topic of Kafka, whose messages are rows.")
    nats: Nats | None = Field(None, description="A stream of NATS JetStream, whose messages are rows.")
    redis: RedisStream | None = Field(None, description="A stream of Redis, whose messages are rows.")
    delta: DeltaLake | None = Field(None, description="A Delta table, whose commits bring rows.")
    iceberg: Iceberg | None = Field(None, description="An Iceberg table, whose snapshots bring rows.")
    sql: SqlQuery | None = Field(
        None, description="A table or query of PostgreSQL, whose new rows are taken."
    )
    format: Format | None = Field(None, description="Format of the files.")
    compression: Compression = Field(Compression.AUTO, description="Compression of CSV and JSON files.")
    csv: CsvOptions = Field(CsvOptions(), description="How CSV files are read.")
    json_: JsonOptions = Field(JsonOptions(), alias="json", description="How JSON files are read.")
    partitions: Annotated[tuple[Partition, ...], Unique("name")] = Field(
        (), max_length=16, description="Columns whose values stand in the path, as `day=2024-01-01/`."
    )
    on_overwrite: OnOverwrite = Field(OnOverwrite.REJECT, description="What a changed file does.")
    push: Push | None = Field(None, description="Rows may be pushed, which become files here.")
    secret_ref: SecretRef | None = Field(
        None, description="Secret with the credentials of the files' storage."
    )

    @property
    def stream(self) -> Stream | None:
        """The stream that is set; None of files, tables and databases."""
        return self.kafka or self.nats or self.redis

    @property
    def _positions(self) -> Stream | DeltaLake | Iceberg | SqlQuery | None:
        """What is set if not uri."""
        return self.stream or self.delta or self.iceberg or self.sql

    @property
    def place(self) -> str:
        """Where arrivals come from, as people read it."""
        return self._positions.place if self._positions is not None else self.uri or ""

    @property
    def kind(self) -> str:
        """The field that is set."""
        return next(name for name in KINDS_OF_SOURCE if getattr(self, name) is not None)

    @property
    def is_stream(self) -> bool:
        """Whether its arrivals are ranges of positions, so that it may lag behind."""
        return self._positions is not None

    @property
    def opened(self) -> tuple[str, ...]:
        """URIs that are opened to look for arrivals: the operator opens those that a policy allows."""
        if self._positions is not None:
            return self._positions.opened
        return (self.place,) if self.index is None else (self.place, self.index)

    def __str__(self) -> str:
        table = "Delta" if self.delta else "Iceberg" if self.iceberg else "SQL" if self.sql else None
        form = table or (self.format if self.stream is None else self.stream.format)
        return f"{self.place} ({form})"

    @property
    def credentials(self) -> SecretRef | None:
        """The Secret with the credentials of the source that is set, if it names one."""
        return self._positions.secret_ref if self._positions is not None else self.secret_ref

    @property
    def given(self) -> tuple[str, ...]:
        """Columns that come with an arrival and are not of its content: those of the path, or of a message."""
        included = self.stream or self.delta or self.iceberg
        if included is not None:
            return included.columns.names
        return tuple(partition.name for partition in self.partitions)

    rules = (
        exactly_one(*KINDS_OF_SOURCE),
        _of_files(NO_CREDENTIALS),
        _of_files(NO_CHAIN),
        _of_files(SOURCE_PROTOCOL),
        SpecRule(
            message="format stands beside uri: a stream has a format of its own, and a table needs none",
            holds=lambda source: (source.uri is None) == (source.format is None),
            cel="has(self.uri) == has(self.format)",
            field="format",
        ),
        SpecRule(
            message="partitions, onOverwrite and secretRef beside uri are about files",
            holds=lambda source: (
                source.uri is not None
                or (
                    not source.partitions
                    and source.on_overwrite is OnOverwrite.REJECT
                    and not source.secret_ref
                )
            ),
            cel="has(self.uri) || ((!has(self.partitions) || self.partitions.size() == 0)"
            " && self.onOverwrite == 'Reject' && !has(self.secretRef))",
        ),
        SpecRule(
            message="pushed rows need the format Arrow, no partitions, onOverwrite: Reject, no secretRef (they are written "
            "with the store's credentials), and a uri of one folder's files, not by HTTP: folder/*.arrow",
            holds=lambda source: (
                source.push is None
                or (
                    source.uri is not None
                    and source.format is Format.ARROW
                    and not source.partitions
                    and source.on_overwrite is OnOverwrite.REJECT
                    and source.secret_ref is None
                    and _FOLDER_OF_ARROW.fullmatch(source.uri) is not None
                    and not source.uri.startswith(("http://", "https://"))
                )
            ),
            cel="!has(self.push) || (has(self.uri) && has(self.format) && self.format == 'Arrow'"
            " && self.onOverwrite == 'Reject' && !has(self.secretRef)"
            " && (!has(self.partitions) || self.partitions.size() == 0)"
            f" && self.uri.matches(r'^{FOLDER_OF_ARROW}$') && !self.uri.matches('^https?://'))",
            field="push",
        ),
        SpecRule(
            message="index lists files of a web server: uri is a glob of http or https, such as https://example.org/data/**/*.csv",
            holds=lambda source: (
                source.index is None
                or (source.uri is not None and re.match(_WEB_GLOB, source.uri) is not None)
            ),
            cel=f"!has(self.index) || (has(self.uri) && self.uri.matches(r'{_WEB_GLOB}'))",
            field="index",
        ),
        SpecRule(
            message="options of CSV need the format CSV",
            holds=lambda source: source.format is Format.CSV or source.csv == CsvOptions(),
            cel="(has(self.format) && self.format == 'CSV') || !has(self.csv) || (self.csv.delimiter == ','"
            " && self.csv.header == 'Present'"
            " && self.csv.nullValues == [''] && self.csv.skipLines == 0 && self.csv.comment == ''"
            " && self.csv.quote == '\"' && self.csv.escape == '' && self.csv.encoding == 'UTF-8')",
            field="csv",
        ),
        SpecRule(
            message="options of JSON need the format JSON",
            holds=lambda source: source.format is Format.JSON or source.json_ == JsonOptions(),
            cel="(has(self.format) && self.format == 'JSON') || !has(self.json) || self.json.layout == 'Lines'",
            field="json",
        ),
        SpecRule(
            message="only CSV and JSON files are compressed as a whole: Parquet and Arrow compress inside",
            holds=lambda source: (
                source.format in (Format.CSV, Format.JSON)
                or source.compression in (Compression.AUTO, Compression.NONE)
            ),
            cel="(has(self.format) && self.format in ['CSV', 'JSON']) || self.compression in ['Auto', 'None']",
            field="compression",
        ),
    )


class SourceColumn(Model):
    name: ColumnName = Field(description="Name of the column.")
    type: ColumnType = Field(description="Type of the column in the dataset's source schema.")
    source: SourceName | None = Field(
        None, description="Its name in the files, if that is another, such as `__deleted`."
    )


class Otherwise(StrEnum):
    """What happens to rows (or the batch) that do not meet an expectation."""

    QUARANTINE = "Quarantine"
    DROP = "Drop"
    FAIL_BATCH = "FailBatch"


class Expectation(Model):
    name: Name = Field(description="Name of the rule, shown with every row it catches.")
    that: Expression = Field(description="What must be true of each row. Null counts as not met.")
    otherwise: Otherwise = Field(
        Otherwise.QUARANTINE, description="What happens to rows that do not meet it."
    )


class DriftPolicy(StrEnum):
    QUARANTINE = "Quarantine"
    EVOLVE = "Evolve"
    IGNORE = "Ignore"
    FAIL_BATCH = "FailBatch"


class SchemaPolicy(Model):
    new_column: Literal[
        DriftPolicy.EVOLVE, DriftPolicy.IGNORE, DriftPolicy.QUARANTINE, DriftPolicy.FAIL_BATCH
    ] = Field(
        DriftPolicy.EVOLVE,
        description="A file brings a column that was not known: add it, ignore it, or refuse the file.",
    )
    missing_column: Literal[DriftPolicy.IGNORE, DriftPolicy.QUARANTINE, DriftPolicy.FAIL_BATCH] = Field(
        DriftPolicy.QUARANTINE,
        description="A file lacks a known column: read it as null, or refuse the file.",
    )
    type_changed: Literal[DriftPolicy.QUARANTINE, DriftPolicy.FAIL_BATCH] = Field(
        DriftPolicy.QUARANTINE,
        description="A column has a type that does not widen without loss: refuse the rows whose values do not fit.",
    )


class DatasetDeduplicate(Model):
    keys: Annotated[tuple[ColumnName, ...], Unique()] = Field(
        min_length=1, max_length=32, description="Columns that identify a row."
    )
    order_by: SortKey | None = Field(
        None, description="Which of two rows stays: the last in this order. Default: the later arrival."
    )


class Resources(Model):
    memory: Bytes = Field(2 * 1024**3, description="Memory that one run may use, whatever the batch's size.")
    memory_limit: Bytes | None = Field(
        None,
        description="Most memory that a Job gets after one was killed for lack of it. Default: 4 × memory.",
    )
    rules: ClassVar[tuple[SpecRule, ...]] = (
        SpecRule(
            message="memoryLimit must not be less than memory",
            holds=lambda resources: (
                resources.memory_limit is None or resources.memory_limit >= resources.memory
            ),
            cel="!has(self.memoryLimit) || "
            "quantity(string(self.memoryLimit)).compareTo(quantity(string(self.memory))) >= 0",
            field="memoryLimit",
        ),
    )

    @property
    def most_memory(self) -> int:
        """Bytes that a run may get at most."""
        return self.memory_limit or 4 * self.memory


LEAST_MEMORY = 256 * 2**20
"""A batch of a few rows holds 150 MiB at its peak: Python, Polars and Arrow."""


class JobResources(Resources):
    rules: ClassVar[tuple[SpecRule, ...]] = (
        *Resources.rules,
        SpecRule(
            message="memory must be at least 256Mi, which a batch of a few rows needs",
            holds=lambda resources: resources.memory >= LEAST_MEMORY,
            cel="!has(self.memory) || quantity(string(self.memory)).compareTo(quantity('256Mi')) >= 0",
            field="memory",
        ),
    )


class DataPipelineSpec(Model):
    source: Source = Field(description="Where arrivals come from: files, or a stream.")
    trigger: Trigger = Field(Trigger(), description="When a run starts.")
    columns: Annotated[tuple[SourceColumn, ...] | None, Unique("name")] = Field(
        None,
        min_length=1,
        max_length=2000,
        description="Columns whose types are declared. Others are learned from files, as newColumn says.",
    )
    transforms: tuple[Transform, ...] = Field(
        (),
        max_length=64,
        description="Steps from source rows to dataset rows, in order. Each sees one file at a time.",
    )
    expectations: Annotated[tuple[Expectation, ...], Unique("name")] = Field(
        (), max_length=64, description="Rules each row must meet after the transforms."
    )
    schema_policy: SchemaPolicy = Field(SchemaPolicy(), description="What schema drift does.")
    deduplicate: DatasetDeduplicate | None = Field(
        None, description="Keep one row per key in the whole dataset."
    )
    resources: JobResources = Field(JobResources(), description="Bounds of one run.")
    job: Job = Field(Job(), description="How runs are started in a cluster. Without effect on a laptop.")
    execution: Execution = Field(
        Execution.JOB,
        description="Job: a pod for each batch. Warm: a worker that stays, for latency. On a laptop it is always warm.",
    )
    deletion_policy: DeletionPolicy = Field(
        DeletionPolicy.RETAIN,
        description="Whether deleting the resource in a cluster deletes its dataset, quarantine and ledger.",
    )
    suspend: Suspend = Field(Suspend.ACTIVE, description="Suspended: nothing is taken or run; reads go on.")
    description: Description = Field("", description="What it is for, in its owner's words.")
    owner: Owner = Field("", description="Who is responsible for it.")
    tags: Tags = Field({}, description="Names and values to find it by.")

    @property
    def expressions(self) -> tuple[str, ...]:
        """The texts of all its expressions."""
        expressions: list[str] = []
        for transform in self.transforms:
            if transform.derive is not None:
                expressions += transform.derive.columns.values()
            if transform.filter is not None:
                expressions.append(transform.filter.where)
        return (*expressions, *(expectation.that for expectation in self.expectations))

    @property
    def worker_kind(self) -> str:
        """Names the workers that can run its batches: those whose pods are what its Jobs' would be."""
        # Without defaults: a worker of an image with an older version names itself the same.
        template = self.job.template.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        secret = self.source.credentials
        return digest([template, secret.name if secret else None, self.resources.memory])[:10]

    @property
    def looked_up(self) -> tuple[str, ...]:
        """The pipelines whose datasets its steps join, each once."""
        return tuple(dict.fromkeys(step.lookup.pipeline for step in self.transforms if step.lookup))

    rules = (
        SpecRule(
            message="deduplicate cannot go with onOverwrite: Replace, because rows that lost are not kept to come back",
            holds=lambda spec: (
                spec.deduplicate is None or spec.source.on_overwrite is not OnOverwrite.REPLACE
            ),
            cel="!has(self.deduplicate) || self.source.onOverwrite != 'Replace'",
            field="deduplicate",
        ),
        SpecRule(
            message="order: NewestFirst is of files, and deduplicate needs orderBy then: the later arrival may be the older file",
            holds=lambda spec: (
                spec.trigger.arrivals.order is ArrivalOrder.OLDEST_FIRST
                or (
                    spec.source.uri is not None
                    and (spec.deduplicate is None or spec.deduplicate.order_by is not None)
                )
            ),
            cel="!has(self.trigger) || !has(self.trigger.arrivals) || !has(self.trigger.arrivals.order) || "
            "self.trigger.arrivals.order != 'NewestFirst' || (has(self.source.uri) && "
            "(!has(self.deduplicate) || has(self.deduplicate.orderBy)))",
            field="trigger.arrivals.order",
        ),
        SpecRule(
            message="a column comes from the path (source.partitions) or a message (include), "
            "or from what is read (columns), not from both",
            holds=lambda spec: (
                not (
                    {column.name.lower() for column in spec.columns or ()}
                    & {name.lower() for name in spec.source.given}
                )
            ),
            field="columns",
        ),
        SpecRule(
            message=f"a pipeline must not derive more than {MOST_EXPRESSIONS:,} columns",
            holds=lambda spec: (
                sum(len(step.derive.columns) for step in spec.transforms if step.derive) <= MOST_EXPRESSIONS
            ),
            cel="!has(self.transforms) || self.transforms.map(t, has(t.derive) ? t.derive.columns.size() : 0).sum()"
            f" <= {MOST_EXPRESSIONS}",
            field="transforms",
        ),
        SpecRule(
            message="notifications are about files: a stream is watched by itself",
            holds=lambda spec: spec.trigger.notifications is None or spec.source.uri is not None,
            cel="!has(self.trigger) || !has(self.trigger.notifications) || has(self.source.uri)",
            field="trigger.notifications",
        ),
        SpecRule(
            message="a queue of Kueue admits Jobs: use execution: Job, or take the label from job.template",
            holds=lambda spec: spec.execution is Execution.JOB or QUEUE_LABEL not in spec.job.template.labels,
            cel="self.execution == 'Job' || !has(self.job) || !has(self.job.template) || !has(self.job.template.labels)"
            f" || !('{QUEUE_LABEL}' in self.job.template.labels)",
            field="execution",
        ),
        bounded_text(lambda spec: spec.expressions, "transforms"),
    )


class DataPipeline(Resource):
    kind: Literal["DataPipeline"] = Field("DataPipeline", description="What it is.")
    spec: DataPipelineSpec = Field(description="What is wanted.")
