"""What is to be done next: steps that are independent of each other, and what to tell people meanwhile.

Each step may be repeated, by this process or another: what is done already is found done.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from featurestore.reconcile.conditions import Condition
from featurestore.retry import FailureStreak


@dataclass(frozen=True, slots=True)
class CloseBatch:
    """Write the manifest of batch ``number``: the open batch's arrivals, under this spec."""

    pipeline: str
    number: int
    spec_digest: str
    lookups: tuple[tuple[str, int], ...] = ()

    @property
    def key(self) -> str:
        return f"close/{self.pipeline}/{self.number}/{self.spec_digest}"


@dataclass(frozen=True, slots=True)
class RunBatch:
    """Run batch ``number``. ``spec_digest`` is the accepted spec: after a change of it, failures are forgotten.

    ``turn``: which attempt at it is due, see :mod:`featurestore.arrivals.isolation`.
    """

    pipeline: str
    number: int
    spec_digest: str
    turn: int = 0

    @property
    def key(self) -> str:
        return f"batch/{self.pipeline}/{self.number}/{self.spec_digest}/{self.turn}"


@dataclass(frozen=True, slots=True)
class RunPiece:
    """Run the piece of a rebuild that begins with batch ``number``. ``turn``: as of a batch."""

    pipeline: str
    rebuild: int
    number: int
    turn: int = 0

    @property
    def key(self) -> str:
        return f"piece/{self.pipeline}/{self.rebuild}/{self.number}/{self.turn}"


@dataclass(frozen=True, slots=True)
class PromoteRebuild:
    """Put what a rebuild came to in the place of history. ``last``: the last batch that was committed."""

    pipeline: str
    rebuild: int
    last: int

    @property
    def key(self) -> str:
        return f"rebuild/{self.pipeline}/{self.rebuild}"


@dataclass(frozen=True, slots=True)
class WriteCheckpoint:
    """Sum up the arrivals of all batches so far, so that the next start is quick."""

    pipeline: str

    @property
    def key(self) -> str:
        return f"checkpoint/{self.pipeline}"


@dataclass(frozen=True, slots=True)
class BuildView:
    """Bring a build up to version ``to_version`` of the dataset."""

    view: str
    digest: str
    to_version: int
    spec_digest: str

    @property
    def key(self) -> str:
        return f"build/{self.view}/{self.digest}/{self.spec_digest}"


@dataclass(frozen=True, slots=True)
class Publish:
    """Bring the online store up to version ``to_version`` of the build's table, which holds ``commit`` of the dataset."""

    view: str
    digest: str
    to_version: int
    commit: int

    @property
    def key(self) -> str:
        return f"publish/{self.view}/{self.digest}"


@dataclass(frozen=True, slots=True)
class Promote:
    """Let readers read this build, as this resource describes it."""

    view: str
    digest: str
    spec_digest: str

    @property
    def key(self) -> str:
        return f"promote/{self.view}/{self.digest}/{self.spec_digest}"


@dataclass(frozen=True, slots=True)
class Retire:
    """Remove a build from the online store: nothing reads it any more."""

    view: str
    digest: str

    @property
    def key(self) -> str:
        return f"retire/{self.view}/{self.digest}"


Step = (
    CloseBatch
    | RunBatch
    | RunPiece
    | PromoteRebuild
    | WriteCheckpoint
    | BuildView
    | Publish
    | Promote
    | Retire
)


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps to take now, the time to look again if nothing else happens before (None: no need), and conditions.

    ``pipelines`` and ``views``: name to the conditions of that resource. ``failing``: ``pipelines/<name>`` or
    ``views/<name>`` to the failure that stands in its way.
    """

    steps: tuple[Step, ...]
    wake_us: int | None
    pipelines: Mapping[str, tuple[Condition, ...]]
    views: Mapping[str, tuple[Condition, ...]]
    failing: Mapping[str, FailureStreak]


def describe(step: Step) -> str:
    """The step in a person's words.

    >>> describe(RunBatch("flights", 12, "0f"))
    'run batch 12 of flights'
    """
    match step:
        case CloseBatch():
            return f"close batch {step.number} of {step.pipeline}"
        case RunBatch():
            return f"run batch {step.number} of {step.pipeline}"
        case RunPiece():
            return f"run batch {step.number} of {step.pipeline} again, for rebuild {step.rebuild}"
        case PromoteRebuild():
            return f"promote rebuild {step.rebuild} of {step.pipeline}"
        case WriteCheckpoint():
            return f"checkpoint the ledger of {step.pipeline}"
        case BuildView():
            return f"build {step.view} up to commit {step.to_version} of its dataset"
        case Publish():
            return f"publish commit {step.commit} of {step.view}"
        case Promote():
            return f"let {step.view} be read from build {step.digest}"
        case Retire():
            return f"remove build {step.digest} of {step.view} from the online store"
