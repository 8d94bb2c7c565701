"""Which file of a batch ends the process that reads it: attempts at the batch and its parts, recorded as they end.

A batch is attempted as a whole. After the second crash it is halved until a part passes or is a file alone, which
goes to quarantine after its second crash. What passes is kept, so the commit takes all parts but the killers:

    whole ✗ ✗ ─► [0, 4) ✓ ─► [4, 8) ✗ ─► [4, 6) ✓ ─► [6, 8) ✗ ─► [6, 7) ✗ ✗ ─► [7, 8) ✓ ─► commit all but 6

An attempt that ended is a trial: the object ``<n>/<turn>.json`` in a folder of the ledger, put if absent, turn after turn.
What is attempted next is a function of the trials, so that after any kill, and for any number of runners, there is one
answer. The manifest never changes. A batch whose first attempt commits has no trial.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import Field

from featurestore.failure import Failure
from featurestore.humanize import sentence
from featurestore.resources.model import Model
from featurestore.retry import FailureStreak
from featurestore.storage import paths
from featurestore.storage.objects import Storage, understanding

CRASHES = 2
"""So often must the batch, and then the file alone, have crashed: once may be chance."""
CRASHES_FROM_OUTSIDE = 6
"""For crashes that may be somebody's doing (``kill -9``): so many in a row are not chance any more."""
_RULES = {"OutOfTime": "file:timeout", "Unforeseen": "file:unforeseen"}
_SHARE, _LEAST = 4, 6
"""A part may take four times its share of the batch's time, and a sixth of all of it at least."""


class Trial(Model):
    """How an attempt at entries ``first`` … ``stop - 1`` of a batch ended, at ``ended_us``.

    ``crash``: None if it passed; then ``part`` is what the engine made of the entries. ``outside``: nothing shows
    that the entries were the cause. ``wants_memory``: it ran out of memory, and the next attempt is given more.
    """

    first: int
    stop: int
    ended_us: int
    crash: Failure | None = None
    outside: bool = False
    wants_memory: bool = False
    part: dict[str, Any] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Isolation:
    """How far the search in a batch has come. Turn 0, not ``halved``: the batch is a batch like any other.

    ``turn``: number of trials, and of the attempt to make now: at entries ``first`` … ``stop - 1``; both are equal
    when nothing is left but to commit the ``parts``. ``killers``: index of an entry to its last crash.
    ``streak``: crashes of the attempt to make now; None if it had none. ``out_of_memory``: how often any did.
    """

    turn: int = 0
    halved: bool = False
    first: int = 0
    stop: int = 0
    parts: tuple[Trial, ...] = ()
    killers: Mapping[int, Failure] = field(default_factory=dict)
    streak: FailureStreak | None = None
    last_crash: Failure | None = None
    out_of_memory: int = 0

    def share(self, sizes: Sequence[int]) -> float:
        """Which part of the batch the attempt is about. ``sizes``: of all entries, in bytes."""
        return sum(size + 1 for size in sizes[self.first : self.stop]) / sum(size + 1 for size in sizes)

    def time_limit_s(self, limit_s: float, share: float) -> float:
        """The time that the attempt may take. ``limit_s``: that of a batch; ``share``: which part of it the attempt is.

        The batch and a file alone may take all of it.

        >>> [Isolation(2, True, 0, stop).time_limit_s(600, stop / 100) for stop in (1, 2, 10, 50)]
        [600, 100.0, 240.0, 600]
        """
        if not self.halved or self.stop - self.first < 2:
            return limit_s
        return min(limit_s, max(limit_s * share * _SHARE, limit_s / _LEAST))


def isolate(entries: int, trials: Sequence[Trial]) -> Isolation:
    """What is to be attempted after these trials of a batch of so many entries.

    >>> from featurestore.failure import Failure
    >>> crash = Failure(type="WorkerKilled", problem="killed", retryable=True)
    >>> whole = Trial(first=0, stop=8, ended_us=0, crash=crash)
    >>> [(it.halved, it.first, it.stop) for it in (isolate(8, [whole] * n) for n in (1, 2))]
    [(False, 0, 8), (True, 0, 4)]
    """
    pending, halved = [(0, entries)], False
    parts: list[Trial] = []
    killers: dict[int, Failure] = {}
    crashes: list[Trial] = []
    for trial in trials:
        if not pending:
            break
        first, stop = pending[0]
        if trial.crash is None:
            parts.append(trial)
        else:
            crashes.append(trial)
            if not _is_enough(crashes, whole=not halved, alone=stop - first < 2):
                continue
            halved = True
            if stop - first < 2:
                killers[first] = trial.crash
            else:
                middle = (first + stop) // 2
                pending[1:1] = [(first, middle), (middle, stop)]
        del pending[0]
        crashes = []
    first, stop = pending[0] if pending else (entries, entries)
    failed = [trial for trial in trials if trial.crash is not None]
    last = crashes[-1] if crashes else None
    return Isolation(
        turn=len(trials),
        halved=halved,
        first=first,
        stop=stop,
        parts=tuple(parts),
        killers=killers,
        streak=FailureStreak(len(crashes), last.ended_us, last.crash) if last and last.crash else None,
        last_crash=failed[-1].crash if failed else None,
        out_of_memory=sum(trial.wants_memory for trial in trials),
    )


def _is_enough(crashes: Sequence[Trial], *, whole: bool, alone: bool) -> bool:
    """Whether the entries are given up as they are: to be halved, or to go to quarantine."""
    if crashes[-1].wants_memory:
        return False
    if alone:
        surely = sum(not crash.outside for crash in crashes)
        return surely >= CRASHES or len(crashes) >= CRASHES_FROM_OUTSIDE
    return len(crashes) >= (CRASHES if whole else 1)


def refusal(crash: Failure) -> tuple[str, str]:
    """The rule that a killer broke, and the reason for people."""
    rule = _RULES.get(crash.type, "file:killed")
    return rule, f"reading this file alone failed {CRASHES} times or more: {sentence(crash)}"


class Trials:
    """The trials of batches in one folder. Any number of processes may add to them at once."""

    __slots__ = ("_folder", "_known", "_number", "_storage")

    def __init__(self, storage: Storage, folder: str) -> None:
        self._storage = storage
        self._folder = folder
        self._number = 0
        self._known: list[Trial] = []

    def read(self, number: int) -> tuple[Trial, ...]:
        """All trials of batch ``number``, by turn.

        Raises:
            StorageError: storage did not answer, or has a trial that cannot be read.
        """
        if number != self._number or (self._known and not self._is_there(number)):
            self._number, self._known = number, []
        while True:
            path = paths.trial(self._folder, number, len(self._known))
            data = self._storage.find(path)
            if data is None:
                return tuple(self._known)
            where = self._storage.uri(path)
            folder = where.rpartition("/")[0]
            hint = f"Delete the folder {folder}: the batch is then attempted from the start"
            with understanding("the record of an attempt at a batch", where, hint):
                self._known.append(Trial.model_validate_json(data))

    def forget(self, number: int) -> None:
        """Let the batch be attempted from the start."""
        self._storage.delete(f"{self._folder}/{paths.number(number)}")

    def _is_there(self, number: int) -> bool:
        """Whether they still are what was read: they are deleted when the batch is attempted from the start."""
        return self._storage.find(paths.trial(self._folder, number, 0)) is not None

    def append(self, number: int, turn: int, trial: Trial) -> bool:
        """Whether this is the trial of that turn now; False if another one is."""
        data = trial.model_dump_json(by_alias=True).encode()
        return self._storage.put_if_absent(paths.trial(self._folder, number, turn), data)
