"""Which arrivals were taken, in which batch: written before they are taken, never changed, never forgotten.

Batches are numbered 1, 2, 3 … without holes. Each has a manifest, written if absent, and a result once it has
landed. Checkpoints fold old manifests, so that a start reads one object and the few manifests after it.
A row is traced to its file by its ``__batch`` and ``__file``: ``ledger.manifest(batch).entries[file]``.
"""

from __future__ import annotations

import heapq
import json
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence

from featurestore.arrivals.arrival import Arrival
from featurestore.arrivals.checkpoint import Checkpoint, KnownArrival, pack, parse, version_of
from featurestore.arrivals.erasure import ErasedHistories, ErasedHistory
from featurestore.arrivals.isolation import Isolation, Trial, Trials, isolate
from featurestore.arrivals.manifest import Action, Entry, Manifest
from featurestore.arrivals.rebuild import RebuildProgress, Rebuilds
from featurestore.arrivals.result import BatchResult
from featurestore.arrivals.retimed import Retimed
from featurestore.arrivals.source import Decide
from featurestore.digest import canonical_json
from featurestore.errors import NotFound, RequestError, StorageError
from featurestore.failpoint import hit
from featurestore.storage import paths
from featurestore.storage.json_record import read_record
from featurestore.storage.objects import Storage, understanding

# A start reads every manifest after the last checkpoint, and holds their entries in memory.
CHECKPOINT_MANIFESTS = 100
CHECKPOINT_ENTRIES = 100_000
_END = ("", "")


class Ledger:
    """The ledger of one pipeline. Any number of processes may write to it at once.

    An instance remembers what it read; every call looks at storage for what came since.
    All methods raise :class:`StorageError` if storage does not answer.
    """

    __slots__ = (
        "_base",
        "_done",
        "_head",
        "_later",
        "_later_entries",
        "_later_manifests",
        "_pipeline",
        "_rebuild_trials",
        "_sizes",
        "_storage",
        "_trials",
        "_uid",
        "erased",
        "rebuilds",
        "retimed",
    )

    def __init__(self, storage: Storage, pipeline: str) -> None:
        self._storage = storage
        self._pipeline = pipeline
        self._uid: str | None = None
        self._done = 0
        self._head = 0
        self._base: Checkpoint | None = None
        self._later: dict[str, list[KnownArrival]] = {}
        self._later_entries = 0
        self._later_manifests = 0
        self.retimed = Retimed(storage, pipeline)
        """Versions that bring nothing new."""
        self._trials = (0, Trials(storage, paths.trials(pipeline, 0)))
        self.rebuilds = Rebuilds(storage, pipeline)
        self.erased = ErasedHistories(storage, pipeline)
        self._rebuild_trials: tuple[int, Trials] | None = None
        self._sizes: tuple[int, list[int]] = (0, [])

    def uid(self) -> str:
        """The ledger's identity: the application id of all commits made from it."""
        if self._uid is None:
            self._uid = self._stored_uid()
        if self._uid is None:
            path = paths.identity(self._pipeline)
            self._storage.put_if_absent(path, canonical_json({"uid": uuid.uuid4().hex}))
            self._uid = self._uid_in(self._storage.read(path))
        return self._uid

    def dataset_id(self) -> str:
        """The identity of the dataset: of the ledger, and of the last rebuild that replaced its history."""
        generation = self.rebuilds.generation()
        return f"{self.uid()}/{generation}" if generation else self.uid()

    @property
    def storage(self) -> Storage:
        """Where it stands."""
        return self._storage

    @property
    def pipeline(self) -> str:
        """Name of the pipeline."""
        return self._pipeline

    def is_current(self) -> bool:
        """Whether storage still has the ledger that this instance read: it may be deleted, and another begun."""
        return self._uid is None or self._stored_uid() == self._uid

    def require_current(self, uid: str) -> None:
        """Raises NotFound if the ledger ``uid`` was deleted: what was begun for it must not be committed."""
        if self._stored_uid() != uid:
            raise NotFound(
                "the pipeline was deleted with its data meanwhile", where=f"the ledger of {self._pipeline!r}"
            )

    def _stored_uid(self) -> str | None:
        data = self._storage.find(paths.identity(self._pipeline))
        return None if data is None else self._uid_in(data)

    def _uid_in(self, data: bytes) -> str:
        path = self._storage.uri(paths.identity(self._pipeline))
        with understanding("the identity of a ledger", path, self._restore()):
            return str(json.loads(data)["uid"])

    def last_batch(self) -> int:
        """The greatest number of a manifest; 0 if there is none."""
        if self._base is None:
            self._head = self._last("manifests", self._head)
        else:
            self._catch_up()
        return self._head

    def committed_batch(self) -> int:
        """The greatest n such that batches 1 … n have results."""
        self._done = self._last("results", self._done)
        return self._done

    def last_result(self, known: BatchResult | None = None) -> BatchResult | None:
        """The result of :meth:`committed_batch`; None before the first. ``known``: an earlier answer, which is not read again.

        If a rebuild was promoted or keys were erased since, it is what that made of it.

        Raises:
            StorageError: storage did not answer.
        """
        done = self.committed_batch()
        if not done:
            return None
        changed = self._changed_since(done)
        if changed is not None:
            return changed
        return known if known is not None and known.number == done else self.result(done)

    def counted(self, n: int) -> BatchResult | None:
        """The result of batch ``n``; if a rebuild or an erasure came after it and before the next one, what that made of it."""
        return self._changed_since(n) or self.result(n)

    def _changed_since(self, n: int) -> BatchResult | None:
        """What a rebuild or an erasure made of batch ``n`` when it was the last one: the later of them."""
        promoted = self.rebuilds.promoted()
        results = [promoted.result] if promoted is not None and promoted.last == n else []
        results += [each.result for each in self.erased.all() if each.last == n]
        return max(results, key=lambda result: result.dataset_version, default=None)

    def caught(self, n: int) -> Mapping[int, int]:
        """What is in quarantine of batch ``n``: index of a file to its rows there, 0 for the file as a whole."""
        promoted = self.rebuilds.rebuilt_in(n)
        result = self.result(n) if promoted is None else self.rebuilds.batch(promoted.number, n)
        if result is None:
            return {}
        generation = promoted.number if promoted is not None else 0
        erased = [each.caught[n] for each in self._erased_of(n) if each.generation >= generation]
        return _without(result.caught, erased)

    def _erased_of(self, n: int) -> list[ErasedHistory]:
        return [each for each in self.erased.all() if n in each.caught]

    def manifest(self, n: int) -> Manifest:
        """The intent of batch ``n``.

        Raises:
            NotFound: there is no such batch.
        """
        data = self._storage.find(paths.manifest(self._pipeline, n))
        if data is None:
            raise NotFound("no such batch", where=f"the ledger of {self._pipeline!r}", got=str(n))
        return self._manifest(n, data)

    def result(self, n: int) -> BatchResult | None:
        """What batch ``n`` became; None while it has not landed."""
        path = paths.result(self._pipeline, n)
        again = "`featurestore run` writes it again, from the commit of the batch"
        hint = f"Delete {self._storage.uri(path)}: {again}"
        return read_record(self._storage, path, BatchResult, "the result of a batch", hint)

    def isolation(self, n: int) -> Isolation:
        """How far the search in batch ``n`` has come for what ends the process that reads it.

        Raises:
            NotFound: there is no such batch.
        """
        generation = self.rebuilds.generation()
        if self._trials[0] != generation:
            # What parts of a batch came to is of no use once history was replaced.
            folder = paths.trials(self._pipeline, generation)
            self._trials = (generation, Trials(self._storage, folder))
        return isolate(len(self.sizes(n)), self._trials[1].read(n))

    def rebuild_progress(self) -> RebuildProgress | None:
        """How far the rebuild has come that is under way; None if none is.

        Raises:
            StorageError: storage did not answer.
        """
        rebuild = self.rebuilds.open()
        if rebuild is None:
            return None
        due, done = self.rebuilds.due(rebuild, self.committed_batch())
        if due is None:
            return RebuildProgress(rebuild, None, done)
        if self._rebuild_trials is None or self._rebuild_trials[0] != rebuild.number:
            self._rebuild_trials = (rebuild.number, self.rebuilds.trials(rebuild.number))
        isolation = isolate(len(self.sizes(due)), self._rebuild_trials[1].read(due))
        return RebuildProgress(rebuild, due, done, isolation)

    def sizes(self, n: int) -> list[int]:
        """The bytes of each file of batch ``n``.

        Raises:
            NotFound: there is no such batch.
        """
        if self._sizes[0] != n:
            self._sizes = (n, [entry.arrival.size_bytes for entry in self.manifest(n).entries])
        return self._sizes[1]

    def try_trial(self, n: int, turn: int, trial: Trial) -> bool:
        """Whether this is how attempt ``turn`` at batch ``n`` ended; False if another trial says so."""
        return self._trials[1].append(n, turn, trial)

    def forget_trials(self, n: int) -> None:
        """Let batch ``n`` be attempted from the start."""
        Trials(self._storage, paths.trials(self._pipeline, self.rebuilds.generation())).forget(n)

    def try_append(self, manifest: Manifest) -> bool:
        """True if the manifest is written now; False if another was first, or has taken one of its arrivals.

        After False, look again: ask :meth:`new_entries` for what is left and make another manifest.

        Raises:
            RequestError: the manifest belongs to another ledger, or would leave a hole in the numbers.
        """
        self._open()
        if manifest.number <= self._head:
            return False
        if manifest.uid != self.uid() or manifest.number != self._head + 1:
            raise RequestError(
                "the manifest does not fit the ledger",
                where=f"the ledger of {self._pipeline!r}",
                wanted=f"number {self._head + 1} of {self.uid()}",
                got=f"number {manifest.number} of {manifest.uid}",
            )
        if not self._still_fits(manifest):
            return False
        path = paths.manifest(self._pipeline, manifest.number)
        if not self._storage.put_if_absent(path, manifest.to_json()):
            return False
        self._remember(manifest)
        return True

    def new_entries(self, listing: Iterable[Arrival], decide: Decide) -> Iterator[Entry]:
        """What to do with those arrivals of a listing, sorted by URI, that the ledger does not know.

        ``decide``: of their source.

        Memory does not grow with the listing nor with the ledger.

        Raises:
            StorageError: the listing is not sorted.
        """
        self._open()
        yield from self._new(listing, decide)

    def knows(self, listing: Iterable[Arrival], decide: Decide) -> bool:
        """True if nothing of a listing, sorted by URI, is new; as fresh as :meth:`entry`."""
        if self._base is None:
            self._open()
        return next(self._new(listing, decide), None) is None

    def _new(self, listing: Iterable[Arrival], decide: Decide) -> Iterator[Entry]:
        assert self._base is not None
        lines = self._base.lines()
        at, line = next(lines, _END)
        last = ""
        retimed = self.retimed.in_order()
        for arrival in listing:
            uri = arrival.uri
            if uri <= last:
                raise StorageError("the listing is not sorted", wanted=f"a URI after {last!r}", got=repr(uri))
            last = uri
            while line and at < uri:
                at, line = next(lines, _END)
            here: list[str] = []
            while line and at == uri:
                here.append(line)
                at, line = next(lines, _END)
            if arrival.version in map(version_of, here):
                continue
            known = [*map(parse, here), *self._later.get(uri, ())]
            if known and retimed(arrival):
                continue
            entry = decide(arrival, known)
            if entry is not None:
                yield entry

    def entry(self, arrival: Arrival, decide: Decide) -> Entry | None:
        """What to do with one arrival, say one that a hint named; None if the ledger knows it.

        As of the last :meth:`last_batch` or :meth:`new_entries`: this one does not look at storage again.
        """
        known = self.known(arrival.uri)
        return None if known and arrival in self.retimed else decide(arrival, known)

    def known(self, uri: str) -> list[KnownArrival]:
        """All entries of all manifests that name this file, by batch; as fresh as :meth:`entry`."""
        if self._base is None:
            self._open()
        assert self._base is not None
        return [*self._base.find(uri), *self._later.get(uri, ())]

    def checkpoint_is_due(self) -> bool:
        """True if so much came since the last checkpoint that the next start would feel it; as fresh as :meth:`entry`."""
        if self._base is None:
            self._open()
        return self._later_manifests >= CHECKPOINT_MANIFESTS or self._later_entries >= CHECKPOINT_ENTRIES

    def checkpoint(self) -> None:
        """Fold all manifests into one object, and drop all such objects but the last two.

        Losing a checkpoint loses nothing: the manifests stay.
        """
        self._open()
        if not self._later_manifests:
            return
        assert self._base is not None
        later = sorted(row for rows in self._later.values() for row in rows)
        data = pack(heapq.merge(self._base, later))
        path = paths.checkpoint(self._pipeline, self._head)
        hit("before-checkpoint")
        self._storage.put_if_absent(path, data)
        hit("after-checkpoint")
        self._base = Checkpoint(data, self._storage.uri(path))
        self._later = {}
        self._later_entries = self._later_manifests = 0
        folder = self._folder("checkpoints")
        for name in self._storage.names(folder)[:-2]:
            self._storage.delete(f"{folder}/{name}")

    def _open(self) -> None:
        if self._base is None:
            folder = self._folder("checkpoints")
            names = self._storage.names(folder)
            if names:
                path = f"{folder}/{names[-1]}"
                self._base = Checkpoint(self._storage.read(path), self._storage.uri(path))
                self._head = int(names[-1].partition(".")[0])
            else:
                self._base = Checkpoint()
                self._head = 0
        self._catch_up()

    def _catch_up(self) -> None:
        while (data := self._storage.find(paths.manifest(self._pipeline, self._head + 1))) is not None:
            self._remember(self._manifest(self._head + 1, data))

    def _manifest(self, n: int, data: bytes) -> Manifest:
        path = paths.manifest(self._pipeline, n)
        with understanding("the manifest of a batch", self._storage.uri(path), self._restore()):
            manifest = Manifest.from_json(data)
            if (manifest.pipeline, manifest.number) != (self._pipeline, n):
                raise ValueError(f"it is of batch {manifest.number} of {manifest.pipeline!r}")
            return manifest

    def _restore(self) -> str:
        """What to do about an object of the ledger that cannot be made again from anything else."""
        return (
            "Restore it from a backup, or from the versions that the bucket keeps. Without one: `featurestore delete "
            f"pipeline {self._pipeline} --data`, then apply it again, and all files are read again"
        )

    def _remember(self, manifest: Manifest) -> None:
        for file, entry in enumerate(manifest.entries):
            row = KnownArrival.of(entry, manifest.number, file)
            self._later.setdefault(row.uri, []).append(row)
        self._later_entries += len(manifest.entries)
        self._later_manifests += 1
        self._head = manifest.number

    def _still_fits(self, manifest: Manifest) -> bool:
        named: set[object] = set()
        for entry in sorted(manifest.entries, key=lambda entry: entry.arrival.uri):
            name = entry.replays or (entry.arrival.uri, entry.arrival.version)
            if name in named or not _fits(entry, self.known(entry.arrival.uri)):
                return False
            named.add(name)
        return True

    def _last(self, kind: str, known: int) -> int:
        if known == 0:
            folders = self._storage.names(self._folder(kind))
            if not folders:
                return 0
            # A folder is begun only when all before it are full.
            known = max(int(folders[-1]) * paths.FOLDER_BATCHES - 1, 0)
        while True:
            folder = paths.batch_folder(known + 1)
            names = self._storage.names(f"{self._folder(kind)}/{folder}")
            numbers = {int(name.partition(".")[0]) for name in names}
            while known + 1 in numbers:
                known += 1
            if paths.batch_folder(known + 1) == folder:
                return known

    def _folder(self, kind: str) -> str:
        return f"{paths.ledger(self._pipeline)}/{kind}"


def _without(caught: Mapping[int, int], erased: Iterable[Mapping[int, int]]) -> Mapping[int, int]:
    """How many rows of each file are in quarantine, without those that were erased; a file without any is left out."""
    left = dict(caught)
    for each in erased:
        for file, rows in each.items():
            if left.get(file, 0) > rows:
                left[file] -= rows
            else:
                left.pop(file, None)
    return left


def live(known: Iterable[KnownArrival]) -> tuple[tuple[int, int], ...]:
    """The ``(batch, file)`` of a file's entries whose rows stand in the dataset, by batch."""
    standing: list[tuple[int, int]] = []
    for row in known:
        if row.action is Action.REPLACE:
            standing.clear()
        if row.action is not Action.REJECT:
            standing.append((row.batch, row.file))
    return tuple(standing)


def _fits(entry: Entry, known: Sequence[KnownArrival]) -> bool:
    """True if nothing was written of its URI since the entry was decided."""
    if entry.action is Action.REPLAY:
        return all(row.replays != entry.replays for row in known)
    return entry.follows == (known[-1].place if known else None)
