"""``featurestore logs``: what the runner of this folder did."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

from featurestore.cli.output import OutputFormat, dump, listing
from featurestore.errors import NotFound, did_you_mean
from featurestore.humanize import format_time
from featurestore.registry.project import Project
from featurestore.resources.kinds import KINDS
from featurestore.runner.journal import Event, Journal


def logs(project: Project, name: str | None, limit: int, form: OutputFormat | None) -> str:
    """What to print: the last events, the newest at the end.

    Raises:
        NotFound: nothing of that name is there, nor was there ever.
    """
    events = list(Journal(project.state).read(name))[-limit:]
    if name is not None and not events:
        _require(project, name)
    if form in (OutputFormat.JSON, OutputFormat.YAML):
        return dump(listing([event.model_dump(mode="json", exclude_none=True) for event in events]), form)
    return "\n".join(line(event) for event in events) or "No events yet."


def follow(
    project: Project, name: str | None, limit: int, form: OutputFormat | None, wait: Callable[[], bool]
) -> Iterator[str]:
    """What to print: the last events, then each one as it comes, until ``wait`` returns False.

    Raises:
        NotFound: nothing of that name is there, nor was there ever.
    """
    with Journal(project.state).reader(name) as reader:
        events = list(reader.new_events())[-limit:]
        if name is not None and not events:
            _require(project, name)
        while True:
            for event in events:
                yield line(event) if form in (None, OutputFormat.WIDE) else _entry(event, form)
            if not wait():
                return
            events = list(reader.new_events())


def _entry(event: Event, form: OutputFormat) -> str:
    """One event of a stream: a line of JSON, or a YAML document."""
    value = event.model_dump(mode="json", exclude_none=True)
    return json.dumps(value) if form is OutputFormat.JSON else f"---\n{dump(value, form)}"


def _require(project: Project, name: str) -> None:
    kinds = (kind for kind in KINDS.values() if not kind.only_one)
    known = {name for kind in kinds for name in project.registry.names(kind.model)}
    if name not in known:
        raise NotFound(f"no resource {name!r}", where=str(project.folder), hint=did_you_mean(name, known))


def line(event: Event) -> str:
    """The event in one line."""
    about = f"{event.subject}/{event.name}" if event.name else event.subject
    return f"{format_time(event.time_us)}  {about}  {event.what}  {event.message}"
