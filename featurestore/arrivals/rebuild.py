"""Running history again: a rebuild's written intent, what its batches came to, and how it ended.

A rebuild takes the arrivals of batches that are committed once more, under the newest spec and beside what is read;
then one commit puts all of that in the place of what was there. Like batches, rebuilds of a pipeline are numbered:

    intent ─► batch 1 ─► batch 2 ─► … ─► decision ─► quarantine ─► dataset ─► promoted

Each of these is an object that is put if absent, or one Delta commit that holds the rebuild's number: so a rerun finds
it done, whoever did it. Batches go on meanwhile. Those that are committed meanwhile are run again, too, so that what is
promoted is what a fresh store would hold; a rebuild of a time range leaves them as they are.

The number of the last rebuild that was promoted is the *generation* of the dataset: rows of two generations have the
same identity and other values, so whoever follows a dataset begins anew with each generation.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any, TypeVar

from pydantic import Field

from featurestore.arrivals.isolation import Isolation, Trials
from featurestore.arrivals.result import BatchCounts, BatchResult
from featurestore.digest import digest
from featurestore.errors import Conflict
from featurestore.resources.model import Model
from featurestore.storage import paths
from featurestore.storage.json_record import read_record
from featurestore.storage.objects import Storage

M = TypeVar("M", bound=Model)
_AT_ONCE = 16


class Rebuild(Model):
    """Intent comes before effect: which batches are run again, under which spec.

    ``uid``: the ledger's. ``last``: the last batch that was committed when it was planned. ``pieces``: first and last
    batch of each: what one request runs, unless something in it ends the process. ``ranged``: whether only these
    batches are meant, and none that comes later. ``lookups``: as in a manifest, for all batches. ``left_out``:
    ``(batch, file)`` of arrivals that cannot be read any more and that are given up.
    ``rows``, ``size_bytes``, ``took_us``: what these batches read, and how long that took, as far as it is known.
    ``request``: what asked for it, such as an annotation's value, which asks for one rebuild and no more.
    """

    pipeline: str
    uid: str
    number: int
    spec_digest: str
    created_us: int
    last: int
    pieces: tuple[tuple[int, int], ...]
    ranged: bool = False
    lookups: tuple[tuple[str, int], ...] = ()
    left_out: tuple[tuple[int, int], ...] = ()
    rows: int = 0
    size_bytes: int = 0
    took_us: int = 0
    request: str = ""

    def spans(self, done: int) -> Iterator[tuple[int, int]]:
        """First and last batch of each piece, when batches 1 … ``done`` are committed."""
        yield from self.pieces
        if not self.ranged:
            yield from ((number, number) for number in range(self.last + 1, done + 1))

    def batches(self, done: int) -> Iterator[int]:
        """Numbers of the batches to run again, when batches 1 … ``done`` are committed."""
        for first, last in self.spans(done):
            yield from range(first, last + 1)

    def covers(self, batch: int, done: int) -> bool:
        """Whether the batch is run again."""
        if not self.ranged and self.last < batch <= done:
            return True
        return any(first <= batch <= last for first, last in self.pieces)


class RebuiltBatch(BatchCounts):
    """What a batch came to in a rebuild. ``part``: what the engine made of it."""

    rows: int
    ended_us: int
    part: dict[str, Any] = Field(default_factory=dict)


class Decision(Model):
    """How a rebuild ends: it is promoted, or given up for this reason. Once written it stays."""

    promote: bool
    because: str = ""
    at_us: int


class Promoted(Model):
    """A rebuild has been promoted, when batches 1 … ``last`` were committed; ``result``: of the last, as it is since."""

    number: int
    last: int
    dataset_version: int
    result: BatchResult
    ended_us: int


@dataclass(frozen=True, slots=True)
class RebuildProgress:
    """How far a rebuild has come. ``due``: the batch to run next; None if the rebuild is to be promoted.

    ``isolation``: which attempt at that batch is due. ``done``: batches that were run.
    ``pieces_done``, ``pieces``: of the intent; batches that came later are not counted.
    """

    rebuild: Rebuild
    due: int | None
    done: int = 0
    isolation: Isolation = field(default_factory=Isolation)

    @property
    def pieces(self) -> int:
        return len(self.rebuild.pieces)

    @property
    def pieces_done(self) -> int:
        due = self.due
        if due is None:
            return self.pieces
        return sum(1 for _ in takewhile(lambda piece: piece[1] < due, self.rebuild.pieces))

    def facts(self) -> dict[str, Any]:
        """For ``status.rebuild``."""
        return {
            "number": self.rebuild.number,
            "spec": self.rebuild.spec_digest,
            "pieces": self.pieces,
            "piecesDone": self.pieces_done,
            "batchesDone": self.done,
            "message": str(self),
        }

    def __str__(self) -> str:
        """``rebuild 2: 3 of 8 pieces``."""
        if self.due is None:
            return f"rebuild {self.rebuild.number}: all pieces are there, it is promoted next"
        if self.due > self.rebuild.last:
            return f"rebuild {self.rebuild.number}: all pieces are there, batch {self.due} came meanwhile"
        return f"rebuild {self.rebuild.number}: {self.pieces_done} of {self.pieces} pieces"


class Rebuilds:
    """The rebuilds of one pipeline. Any number of processes may work on them at once.

    An instance remembers what it read; every call looks at storage for what came since.
    All methods raise :class:`StorageError` if storage does not answer.
    """

    __slots__ = ("_all", "_ended", "_pipeline", "_promoted", "_run", "_storage")

    def __init__(self, storage: Storage, pipeline: str) -> None:
        self._storage, self._pipeline = storage, pipeline
        self._all: list[Rebuild] = []
        self._promoted: dict[int, Promoted] = {}
        self._ended = 0
        self._run: dict[int, int] = {}

    def last(self) -> Rebuild | None:
        """The newest rebuild, ended or not; None if there never was one."""
        self._catch_up()
        return self._all[-1] if self._all else None

    def has_begun(self, request: str) -> bool:
        """Whether a rebuild was begun for this request, however it ended, or there was no history to run again."""
        self._catch_up()
        if any(each.request == request for each in self._all):
            return True
        return self._storage.find(paths.rebuild_asked(self._pipeline, digest(request))) is not None

    def begin_nothing(self, request: str) -> None:
        """Write down that this request was made before there was any history: it asks for no rebuild any more."""
        self._storage.put_if_absent(paths.rebuild_asked(self._pipeline, digest(request)), b"{}")

    def open(self) -> Rebuild | None:
        """The rebuild that is under way: never more than one."""
        newest = self.last()
        return newest if newest is not None and newest.number > self._ended else None

    def promoted(self) -> Promoted | None:
        """The last one that was promoted."""
        self._catch_up()
        return self._promoted[max(self._promoted)] if self._promoted else None

    def generation(self) -> int:
        """Number of the last one that was promoted; 0 before the first."""
        promoted = self.promoted()
        return promoted.number if promoted else 0

    def rebuilt_in(self, batch: int, *, fresh: bool = True) -> Promoted | None:
        """The last promoted rebuild that ran the batch again. ``fresh``: False to ask of many as of the last call."""
        if fresh:
            self._catch_up()
        for number in sorted(self._promoted, reverse=True):
            if self._all[number - 1].covers(batch, self._promoted[number].last):
                return self._promoted[number]
        return None

    def spec_digest(self, batch: int) -> str | None:
        """The spec under which a promoted rebuild ran the batch again, if that was another one than its own."""
        promoted = self.rebuilt_in(batch)
        rebuild = self._all[promoted.number - 1] if promoted else None
        return rebuild.spec_digest if rebuild is not None and batch <= rebuild.last else None

    def try_begin(self, rebuild: Rebuild) -> bool:
        """True if this intent is the newest now; False if another was first, or one is under way."""
        if self.open() is not None or rebuild.number != len(self._all) + 1:
            return False
        return self._put(rebuild.number, "intent", rebuild)

    def decide(self, number: int, decision: Decision) -> Decision:
        """How the rebuild ends: so, or as somebody else decided before."""
        self._put(number, "decision", decision)
        decided = self.decision(number)
        assert decided is not None
        return decided

    def decision(self, number: int) -> Decision | None:
        """How it is to end; None while that is open."""
        return self._find(number, "decision", Decision)

    def give_up(self, number: int, because: str, now_us: int) -> bool:
        """Whether the rebuild ends here; False if it is being promoted. Its data files are removed."""
        if self.decide(number, Decision(promote=False, because=because, at_us=now_us)).promote:
            return False
        for _, batch in self.batches(number):
            for table, files in (
                (paths.dataset(self._pipeline), batch.part.get("files", [])),
                (paths.quarantine("pipelines", self._pipeline), batch.part.get("quarantine", [])),
            ):
                for file in files:
                    self._storage.delete(f"{table}/{file['path']}")
        return True

    def end(self, promoted: Promoted) -> None:
        """Write down that a rebuild was promoted."""
        self._put(promoted.number, "promoted", promoted)

    def batch(self, number: int, batch: int) -> RebuiltBatch | None:
        """What a batch came to in a rebuild; None if it was not run yet."""
        path = paths.rebuilt_batch(self._pipeline, number, batch)
        hint = f"Delete {self._storage.uri(path)}: it is run again"
        return read_record(self._storage, path, RebuiltBatch, "what a batch came to in a rebuild", hint)

    def batches(self, number: int) -> list[tuple[int, RebuiltBatch]]:
        """All that was run of a rebuild, by batch."""
        folder = f"{paths.rebuild(self._pipeline, number)}/batches"
        numbers = [
            int(name.partition(".")[0])
            for thousand in self._storage.names(folder)
            for name in self._storage.names(f"{folder}/{thousand}")
        ]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            batches = pool.map(lambda batch: self.batch(number, batch), numbers)
            return [(n, batch) for n, batch in zip(numbers, batches, strict=True) if batch is not None]

    def try_batch(self, number: int, batch: RebuiltBatch) -> bool:
        """Whether this is what the batch came to; False if somebody else ran it first."""
        path = paths.rebuilt_batch(self._pipeline, number, batch.number)
        return self._storage.put_if_absent(path, batch.model_dump_json(by_alias=True).encode())

    def forget_batch(self, number: int, batch: int) -> None:
        """Let the batch be run again."""
        self._storage.delete(paths.rebuilt_batch(self._pipeline, number, batch))

    def trials(self, number: int) -> Trials:
        """How attempts at the batches of a rebuild ended."""
        return Trials(self._storage, f"{paths.rebuild(self._pipeline, number)}/trials")

    def due(self, rebuild: Rebuild, done: int) -> tuple[int | None, int]:
        """The batch to run next, None if there is none, and how many were run, when 1 … ``done`` are committed."""
        counted = 0
        reached = self._run.get(rebuild.number, 0)
        caught: set[int] = set()
        listed = ""
        for batch in rebuild.batches(done):
            if batch > reached:
                if paths.batch_folder(batch) != listed:
                    listed = paths.batch_folder(batch)
                    folder = f"{paths.rebuild(self._pipeline, rebuild.number)}/batches/{listed}"
                    caught = {int(name.partition(".")[0]) for name in self._storage.names(folder)}
                if batch not in caught:
                    self._run[rebuild.number] = batch - 1
                    return batch, counted
            counted += 1
        # Before it is promoted, all is looked at once more: data files of a batch may have been lost.
        self._run[rebuild.number] = 0
        return None, counted

    def _catch_up(self) -> None:
        """Read what is new. A rebuild begins only when the one before has ended, so only the last can be open."""
        while True:
            if self._all and self._ended < len(self._all) and not self._has_ended(len(self._all)):
                return
            self._ended = len(self._all)
            rebuild = self._find(len(self._all) + 1, "intent", Rebuild)
            if rebuild is None:
                return
            self._all.append(rebuild)

    def _has_ended(self, number: int) -> bool:
        promoted = self._find(number, "promoted", Promoted)
        if promoted is not None:
            self._promoted[number] = promoted
            return True
        decided = self.decision(number)
        return decided is not None and not decided.promote

    def _put(self, number: int, name: str, value: Model) -> bool:
        path = f"{paths.rebuild(self._pipeline, number)}/{name}.json"
        return self._storage.put_if_absent(path, value.model_dump_json(by_alias=True).encode())

    def _find(self, number: int, name: str, model: type[M]) -> M | None:
        path = f"{paths.rebuild(self._pipeline, number)}/{name}.json"
        hint = "Restore it from a backup, or from the versions that the bucket keeps"
        return read_record(self._storage, path, model, "the record of a rebuild", hint)


def earlier_histories(dataset_id: str) -> list[str]:
    """The identities that a dataset had before rebuilds replaced its history.

    >>> earlier_histories("8c1f/2"), earlier_histories("8c1f")
    (['8c1f', '8c1f/1'], [])
    """
    uid, _, generation = dataset_id.partition("/")
    return [uid, *(f"{uid}/{n}" for n in range(1, int(generation)))] if generation else []


def rebuild_application(uid: str) -> str:
    """The application whose greatest transaction in a dataset is its generation. ``uid``: of the ledger."""
    return f"{uid}/rebuild"


def current(rebuilds: Rebuilds, number: int) -> Rebuild:
    """The rebuild, which is under way.

    Raises:
        Conflict: it has ended, or another one has taken its place: it is not needed any more.
    """
    rebuild = rebuilds.open()
    if rebuild is None or rebuild.number != number:
        raise Conflict("this rebuild has ended", got=f"rebuild {number}")
    return rebuild
