"""What the runner did, for people: a bounded file of JSON lines that ``featurestore logs`` shows.

The truth stands in ledger and tables; losing the journal loses nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Self

from pydantic import ValidationError

from featurestore.failure import Failure
from featurestore.resources.model import Model

_MOST_BYTES = 1 << 20


class Event(Model):
    """One thing that happened to a resource. ``what``: one word for machines; ``message``: for people.

    ``subject``: what people call the kind of the resource ``name``; ``runner`` of what is about none.
    """

    time_us: int
    subject: str
    name: str = ""
    what: str
    message: str
    failure: Failure | None = None


class Journal:
    """Two files of a bounded size: the older one is dropped when the newer one is full."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._now = folder / "events.jsonl"
        self._before = folder / "events.1.jsonl"

    def write(self, event: Event) -> None:
        """Append the event."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with open(self._now, "a") as file:
            file.write(event.model_dump_json(by_alias=True, exclude_none=True) + "\n")
            full = file.tell() > _MOST_BYTES
        if full:
            self._now.replace(self._before)

    def forget(self) -> None:
        """Begin anew: what was written until now is gone."""
        self._before.unlink(missing_ok=True)
        self._now.unlink(missing_ok=True)

    def read(self, name: str | None = None) -> Iterator[Event]:
        """Events, the oldest first; of one resource if ``name`` says so."""
        with self.reader(name) as reader:
            yield from reader.new_events()

    def reader(self, name: str | None = None) -> JournalReader:
        """Reads all events first, and then what comes; of one resource if ``name`` says so."""
        return JournalReader(self._before, self._now, name)


class JournalReader:
    """Reads a journal that goes on being written, each event once. To be closed, as a context or by ``close``."""

    def __init__(self, before: Path, now: Path, name: str | None) -> None:
        self._before, self._now, self._name = before, now, name
        # Kept open: the number of a file that is gone may be given to the next one.
        self._file = _opened(before) or _opened(now)
        self._rest = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def new_events(self) -> Iterator[Event]:
        """What was written since the last call, the oldest first."""
        while self._file is not None or self._turn(self._now):
            assert self._file is not None
            # Before the rest is read: what is written until the file is found to be full is read then.
            is_current = _is(self._now, self._file)
            *lines, self._rest = (self._rest + self._file.read()).split(b"\n")
            for line in lines:
                event = _event(line)
                if event is not None and self._name in (None, event.name):
                    yield event
            if is_current:
                return
            # Unless the one that was read is the one before, that one came between and is read whole.
            skipped = self._before.exists() and not _is(self._before, self._file)
            if not self._turn(self._before if skipped else self._now):
                return

    def _turn(self, path: Path) -> bool:
        """Go on with another file; False if it is not there yet."""
        opened = _opened(path)
        if opened is None:
            return False
        self.close()
        self._file, self._rest = opened, b""
        return True


def _opened(path: Path) -> BinaryIO | None:
    try:
        return open(path, "rb")
    except FileNotFoundError:
        return None


def _is(path: Path, file: BinaryIO) -> bool:
    """Whether the path names this file."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _event(line: bytes) -> Event | None:
    """The event; None for a line that was cut off when the machine stopped."""
    try:
        return Event.model_validate_json(line)
    except ValidationError:
        return None
