"""The log of a Delta table: which commits it still has, and of which table they are."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from featurestore.arrivals.delta.delta_commit import DeltaCommit, parse_commit
from featurestore.errors import Damaged, NotFound
from featurestore.storage.objects import Storage

LOG = "_delta_log"
_COMMIT = re.compile(r"([0-9]{20})\.json")
_CHECKSUM = re.compile(r"[0-9]{20}\.crc")


@dataclass(frozen=True, slots=True)
class LogLook:
    """The commits ``first`` … ``end - 1`` are there. ``table_id``: empty if nothing that is there tells it."""

    table_id: str
    first: int
    end: int


class DeltaLog:
    """``uri``: of the table. ``environ``: has the credentials; None for the process's own environment."""

    def __init__(self, uri: str, environ: Mapping[str, str] | None) -> None:
        self.uri, self._environ = uri, environ
        self._last: tuple[LogLook, str] | None = None

    @cached_property
    def storage(self) -> Storage:
        """Where the table is.

        Raises:
            StorageError: ``environ`` does not name the keys.
        """
        return Storage(self.uri, self._environ)

    def look(self) -> LogLook | None:
        """What is there now; None if there is no table. One listing of what is new, as long as the newest commit stays.

        Raises:
            StorageError: storage did not answer.
        """
        if self._last is not None:
            known, mark = self._last
            newest = _name(known.end - 1)
            marks = self.storage.since(LOG, newest)
            if marks.get(newest) == mark:
                return self._noted(known.table_id, known.first, known.end, marks)
        self._last = None
        marks = self.storage.since(LOG, "0")
        versions = sorted(int(match[1]) for name in marks if (match := _COMMIT.fullmatch(name)))
        if not versions:
            return None
        first = end = versions[-1]
        # Old commits are cleaned up in no order: what comes before a hole is as good as gone.
        present = set(versions)
        while first - 1 in present:
            first -= 1
        return self._noted(self._table_id(first, marks), first, end + 1, marks)

    def forget(self) -> None:
        """Look at all of the log again the next time: something that was there is gone."""
        self._last = None

    def commit(self, version: int) -> DeltaCommit:
        """What a commit does.

        Raises:
            NotFound: it is not there.
            StorageError: storage did not answer, or it cannot be read.
        """
        path = f"{LOG}/{_name(version)}"
        return parse_commit(version, self.storage.read(path), self.storage.uri(path))

    def has_commit(self, version: int) -> bool:
        """Whether it is there.

        Raises:
            StorageError: storage did not answer.
        """
        return _name(version) in self.storage.since(LOG, _name(version))

    def _noted(self, table_id: str, first: int, end: int, marks: Mapping[str, str]) -> LogLook:
        while _name(end) in marks:
            end += 1
        look = LogLook(table_id, first, end)
        self._last = look, marks[_name(end - 1)]
        return look

    def _table_id(self, first: int, marks: Mapping[str, str]) -> str:
        """The commit that made the table says it. Where that was cleaned up, checksums do that some engines write."""
        if first == 0:
            try:
                return self.commit(0).table_id or ""
            except NotFound:
                return ""
        for name in sorted(filter(_CHECKSUM.fullmatch, marks), reverse=True)[:1]:
            path = f"{LOG}/{name}"
            try:
                return str(json.loads(self.storage.read(path))["metadata"]["id"])
            except (NotFound, ValueError, TypeError, KeyError):
                return ""
        return ""


def _name(version: int) -> str:
    return f"{version:020}.json"


def table_file_uri(storage: Storage, path: str) -> str:
    """Where a file of a table is.

    Raises:
        Damaged: it is not below the table. The log of a table is written by others, and policies allow what a spec names.
    """
    if "://" in path or path.startswith("/") or ".." in path.split("/"):
        raise Damaged(
            "a file of the Delta table lies outside of it", where=storage.root, got=repr(path[:200])
        )
    return storage.uri(path)
