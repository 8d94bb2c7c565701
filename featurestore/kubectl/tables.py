"""What ``status``, ``quarantine`` and ``history`` print of resources."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from featurestore.cli.output import columns, screen_width
from featurestore.humanize import age
from featurestore.kubectl.cluster import Cluster, last_seen
from featurestore.kubectl.condition_list import condition, is_observed, wrong
from featurestore.kubectl.job_list import jobs_table
from featurestore.timestamps import SECOND_US, parse_us

Object = dict[str, Any]
NO_RESOURCES = "No resources found."


def since(time: str | None, now_us: int) -> str | None:
    """How long ago a time of the API server was.

    >>> since("1970-01-01T00:00:01Z", 43_000_000)
    '42s'
    """
    if not time:
        return None
    try:
        return age((now_us - parse_us(time)) / SECOND_US)
    except ValueError:
        return time


def status_table(resources: Sequence[Object], now_us: int, *, namespaces: bool) -> str:
    """One line for each: is it ready, since when, how fresh, and what is wrong."""
    if not resources:
        return NO_RESOURCES
    header = ["NAME", "READY", "SINCE", "FRESHNESS", "ROWS", "REFUSED", "PENDING", "WRONG"]
    rows: list[list[object]] = []
    for resource in resources:
        facts = resource.get("status") or {}
        ready = condition(resource, "Ready")
        name = f"{resource['kind'].lower()}/{resource['metadata']['name']}"
        row: list[object] = [
            name,
            ready.get("status") or "Unknown",
            since(ready.get("lastTransitionTime"), now_us),
            since(facts.get("watermark"), now_us),
            facts.get("rows"),
            _refused(facts),
            facts.get("pendingFiles"),
            _summary(resource),
        ]
        rows.append([resource["metadata"]["namespace"], *row] if namespaces else row)
    return columns(["NAMESPACE", *header] if namespaces else header, rows, screen_width())


def quarantine_text(resources: Sequence[Object], now_us: int, *, named: bool) -> str:
    """What is open in quarantine, and the rules that the last batches met. ``named``: also of one where nothing is."""
    having = [resource for resource in resources if named or any(_open(resource))]
    if not having:
        return "Nothing is in quarantine."
    parts = []
    for resource in having:
        files, rows = _open(resource)
        where = f"{resource['kind'].lower()}/{resource['metadata']['name']}"
        parts.append(f"{where}: {_counted(files, rows)}")
        broken = [
            [
                str(batch["number"]),
                since(batch["time"], now_us),
                rule["rule"],
                rule.get("files"),
                rule.get("rows"),
            ]
            for batch in _batches(resource)
            for rule in batch.get("broken", ())
        ]
        if broken:
            table = columns(["BATCH", "AGE", "RULE", "FILES", "ROWS"], broken)
            parts += ["  Of its last batches:", *(f"    {line}" for line in table.splitlines())]
    return "\n".join(parts)


def history_text(resource: Object, cluster: Cluster, now_us: int) -> str:
    """Its last batches, its Jobs that are still there, and its Events."""
    sections = []
    if batches := _batches(resource):
        rows: list[list[object]] = [
            [
                str(batch["number"]),
                str(batch["commit"]),
                since(batch["time"], now_us),
                batch["files"],
                batch["rows"],
                batch.get("quarantinedRows", 0),
                batch.get("quarantinedFiles", 0),
            ]
            for batch in batches
        ]
        header = ["BATCH", "COMMIT", "AGE", "FILES", "ROWS", "ROWS REFUSED", "FILES REFUSED"]
        sections.append(("Last batches", columns(header, rows)))
    if jobs := cluster.jobs(resource):
        sections.append(("Jobs", jobs_table(jobs, cluster.pods(resource), now_us)))
    if events := cluster.events(resource):
        sections.append(("Events", events_table(events, now_us)))
    if not sections:
        return "Nothing has happened yet that the API server still knows of."
    return "\n\n".join(f"{title}:\n{indented(body)}" for title, body in sections)


def events_table(events: Sequence[Object], now_us: int) -> str:
    """Events in the order given."""
    rows: list[list[object]] = [
        [
            since(last_seen(event), now_us),
            event.get("type"),
            event.get("reason"),
            str((event.get("series") or {}).get("count") or event.get("count") or 1),
            event.get("message") or event.get("note"),
        ]
        for event in events
    ]
    return columns(["AGE", "TYPE", "REASON", "TIMES", "MESSAGE"], rows, inner_width())


def indented(body: str) -> str:
    return "\n".join(f"  {line}" for line in body.splitlines())


def inner_width() -> int | None:
    """The width of the screen within the margin of a section."""
    width = screen_width()
    return None if width is None else width - 2


def _batches(resource: Object) -> list[Object]:
    batches: list[Object] = (resource.get("status") or {}).get("lastBatches") or []
    return batches


def _open(resource: Object) -> tuple[int, int]:
    """Files and rows that are open in quarantine."""
    facts = resource.get("status") or {}
    return facts.get("quarantinedFiles") or 0, facts.get("quarantinedRows") or 0


def _counted(files: int, rows: int) -> str:
    parts = [f"{n:,} {noun}{'' if n == 1 else 's'}" for n, noun in ((files, "file"), (rows, "row")) if n]
    return f"{' and '.join(parts)} in quarantine" if parts else "nothing is in quarantine"


def _refused(facts: Object) -> int | None:
    if "quarantinedRows" not in facts and "quarantinedFiles" not in facts:
        return None
    return (facts.get("quarantinedRows") or 0) + (facts.get("quarantinedFiles") or 0)


def _summary(resource: Object) -> str:
    """What is wrong, in a few words."""
    if not is_observed(resource):
        return "not looked at yet"
    ready = condition(resource, "Ready")
    reasons = {} if ready.get("status") == "True" else {ready.get("reason") or "not looked at yet": None}
    return (
        ", ".join({**reasons, **dict.fromkeys(condition["reason"] for condition in wrong(resource))})
        or "none"
    )
