"""What the runner did, for people: a bounded file of JSON lines that ``featurestore logs`` shows.

The truth stands in ledger and tables; losing the journal loses nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from featurestore.failure import Failure
from featurestore.resources.model import Model

_MOST_BYTES = 1 << 20

Subject = Literal["pipeline", "view", "runner"]


class Event(Model):
    """One thing that happened to a resource. ``what``: one word for machines; ``message``: for people."""

    time_us: int
    subject: Subject
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

    def read(self, name: str | None = None) -> Iterator[Event]:
        """Events, the oldest first; of one resource if ``name`` says so."""
        for path in (self._before, self._now):
            if not path.exists():
                continue
            for line in path.read_text().splitlines():
                event = _event(line)
                if event is not None and name in (None, event.name):
                    yield event


def _event(line: str) -> Event | None:
    """The event; None for a line that was cut off when the machine stopped."""
    try:
        return Event.model_validate_json(line)
    except ValidationError:
        return None
