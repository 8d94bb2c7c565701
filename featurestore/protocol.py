"""What a runner asks of the data engine, and what it hears back. JSON in, JSON out.

A Job in a cluster, and a worker process on a laptop, get one request and answer with one result or one
error. Every request may be repeated: what is done already is found done.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from featurestore import errors
from featurestore.errors import FeatureStoreError, TransientError
from featurestore.resources.model import Model
from featurestore.resources.rule import exactly_one


class BatchRequest(Model):
    """Run batch ``number`` of a pipeline: manifest in, commit out."""

    kind: Literal["batch"] = "batch"
    root: str
    pipeline: str
    number: int


class BuildRequest(Model):
    """Bring the build of one definition of a view up to version ``to_version`` of its dataset."""

    kind: Literal["build"] = "build"
    root: str
    view: str
    digest: str
    to_version: int


class PublishRequest(Model):
    """Bring the online store up to version ``to_version`` of the view's table."""

    kind: Literal["publish"] = "publish"
    root: str
    view: str
    digest: str
    to_version: int


class JobRequest(Model):
    """What one Job in a cluster does: one batch and the views that keep up with it, or one view alone.

    ``number``: run this batch, then bring on the views that :func:`covered` says. ``view``: bring on this one.
    """

    kind: Literal["job"] = "job"
    root: str
    pipeline: str
    number: int | None = None
    view: str | None = None
    rules = (exactly_one("number", "view"),)


def covered(build_at: int | None, number: int, before: int | None) -> bool:
    """Whether the Job of batch ``number`` also brings a view's build on; else the build has a Job of its own.

    ``build_at``: version of the dataset that the build holds, ``before``: that of batch ``number - 1``; None for
    nothing. A build that must be filled with much more than this batch would hold back the next one.

    >>> covered(None, 1, None), covered(None, 2, 5), covered(5, 2, 5), covered(4, 2, 5)
    (True, False, True, False)
    """
    if number == 1:
        return True
    return build_at is not None and before is not None and build_at >= before


Request = Annotated[BatchRequest | BuildRequest | PublishRequest, Field(discriminator="kind")]


class Progress(Model):
    """How far a request has come: ``done`` of ``total`` rows or files (``unit``); None while the total is unknown."""

    step: str
    done: int
    total: int | None = None
    unit: Literal["rows", "files"] = "rows"


class BatchResult(Model):
    """What batch ``number`` became. Also stored at ``layout.result``.

    ``rows_read = rows_committed + rows_quarantined + rows_dropped + rows_filtered``, where the last are rows
    that the transforms left out (negative if they made rows). ``broken``: rule to number of rows.
    ``files_refused``: rule to number of files, as many as ``files_quarantined``.
    ``watermarks_us``: timestamp column to its greatest value in the batch, UTC microseconds.
    ``peak_bytes``: greatest resident size of the process that ran it, while it did where that can be told.
    ``dataset_rows``, ``dataset_bytes``, ``dataset_columns`` (name to type): of the dataset after it.
    """

    kind: Literal["batch"] = "batch"
    pipeline: str
    number: int
    dataset_version: int
    files: int
    files_quarantined: int
    rows_read: int
    rows_committed: int
    rows_quarantined: int
    rows_dropped: int
    broken: dict[str, int] = Field(default_factory=dict)
    files_refused: dict[str, int] = Field(default_factory=dict)
    watermarks_us: dict[str, int] = Field(default_factory=dict)
    bytes_read: int = 0
    peak_bytes: int = 0
    dataset_rows: int = 0
    dataset_bytes: int = 0
    dataset_columns: dict[str, str] = Field(default_factory=dict)
    finished_us: int


def is_drift(rule: str) -> bool:
    """Whether a file or row that broke the rule looked unlike the files before it.

    >>> is_drift("schema:missingColumn"), is_drift("batch:schema:newColumn"), is_drift("plausible")
    (True, True, False)
    """
    return rule.removeprefix("batch:").startswith("schema:")


class BuildResult(Model):
    """How far a build has come. Also stored at ``layout.build``.

    ``source_version``: version of the dataset it holds. ``version``: version of its own table.
    ``watermark_us``: greatest event time, UTC microseconds; None while it has no row.
    """

    kind: Literal["build"] = "build"
    view: str
    digest: str
    source_version: int
    version: int
    rows: int
    rows_quarantined: int
    watermark_us: int | None
    finished_us: int


class PublishResult(Model):
    """What the online store holds: version ``version`` of the build ``digest``."""

    kind: Literal["publish"] = "publish"
    view: str
    digest: str
    version: int
    entities: int
    finished_us: int


EngineResult = Annotated[BatchResult | BuildResult | PublishResult, Field(discriminator="kind")]


class Failure(Model):
    """Why a request failed, in the parts of :class:`featurestore.errors.FeatureStoreError`."""

    type: str
    problem: str
    where: str = ""
    wanted: str = ""
    got: str = ""
    hint: str = ""
    retryable: bool


def as_error(failure: Failure) -> FeatureStoreError:
    """The failure as the error it was in the other process; of an unknown class, as its nearest kin."""
    kind = getattr(errors, failure.type, None)
    if not (isinstance(kind, type) and issubclass(kind, FeatureStoreError)):
        kind = TransientError if failure.retryable else FeatureStoreError
    parts = {"where": failure.where, "wanted": failure.wanted, "got": failure.got, "hint": failure.hint}
    error: FeatureStoreError = kind(failure.problem, **parts)
    return error


def as_failure(error: FeatureStoreError) -> Failure:
    """The error as it is recorded and shown."""
    return Failure.model_validate(error.to_dict())
