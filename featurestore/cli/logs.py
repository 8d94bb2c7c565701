"""``featurestore logs``: what the runner of this folder did."""

from __future__ import annotations

from featurestore.cli.output import Format, dump, listing
from featurestore.project import Project
from featurestore.runner.journal import Event, Journal
from featurestore.wording import format_time


def logs(project: Project, name: str | None, limit: int, form: Format | None) -> str:
    """What to print: the last events, the newest at the end."""
    events = list(Journal(project.state).read(name))[-limit:]
    if form in (Format.JSON, Format.YAML):
        return dump(listing([event.model_dump(mode="json", exclude_none=True) for event in events]), form)
    return "\n".join(line(event) for event in events) or "No events yet."


def line(event: Event) -> str:
    """The event in one line."""
    about = f"{event.subject}/{event.name}" if event.name else event.subject
    return f"{format_time(event.time_us)}  {about}  {event.what}  {event.message}"
