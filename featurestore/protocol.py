"""What a runner asks of the data engine, and what that answers. JSON in, JSON out.

A Job in a cluster, and a worker process on a laptop, get one request and answer with one result or one
error. Every request may be repeated: what is done already is found done. A request names what runs it, so that neither
the worker nor a Job knows which requests there are.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from featurestore.arrivals.result import BatchResult, PartResult, PieceResult, RebuildResult
from featurestore.resources.metadata import Name
from featurestore.resources.model import Model
from featurestore.training.training_versions import TrainingSetResult
from featurestore.views.builds import BuildPartResult, BuildResult, PublishResult


class EngineRequest(Model):
    """What is asked of the data engine. ``root``: of the storage.

    ``run_by``: ``module:function``, called with the storage, the request and what is told of progress. A name, because
    this package does not have the data engine. ``told_by``: in the same way, what it reads and writes, for lineage; None
    for requests of which nothing is told.
    """

    run_by: ClassVar[str]
    told_by: ClassVar[str | None] = None
    root: str


class BatchRequest(EngineRequest):
    """Run batch ``number`` of a pipeline: manifest in, commit out. ``base``: where relative sources begin.

    ``turn``: which attempt at it, see :mod:`featurestore.arrivals.isolation`.
    """

    run_by: ClassVar[str] = "featurestore_transforms.batch.batch:run_batch"
    told_by: ClassVar[str | None] = "featurestore_transforms.lineage.lineage_run:batch_lineage"
    kind: Literal["batch"] = "batch"
    base: str = "/"
    pipeline: str
    number: int
    turn: int = 0


class RebuildRequest(EngineRequest):
    """Run a piece of rebuild ``rebuild`` of a pipeline, which begins with batch ``number``; else as a batch."""

    run_by: ClassVar[str] = "featurestore_transforms.batch.rebuilding:run_piece"
    told_by: ClassVar[str | None] = "featurestore_transforms.lineage.lineage_run:batch_lineage"
    kind: Literal["rebuild"] = "rebuild"
    base: str = "/"
    pipeline: str
    rebuild: int
    number: int
    turn: int = 0


class PromoteRebuildRequest(EngineRequest):
    """Put what a rebuild came to in the place of the history that it ran again."""

    run_by: ClassVar[str] = "featurestore_transforms.batch.promotion:promote_rebuild"
    told_by: ClassVar[str | None] = "featurestore_transforms.lineage.lineage_run:promotion_lineage"
    kind: Literal["promoteRebuild"] = "promoteRebuild"
    pipeline: str
    rebuild: int


class BuildRequest(EngineRequest):
    """Bring the build of one definition of a view up to version ``to_version`` of its dataset.

    ``turn``: which attempt at it, see :mod:`featurestore.views.build_trials`. ``compared_with``: the version of a training set
    that is new for it; so it is another request than the one that built it.
    """

    run_by: ClassVar[str] = "featurestore_transforms.views.build:run_build"
    told_by: ClassVar[str | None] = "featurestore_transforms.lineage.lineage_run:build_lineage"
    kind: Literal["build"] = "build"
    view: str
    digest: str
    to_version: int
    turn: int = 0
    compared_with: str | None = None


class PublishRequest(EngineRequest):
    """Bring the online store up to version ``to_version`` of the view's table, which holds ``commit`` of its dataset."""

    run_by: ClassVar[str] = "featurestore.online.publish:publish_now"
    kind: Literal["publish"] = "publish"
    view: str
    digest: str
    to_version: int
    commit: int


class TrainingSetRequest(EngineRequest):
    """Make version ``number`` of a training set, as the accepted resource describes it; unless nothing new is there.

    ``base``: where relative URIs of labels begin.
    """

    run_by: ClassVar[str] = "featurestore_transforms.training.make_version:run_training_set"
    told_by: ClassVar[str | None] = "featurestore_transforms.lineage.lineage_run:training_lineage"
    kind: Literal["trainingSet"] = "trainingSet"
    base: str = "/"
    name: str
    number: int


class ErasureRequest(EngineRequest):
    """Finish erasure ``number`` of the storage root, and those before it."""

    run_by: ClassVar[str] = "featurestore_transforms.erasure.erase:run_erasure"
    kind: Literal["erasure"] = "erasure"
    number: int


class EraseKeysRequest(EngineRequest):
    """Erase the keys of the file at ``uri``, as ``request`` wishes it: begun once, and finished by whoever asks again.

    One of ``entity`` and ``view`` says whose keys they are.
    """

    run_by: ClassVar[str] = "featurestore_transforms.erasure.requested:erase_keys"
    kind: Literal["eraseKeys"] = "eraseKeys"
    base: str = "/"
    request: str
    asked_by: str
    uri: str
    entity: str | None = None
    view: str | None = None
    allow_return: bool = False


class ErasureResult(Model):
    """An erasure is finished. ``record``: a :class:`featurestore.erasure.record.ErasureRecord` as JSON."""

    kind: Literal["erased"] = "erased"
    number: int
    record: dict[str, Any]

    @property
    def what(self) -> str:
        """One word for machines."""
        return "KeysErased"

    @property
    def message(self) -> str:
        """What it came to, in a sentence."""
        return f"erasure {self.number} is finished, and its record signed"


class DryRunRequest(EngineRequest):
    """Say what a pipeline, and views of its dataset, would make of files that are there. Nothing is written.

    The answer is a :class:`featurestore.arrivals.dry_run_result.DryRunResult`. ``pipeline`` and ``views``: the
    resources, as the registry stores them. ``base``: as in :class:`BatchRequest`.
    """

    run_by: ClassVar[str] = "featurestore_transforms.entrypoint.dry_run:dry_run"
    kind: Literal["dryRun"] = "dryRun"
    base: str = "/"
    pipeline: dict[str, Any]
    views: tuple[dict[str, Any], ...] = ()


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


Request = (
    BatchRequest
    | RebuildRequest
    | PromoteRebuildRequest
    | BuildRequest
    | PublishRequest
    | TrainingSetRequest
    | EraseKeysRequest
)
"""What is done once, and then found done."""
AnyRequest = Annotated[Request | DryRunRequest | ErasureRequest, Field(discriminator="kind")]


class JobRequest(Model):
    """What one Job in a cluster is asked to do; ``task`` says it in a person's words.

    After a batch it brings on the views that :func:`covered` says. Asked for a build of a view, or to publish one, it
    does all for that build that is to be done: others are made by Jobs of their own, so that what serves does not wait for
    what is made beside it. ``time_limit_s``: a Job that takes longer ends itself.
    """

    kind: Literal["job"] = "job"
    pipeline: str
    task: str
    request: Annotated[Request, Field(discriminator="kind")]
    time_limit_s: float | None = None


WORKER_PORT = 6567
"""Where a warm worker is asked to run a batch."""
WORKER_DONE = b"done"
"""The last line of a worker's answer, if the batch is in storage; before it stand empty lines, one each second."""


class WarmBatch(Model):
    """What a warm worker is asked to run: a batch that is due, of a pipeline that has workers of this kind.

    It says nothing that would let somebody else have other work done: where data is and what is made of it, the worker finds out.
    """

    pipeline: Name
    number: Annotated[int, Field(ge=1)]
    turn: int = 0
    time_limit_s: Annotated[float, Field(gt=0)]


class Progress(Model):
    """How far a request has come: ``done`` of ``total`` rows or files (``unit``); None while the total is unknown."""

    step: str
    done: int
    total: int | None = None
    unit: Literal["rows", "files"] = "rows"


EngineResult = Annotated[
    BatchResult
    | PartResult
    | PieceResult
    | RebuildResult
    | BuildResult
    | BuildPartResult
    | PublishResult
    | TrainingSetResult
    | ErasureResult,
    Field(discriminator="kind"),
]
