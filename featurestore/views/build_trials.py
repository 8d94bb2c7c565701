"""Which rows of a dataset end the process that builds a view of them: attempts at a build and its parts.

The search is that in a batch (:mod:`featurestore.arrivals.isolation`), over the rows that the build takes instead of files:
after the second crash they are halved, until a part passes or is a row alone that crashes twice. That row goes to the
build's quarantine; all others are committed together. After :data:`MOST_ROWS` such rows no more are set aside: then it is
hardly the rows.

What is attempted is about one version of the dataset and the rows that came since the one that the build holds. Both are
written before the first part is read, and are kept until the build has that version.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from featurestore.arrivals.isolation import CRASHES, Isolation, Trial, Trials, isolate
from featurestore.failure import Failure
from featurestore.humanize import sentence
from featurestore.resources.model import Model
from featurestore.storage import paths
from featurestore.storage.json_record import read_record
from featurestore.storage.objects import Storage
from featurestore.views.builds import read_build

MOST_ROWS = 10
"""So many rows are set aside of one build at most: if more crash alone, something else is wrong."""
_RULES = {"OutOfTime": "row:timeout", "Unforeseen": "row:unforeseen"}
KILLER_RULES = ("row:killed", *_RULES.values())
_UNKNOWN = 1 << 62
"""Rows, before they were counted."""


class BuildPlan(Model):
    """The rows that are searched: ``rows`` of version ``to_version`` of the dataset. ``files``: digest of their files."""

    to_version: int
    rows: int
    files: str


@dataclass(frozen=True, slots=True)
class BuildIsolation:
    """How far the search has come. ``plan``: None while the rows were not counted."""

    isolation: Isolation = field(default_factory=Isolation)
    plan: BuildPlan | None = None

    @property
    def turn(self) -> int:
        return self.isolation.turn

    @property
    def is_over(self) -> bool:
        """Whether a crash says nothing of rows any more: all were attempted, or too many are set aside already."""
        isolation = self.isolation
        return isolation.first >= isolation.stop or len(isolation.killers) >= MOST_ROWS

    @property
    def share(self) -> float:
        """Which part of the rows the attempt is about."""
        rows = self.plan.rows if self.plan else 0
        return (self.isolation.stop - self.isolation.first) / rows if rows else 1


def row_refusal(crash: Failure) -> tuple[str, str]:
    """The rule that a row broke which crashes alone, and the reason for people."""
    rule = _RULES.get(crash.type, KILLER_RULES[0])
    return rule, f"building the view of this row alone failed {CRASHES} times or more: {sentence(crash)}"


class BuildTrials:
    """The trials of one build that holds version ``held`` of its dataset. Any number of processes may add to them at once."""

    def __init__(self, storage: Storage, view: str, digest: str, held: int) -> None:
        self._storage, self._held = storage, held
        self._folder = paths.build_trials(view, digest)
        self._trials = Trials(storage, self._folder)

    @classmethod
    def of(cls, storage: Storage, view: str, digest: str) -> BuildTrials:
        """Those of a build as far as it is known to have come.

        Raises:
            StorageError: storage did not answer.
        """
        build = read_build(storage, view, digest)
        return cls(storage, view, digest, build.source_version if build is not None else 0)

    def read(self) -> BuildIsolation:
        """What is to be attempted now.

        Raises:
            StorageError: storage did not answer, or has a trial that cannot be read.
        """
        trials = self._trials.read(self._held)
        if not trials:
            return BuildIsolation(isolate(_UNKNOWN, ()))
        plan = self._plan()
        if plan is not None and not plan.rows:
            # What crashes is no row.
            return BuildIsolation(Isolation(turn=len(trials)), plan)
        return BuildIsolation(isolate(plan.rows if plan else _UNKNOWN, trials), plan)

    def begin(self, plan: BuildPlan) -> BuildIsolation:
        """:meth:`read`, now that the rows are counted."""
        self._storage.put_if_absent(self._plan_path, plan.model_dump_json(by_alias=True).encode())
        return self.read()

    def append(self, turn: int, trial: Trial) -> bool:
        """Whether this is the trial of that turn now; False if another one is."""
        return self._trials.append(self._held, turn, trial)

    def forget(self) -> None:
        """Let the build be attempted from the start."""
        self._trials.forget(self._held)

    @property
    def _plan_path(self) -> str:
        return paths.build_plan(self._folder, self._held)

    def _plan(self) -> BuildPlan | None:
        folder = self._storage.uri(self._plan_path).rpartition("/")[0]
        hint = f"Delete the folder {folder}: the build is then attempted from the start"
        return read_record(self._storage, self._plan_path, BuildPlan, "which rows are searched", hint)
