"""What a controller says about resources: typed conditions and a few numbers, never a list of files.

Times are RFC 3339 texts in UTC, as in all Kubernetes objects.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field, StringConstraints, WithJsonSchema

from featurestore.resources.model import Model
from featurestore.resources.rule import Unique

TIME_PATTERN = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,9})?Z$"
Time = Annotated[
    str,
    StringConstraints(pattern=TIME_PATTERN, max_length=40),
    WithJsonSchema({"type": "string", "format": "date-time", "maxLength": 40}),
]
Count = Annotated[int, Field(ge=0, le=2**63 - 1)]
Digest = Annotated[str, StringConstraints(max_length=64)]


class ConditionStatus(StrEnum):
    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class KubernetesCondition(Model):
    """One thing that is so, is not so, or is not known."""

    type: Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9]*$", max_length=64)] = Field(
        description="What it is about: Ready sums up the others."
    )
    status: ConditionStatus = Field(description="Whether it is so.")
    reason: Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9]*$", max_length=128)] = Field(
        description="Why, in one word for machines."
    )
    message: Annotated[str, StringConstraints(max_length=4096)] = Field(
        description="Why, as a human-readable sentence: where, what was wanted, what was got, when it is retried."
    )
    last_transition_time: Time = Field(description="When the status last changed.")
    observed_generation: Count = Field(0, description="Generation of the spec that it is about.")


Conditions = Annotated[tuple[KubernetesCondition, ...], Unique("type")]


NEVER = "1970-01-01T00:00:00Z"
UNSEEN: dict[str, Any] = {
    "conditions": [
        {
            "type": "Ready",
            "status": "Unknown",
            "reason": "NotObserved",
            "message": "No operator has looked at it yet",
            "lastTransitionTime": NEVER,
        }
    ]
}
"""The status of an object that nobody has looked at. Without one, tools that know no more of a kind take it for ready."""


class KindStatus(Model):
    """What the statuses of all kinds have."""

    observed_generation: Count = Field(0, description="Generation of the spec that was last looked at.")
    conditions: Conditions = Field(
        (), max_length=16, description="Conditions, one per type. Ready sums up the others."
    )


class MemoryStatus(Model):
    """What the pipeline's batches needed, so that the next Job asks for what it will need."""

    bytes_in: Count = Field(description="Bytes of source files in the batch that read most.")
    peak_bytes: Count = Field(description="Memory that this batch needed at its peak.")


MOST_BATCHES, MOST_RULES = 5, 5
"""How many of the last batches a status tells of, and how many rules of each."""


class BrokenRuleStatus(Model):
    """A rule that files or rows of a batch broke."""

    rule: Annotated[str, StringConstraints(max_length=128)] = Field(description="Its name.")
    rows: Count = Field(0, description="Rows that broke it.")
    files: Count = Field(0, description="Files that were refused for it as a whole.")


class BatchStatus(Model):
    """A committed batch: numbers and names of rules, no values and no files."""

    number: Count = Field(description="Its number.")
    commit: Count = Field(description="The commit of the dataset that it became.")
    time: Time = Field(description="When it was committed.")
    files: Count = Field(description="Files that it took.")
    rows: Count = Field(description="Rows that it committed.")
    quarantined_rows: Count = Field(0, description="Rows that it put into quarantine.")
    quarantined_files: Count = Field(0, description="Files that it put into quarantine as a whole.")
    broken: tuple[BrokenRuleStatus, ...] = Field(
        (), max_length=MOST_RULES, description="The rules that were broken most."
    )


class PipelineRebuildStatus(Model):
    """The last time that history was asked to be run again, and how far that has come."""

    request: Annotated[str, StringConstraints(max_length=256)] = Field(
        "", description="What asked for it: a value of the annotation featurestore.dev/rebuild."
    )
    requested_time: Time | None = Field(None, description="When it began. Null if it was refused.")
    promoted: Annotated[str, StringConstraints(max_length=256)] | None = Field(
        None, description="The same as request, once readers find what it made."
    )
    pieces: Count | None = Field(None, description="Pieces that it is run in.")
    pieces_done: Count | None = Field(None, description="Pieces that were run.")
    rows: Count | None = Field(None, description="Rows that its batches read.")
    bytes: Count | None = Field(None, description="Bytes of the files that it reads.")


class ViewRebuildStatus(Model):
    """The last rebuild that was asked for, and how far it has come."""

    request: Annotated[str, StringConstraints(max_length=256)] = Field(
        description="What asked for it: a value of the annotation featurestore.dev/rebuild."
    )
    requested_time: Time = Field(description="When it was first seen.")
    promoted: Annotated[str, StringConstraints(max_length=256)] | None = Field(
        None, description="The same as request, once readers find what it made."
    )
    build: Digest = Field(description="The build that it makes.")
    commit: Count | None = Field(None, description="Commit of the dataset that this build holds.")
    rows: Count | None = Field(None, description="Feature rows that this build holds.")


class ServingStatus(Model):
    """The feature server that is kept beside a store."""

    ready_replicas: Count = Field(description="How many servers are ready to answer.")
    url: Annotated[str, StringConstraints(max_length=512)] = Field(
        description="Where they answer, in the cluster."
    )


class FeatureStoreStatus(KindStatus):
    pipelines: Count | None = Field(None, description="Number of its DataPipelines.")
    views: Count | None = Field(None, description="Number of its FeatureViews.")
    serving: ServingStatus | None = Field(None, description="Its feature server. Null if none is asked for.")
    next_attempt_time: Time | None = Field(
        None, description="When what failed is retried. Null if nothing fails."
    )


class DataPipelineStatus(KindStatus):
    accepted_digest: Digest | None = Field(
        None, description="The spec that runs: the last good one. It may be older than the one given."
    )
    batch: Count | None = Field(None, description="Number of the last committed batch.")
    commit: Count | None = Field(None, description="Commit of the dataset: the version of its Delta table.")
    rows: Count | None = Field(None, description="Rows of the dataset.")
    quarantined_rows: Count | None = Field(None, description="Rows that are open in quarantine.")
    quarantined_files: Count | None = Field(None, description="Files that are open in quarantine as a whole.")
    last_commit_time: Time | None = Field(None, description="When the last batch was committed.")
    pending_files: Count | None = Field(None, description="Files seen that no committed batch holds yet.")
    lag: Count | None = Field(
        None, description="Offsets of a stream that no committed batch holds yet. Null of files."
    )
    oldest_pending_time: Time | None = Field(
        None, description="Since when the oldest pending file has been waiting. Null if none is."
    )
    next_attempt_time: Time | None = Field(
        None, description="When what failed is retried. Null if nothing fails."
    )
    memory: MemoryStatus | None = Field(None, description="What earlier batches needed.")
    last_batches: tuple[BatchStatus, ...] = Field(
        (), max_length=MOST_BATCHES, description="The last batches, the newest first."
    )
    rebuild: PipelineRebuildStatus | None = Field(
        None, description="The last time that history was asked to be run again. Null if it never was."
    )


class FeatureViewStatus(KindStatus):
    accepted_digest: Digest | None = Field(
        None, description="The spec that runs: the last good one. It may be older than the one given."
    )
    build: Digest | None = Field(None, description="The build that serves.")
    offline_commit: Count | None = Field(
        None, description="Commit of the dataset that the offline store holds."
    )
    online_commit: Count | None = Field(
        None,
        description="Commit of the dataset that the online store holds. Null while one is being published.",
    )
    rows: Count | None = Field(None, description="Feature rows in the offline store.")
    entities: Count | None = Field(None, description="Entities in the online store.")
    quarantined_rows: Count | None = Field(
        None, description="Rows that did not fit, and are open in quarantine."
    )
    watermark: Time | None = Field(None, description="Greatest event time. Freshness is its age.")
    rebuild: ViewRebuildStatus | None = Field(
        None, description="The last rebuild that was asked for. Null if none ever was."
    )
    next_attempt_time: Time | None = Field(
        None, description="When what failed is retried. Null if nothing fails."
    )
