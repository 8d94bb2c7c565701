"""What is to be done next: steps that are independent of each other, and what to tell people meanwhile.

Each step may be repeated, by this process or another: what is done already is found done.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from featurestore.protocol import (
    BatchRequest,
    BuildRequest,
    EraseKeysRequest,
    PromoteRebuildRequest,
    PublishRequest,
    RebuildRequest,
    Request,
)
from featurestore.reconcile.conditions import Condition
from featurestore.retry import FailureStreak
from featurestore.timestamps import SECOND_US


@dataclass(frozen=True, slots=True)
class Step(ABC):
    """One thing to do for the resource :attr:`subject`: its kind, as people call it, and its name."""

    @property
    @abstractmethod
    def subject(self) -> tuple[str, str]: ...

    @property
    @abstractmethod
    def key(self) -> str:
        """Names the step: its failures are counted under it, and what is under way is not planned again."""

    @property
    @abstractmethod
    def description(self) -> str:
        """The step in a person's words.

        >>> RunBatch("flights", 12, "0f").description
        'run batch 12 of flights'
        """


@dataclass(frozen=True, slots=True)
class EngineStep(Step):
    """A step that needs a data engine: it says what that is asked.

    ``yields_us``: where steps wait for their turn, by how much it goes after what became due at the same time.
    ``uri_field``: the field of the spec with what its Job opens beside the store; a cluster asks its policies about that.
    """

    yields_us: ClassVar[int] = 0
    uri_field: ClassVar[str] = ""

    @abstractmethod
    def request(self, root: str, base: str = "/") -> Request:
        """``root``: of the storage. ``base``: where relative sources begin."""


@dataclass(frozen=True, slots=True)
class PipelineStep(Step):
    pipeline: str

    @property
    def subject(self) -> tuple[str, str]:
        return "pipeline", self.pipeline


@dataclass(frozen=True, slots=True)
class ViewStep(Step):
    view: str

    @property
    def subject(self) -> tuple[str, str]:
        return "view", self.view


@dataclass(frozen=True, slots=True)
class CloseBatch(PipelineStep):
    """Write the manifest of batch ``number``: the open batch's arrivals, under this spec."""

    number: int
    spec_digest: str
    lookups: tuple[tuple[str, int], ...] = ()

    @property
    def key(self) -> str:
        return f"close/{self.pipeline}/{self.number}/{self.spec_digest}"

    @property
    def description(self) -> str:
        return f"close batch {self.number} of {self.pipeline}"


@dataclass(frozen=True, slots=True)
class RunBatch(PipelineStep, EngineStep):
    """Run batch ``number``. ``spec_digest`` is the accepted spec: after a change of it, failures are forgotten.

    ``turn``: which attempt at it is due, see :mod:`featurestore.arrivals.isolation`.
    """

    number: int
    spec_digest: str
    turn: int = 0

    @property
    def key(self) -> str:
        return f"batch/{self.pipeline}/{self.number}/{self.spec_digest}/{self.turn}"

    @property
    def description(self) -> str:
        return f"run batch {self.number} of {self.pipeline}"

    def request(self, root: str, base: str = "/") -> Request:
        return BatchRequest(root=root, base=base, pipeline=self.pipeline, number=self.number, turn=self.turn)


@dataclass(frozen=True, slots=True)
class RunPiece(PipelineStep, EngineStep):
    """Run the piece of a rebuild that begins with batch ``number``. ``turn``: as of a batch."""

    yields_us: ClassVar[int] = 600 * SECOND_US
    rebuild: int
    number: int
    turn: int = 0

    @property
    def key(self) -> str:
        return f"piece/{self.pipeline}/{self.rebuild}/{self.number}/{self.turn}"

    @property
    def description(self) -> str:
        return f"run batch {self.number} of {self.pipeline} again, for rebuild {self.rebuild}"

    def request(self, root: str, base: str = "/") -> Request:
        return RebuildRequest(
            root=root,
            base=base,
            pipeline=self.pipeline,
            rebuild=self.rebuild,
            number=self.number,
            turn=self.turn,
        )


@dataclass(frozen=True, slots=True)
class PromoteRebuild(PipelineStep, EngineStep):
    """Put what a rebuild came to in the place of history. ``last``: the last batch that was committed."""

    rebuild: int
    last: int

    @property
    def key(self) -> str:
        return f"rebuild/{self.pipeline}/{self.rebuild}"

    @property
    def description(self) -> str:
        return f"promote rebuild {self.rebuild} of {self.pipeline}"

    def request(self, root: str, base: str = "/") -> Request:
        return PromoteRebuildRequest(root=root, pipeline=self.pipeline, rebuild=self.rebuild)


@dataclass(frozen=True, slots=True)
class WriteCheckpoint(PipelineStep):
    """Sum up the arrivals of all batches so far, so that the next start is quick."""

    @property
    def key(self) -> str:
        return f"checkpoint/{self.pipeline}"

    @property
    def description(self) -> str:
        return f"checkpoint the ledger of {self.pipeline}"


@dataclass(frozen=True, slots=True)
class BuildView(ViewStep, EngineStep):
    """Bring a build up to version ``to_version`` of the dataset.

    ``turn``: which attempt at it is due, see :mod:`featurestore.views.build_trials`. ``compared_with``: if it is there, and
    only its drift is to be measured, with what.
    """

    yields_us: ClassVar[int] = 60 * SECOND_US
    digest: str
    to_version: int
    spec_digest: str
    turn: int = 0
    compared_with: str | None = None

    @property
    def key(self) -> str:
        return f"build/{self.view}/{self.digest}/{self.spec_digest}/{self.turn}"

    @property
    def description(self) -> str:
        return f"build {self.view} up to commit {self.to_version} of its dataset"

    def request(self, root: str, base: str = "/") -> Request:
        return BuildRequest(
            root=root,
            view=self.view,
            digest=self.digest,
            to_version=self.to_version,
            turn=self.turn,
            compared_with=self.compared_with,
        )


@dataclass(frozen=True, slots=True)
class Publish(ViewStep, EngineStep):
    """Bring the online store up to version ``to_version`` of the build's table, which holds ``commit`` of the dataset."""

    digest: str
    to_version: int
    commit: int

    @property
    def key(self) -> str:
        return f"publish/{self.view}/{self.digest}"

    @property
    def description(self) -> str:
        return f"publish commit {self.commit} of {self.view}"

    def request(self, root: str, base: str = "/") -> Request:
        return PublishRequest(
            root=root,
            view=self.view,
            digest=self.digest,
            to_version=self.to_version,
            commit=self.commit,
        )


@dataclass(frozen=True, slots=True)
class Promote(ViewStep):
    """Let readers read this build, as this resource describes it."""

    digest: str
    spec_digest: str

    @property
    def key(self) -> str:
        return f"promote/{self.view}/{self.digest}/{self.spec_digest}"

    @property
    def description(self) -> str:
        return f"let {self.view} be read from build {self.digest}"


@dataclass(frozen=True, slots=True)
class Retire(ViewStep):
    """Remove a build from the online store: nothing reads it any more."""

    digest: str

    @property
    def key(self) -> str:
        return f"retire/{self.view}/{self.digest}"

    @property
    def description(self) -> str:
        return f"remove build {self.digest} of {self.view} from the online store"


@dataclass(frozen=True, slots=True)
class EraseKeys(EngineStep):
    """Erase the keys of a file, as the resource ``name`` asks for; ``wish`` names this one among all of that name."""

    name: str
    wish: str
    asked_by: str
    uri: str
    entity: str | None
    view: str | None
    allow_return: bool

    @property
    def subject(self) -> tuple[str, str]:
        return "erasure", self.name

    @property
    def key(self) -> str:
        return f"erase/{self.name}/{self.wish}"

    @property
    def description(self) -> str:
        return f"erase the keys of {self.name}"

    def request(self, root: str, base: str = "/") -> Request:
        return EraseKeysRequest(
            root=root,
            base=base,
            request=self.wish,
            asked_by=self.asked_by,
            uri=self.uri,
            entity=self.entity,
            view=self.view,
            allow_return=self.allow_return,
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps to take now, the time to look again if nothing else happens before (None: no need), and conditions.

    ``conditions``: folder of a kind to name to the conditions of that resource. ``failing``: ``<folder>/<name>`` to the
    failure that stands in its way.
    """

    steps: tuple[Step, ...]
    wake_us: int | None
    conditions: Mapping[str, Mapping[str, tuple[Condition, ...]]]
    failing: Mapping[str, FailureStreak]

    @property
    def pipelines(self) -> Mapping[str, tuple[Condition, ...]]:
        return self.conditions["pipelines"]

    @property
    def views(self) -> Mapping[str, tuple[Condition, ...]]:
        return self.conditions["views"]
