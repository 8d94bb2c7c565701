"""``featurestore quarantine``: what broke a rule, and running it again."""

from __future__ import annotations

import getpass
import json
import socket
from typing import Literal

from featurestore.cli.output import OutputFormat, columns, dump, listing, screen_width
from featurestore.errors import NotFound, did_you_mean
from featurestore.humanize import count, format_time
from featurestore.overview.summary import pipeline_summary
from featurestore.quarantine import dismiss as closing
from featurestore.quarantine import entries
from featurestore.quarantine import replay as run_again
from featurestore.registry.project import Project
from featurestore.resources import DataPipeline, FeatureView

_SHOWN_RECORD = 200


def ls(project: Project, name: str | None, every: bool, form: OutputFormat | None) -> str:
    """What to print: what each rule caught of each file; of all resources, or of the one with that name.

    What was run again is left out unless ``every`` says otherwise.

    Raises:
        NotFound: there is no such pipeline or view.
    """
    listed = [
        (kind, resource, entry)
        for kind, resource in _resources(project, name)
        for entry in entries.entries(project.storage, kind, resource)
        if every or entry.is_open
    ]
    if form in (OutputFormat.JSON, OutputFormat.YAML):
        return dump(
            listing(
                [
                    {
                        "kind": kind,
                        "name": resource,
                        "batch": entry.batch,
                        "file": entry.file,
                        "rule": entry.rule,
                        "rows": entry.rows,
                        "reason": entry.reason,
                        "uri": entry.uri,
                        "version": entry.version,
                        "quarantinedAt": format_time(entry.quarantined_us),
                        "replayedIn": entry.replayed_in,
                        "dismissed": entry.dismissed
                        and {
                            "by": entry.dismissed.by,
                            "at": format_time(entry.dismissed.at_us),
                            "because": entry.dismissed.because,
                        },
                    }
                    for kind, resource, entry in listed
                ]
            ),
            form,
        )
    if not listed:
        return "Nothing is in quarantine."
    header = ["OF", "BATCH", "FILE", "RULE", "ROWS", "URI", "REASON"] + (["CLOSED"] if every else [])
    rows: list[list[object]] = []
    for kind, resource, entry in listed:
        of = f"{kind.removesuffix('s')}/{resource}"
        caught = "file" if entry.rows is None else entry.rows
        uri = entry.uri if form is OutputFormat.WIDE else _short(entry.uri)
        row: list[object] = [of, str(entry.batch), str(entry.file), entry.rule, caught, uri, entry.reason]
        rows.append([*row, _closed(entry)] if every else row)
    return columns(header, rows, screen_width())


def show(
    project: Project,
    name: str,
    *,
    batch: int | None,
    file: int | None,
    rule: str | None,
    limit: int,
    form: OutputFormat | None,
) -> str:
    """What to print: the rows themselves, with the reason for each.

    Raises:
        NotFound: there is no such pipeline or view.
    """
    ((kind, resource),) = _resources(project, name)
    rows = entries.rows(project.storage, kind, resource, batch=batch, file=file, rule=rule, limit=limit)
    if form in (OutputFormat.JSON, OutputFormat.YAML):
        for row in rows:
            row["record"] = None if row["record"] is None else json.loads(row["record"])
        return dump(listing(rows), form)
    if not rows:
        return "Nothing is in quarantine."
    header = ["BATCH", "FILE", "ROW", "RULE", "REASON", "RECORD"]
    return columns(
        header,
        [
            [
                *map(_number, (row["__batch"], row["__file"], row["__row"])),
                row["rule"],
                row["reason"],
                _cut(row["record"]),
            ]
            for row in rows
        ],
        screen_width(),
    )


def replay(project: Project, name: str, *, batch: int | None, file: int | None, now_us: int) -> str:
    """Plan a batch that runs open entries again. Returns what to print.

    Raises:
        NotFound: there is no such pipeline.
        RequestError: a file is gone or was changed since.
    """
    pipeline_summary(project, name)
    manifest = run_again.replay(
        project.storage, name, base=str(project.folder), now_us=now_us, batch=batch, file=file
    )
    if manifest is None:
        return "Nothing to run again."
    files = len({entry.arrival.uri for entry in manifest.entries})
    return (
        f"Batch {manifest.number} of {name} runs {count(files, 'file')} again, under spec {manifest.spec_digest}. "
        "`featurestore run` does it."
    )


def dismiss(
    project: Project, name: str, *, because: str, batch: int | None, file: int | None, now_us: int
) -> str:
    """Close open entries without running them again. Returns what to print.

    Raises:
        NotFound: there is no such pipeline or view.
        RequestError: no reason is given.
    """
    ((kind, _),) = _resources(project, name)
    by = f"{getpass.getuser()}@{socket.gethostname()}"
    done = closing.dismiss(
        project.storage, kind, name, because=because, by=by, now_us=now_us, batch=batch, file=file
    )
    if done is None:
        return "Nothing is open."
    whole = sum(rows == 0 for _, _, rows in done.entries)
    rows = sum(rows for _, _, rows in done.entries)
    return f"Dismissed {count(whole, 'file')} and {count(rows, 'row')} of {name}, as {by}: {done.because}"


def _closed(entry: entries.Quarantined) -> str:
    if entry.replayed_in is not None:
        return f"run again in batch {entry.replayed_in}"
    if entry.dismissed is not None:
        return f"by {entry.dismissed.by} at {format_time(entry.dismissed.at_us)}: {entry.dismissed.because}"
    return ""


def _resources(project: Project, name: str | None) -> list[tuple[Literal["pipelines", "views"], str]]:
    """Kind and name of what may have a quarantine. A pipeline comes before a view of the same name."""
    registry = project.registry
    known: list[tuple[Literal["pipelines", "views"], str]] = [
        ("pipelines", each) for each in registry.names(DataPipeline)
    ]
    known += [("views", each) for each in registry.names(FeatureView)]
    if name is None:
        return known
    for kind, each in known:
        if each == name:
            return [(kind, each)]
    raise NotFound(
        f"there is no pipeline or view {name!r}",
        where=project.storage.root,
        hint=did_you_mean(name, [each for _, each in known]),
    )


def _number(value: int | None) -> str | None:
    """A number without separators, so that it can be typed again."""
    return None if value is None else str(value)


def _short(uri: str) -> str:
    """The last two parts of the URI: enough to recognize the file."""
    parts = uri.rsplit("/", 2)
    return "/".join(parts[-2:]) if len(parts) == 3 else uri


def _cut(record: str | None) -> str | None:
    if record is None or len(record) <= _SHOWN_RECORD:
        return record
    return record[: _SHOWN_RECORD - 1] + "…"
