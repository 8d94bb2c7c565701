"""``featurestore history``: commits of a pipeline or a view, and which files a batch is made of."""

from __future__ import annotations

import json
from typing import Any

from featurestore.arrivals.ledger import Ledger
from featurestore.arrivals.result import BatchResult
from featurestore.cli.kind import find_kind
from featurestore.cli.output import OutputFormat, columns, dump, listing
from featurestore.errors import RequestError
from featurestore.humanize import format_time
from featurestore.overview.commits import ViewCommit, batches, view_commits
from featurestore.overview.summary import pipeline_summary, view_summary
from featurestore.registry.project import Project
from featurestore.resources import DataPipeline, View


def history(
    project: Project, word: str, name: str, batch: int | None, limit: int, form: OutputFormat | None
) -> str:
    """What to print: commits, the newest first; or with ``batch`` the files of that batch.

    Raises:
        NotFound: there is no such resource or batch.
        RequestError: files are asked of a view.
    """
    kind = find_kind(word)
    if kind.model is DataPipeline:
        pipeline_summary(project, name)
        if batch is not None:
            return _files(project, name, batch, form)
        return _pipeline(project, name, limit, form)
    if kind.model is View and batch is not None:
        raise RequestError(
            "a view has no batches of its own",
            where="--batch",
            hint="Its rows carry the batch of its pipeline: `featurestore history pipeline NAME --batch N`",
        )
    if kind.model is not View:
        raise RequestError(
            f"a {kind.noun} has no commits", wanted="a pipeline or a view", got=f"{kind.noun} {name!r}"
        )
    return _view(project, name, limit, form)


def _pipeline(project: Project, name: str, limit: int, form: OutputFormat | None) -> str:
    ledger = Ledger(project.storage, name)
    results = batches(ledger, ledger.last_batch(), limit)
    if form in (OutputFormat.JSON, OutputFormat.YAML):
        shown: list[dict[str, Any]] = [
            {"number": number, "pending": True}
            if result is None
            else result.model_dump(mode="json", by_alias=True)
            for number, result in results
        ]
        return dump(listing(shown), form)
    if not results:
        return "No batches yet."
    header = ["BATCH", "COMMIT", "TIME", "FILES", "READ", "ROWS", "QUARANTINED", "DROPPED", "BAD FILES"]
    rows = [_row(number, result) for number, result in results]
    promoted = ledger.rebuilds.promoted()
    if promoted is None:
        return columns(header, rows)
    since = (
        f"Rebuild {promoted.number}, commit {promoted.dataset_version} at {format_time(promoted.ended_us)}, ran "
        f"batches up to {promoted.last} again: the numbers of these are of their first run."
    )
    return f"{columns(header, rows)}\n{since}"


def _row(number: int, result: BatchResult | None) -> list[object]:
    if result is None:
        return [str(number), None, "pending", None, None, None, None, None, None]
    return [
        str(number),
        str(result.dataset_version),
        format_time(result.finished_us),
        result.files,
        result.rows_read,
        result.rows_committed,
        result.rows_quarantined,
        result.rows_dropped,
        result.files_quarantined,
    ]


def _files(project: Project, name: str, batch: int, form: OutputFormat | None) -> str:
    manifest = Ledger(project.storage, name).manifest(batch)
    if form in (OutputFormat.JSON, OutputFormat.YAML):
        return dump(json.loads(manifest.to_json()), form)
    rows = [
        [
            str(file),
            entry.action.value,
            entry.arrival.uri,
            entry.arrival.size_bytes,
            format_time(entry.arrival.modified_us),
            entry.reason,
        ]
        for file, entry in enumerate(manifest.entries)
    ]
    planned = format_time(manifest.created_us)
    head = f"Batch {batch} of {name}, planned {planned} under spec {manifest.spec_digest}. FILE is __file of its rows."
    return f"{head}\n\n" + columns(["FILE", "ACTION", "URI", "BYTES", "MODIFIED", "REASON"], rows)


def _view(project: Project, name: str, limit: int, form: OutputFormat | None) -> str:
    summary = view_summary(project, name)
    if summary.serving is None:
        return "No commits yet."
    commits = view_commits(project.storage, name, summary.serving, limit)
    items = [_commit(commit) for commit in commits]
    if form in (OutputFormat.JSON, OutputFormat.YAML):
        return dump(listing(items), form)
    return columns(
        ["COMMIT", "TIME", "ADDED", "REMOVED", "QUARANTINED"],
        [
            [
                str(item["commit"]),
                *(item[key] for key in ("time", "rowsAdded", "rowsRemoved", "rowsQuarantined")),
            ]
            for item in items
        ],
    )


def _commit(commit: ViewCommit) -> dict[str, Any]:
    watermark_us = commit.watermark_us
    return {
        "version": commit.version,
        "time": format_time(commit.finished_us),
        "commit": commit.commit,
        "rowsAdded": commit.rows_added,
        "rowsRemoved": commit.rows_removed,
        "rowsQuarantined": commit.rows_quarantined,
        "watermark": None if watermark_us is None else format_time(watermark_us),
        "build": commit.build,
        "spec": commit.spec,
        "codeVersion": commit.code_version,
    }
