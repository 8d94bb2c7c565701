"""``featurestore erase``: what it is about, beginning it, finishing what was begun, and checking a record."""

from __future__ import annotations

import getpass
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from featurestore.cli.output import OutputFormat, dump
from featurestore.erasure.begin import Intent, begin_erasure, unfinished
from featurestore.erasure.coverage import Coverage, cover
from featurestore.erasure.key_file import Key, read_keys
from featurestore.erasure.record import ErasureRecord, require_record
from featurestore.erasure.record import verify as check
from featurestore.errors import RequestError
from featurestore.humanize import count, format_time
from featurestore.protocol import ErasureRequest
from featurestore.registry.project import Project
from featurestore.runner.journal import Journal
from featurestore.runner.worker import Worker, check_engine

_NAMED = 20


@dataclass(frozen=True, slots=True)
class ErasurePlan:
    """What would be erased, and of which keys."""

    coverage: Coverage
    keys: list[Key]
    allow_return: bool


def plan(
    project: Project, entity: str | None, view: str | None, keys: Path, *, allow_return: bool
) -> ErasurePlan:
    """What it is about. Nothing is written.

    Raises:
        NotFound: there is no such view, entity or file.
        RequestError: the file has no such keys, or not one of entity and view is named.
    """
    if (entity is None) == (view is None):
        raise RequestError("whose keys are these?", wanted="--entity or --view, one of them")
    coverage = cover(project.storage, entity=entity, view=view)
    return ErasurePlan(coverage, read_keys(keys, coverage.keys), allow_return)


def show(erasure: ErasurePlan, form: OutputFormat | None) -> str:
    """What to print of the plan."""
    coverage = erasure.coverage
    if form in (OutputFormat.JSON, OutputFormat.YAML):
        return dump(_facts(erasure), form)
    lines = [
        f"Erase {count(len(erasure.keys), 'key')} of entity {coverage.entity!r} "
        f"({', '.join(name for name, _ in coverage.keys)}):",
        f"  rows of datasets and quarantines: {', '.join(coverage.pipelines)}",
        f"  rows and online values of views: {', '.join(coverage.views) or 'none'}",
        "  earlier versions of these tables, builds that nobody reads, and their data files",
        "  the keys may return with files that arrive from now on"
        if erasure.allow_return
        else "  rows with these keys are left out of everything that arrives or is run again from now on",
    ]
    if coverage.copies:
        lines.append(
            f"Not touched: {', '.join(coverage.copies)}, which look up these datasets and may hold copies"
        )
    lines.append("Source files, backups and what was exported are yours: they are not touched.")
    return "\n".join(lines)


def begin(project: Project, erasure: ErasurePlan, now_us: int) -> int:
    """The number of the erasure, whose intent is written now; of the same one that was begun and is not finished.

    Raises:
        CodeError: the data engine is not installed.
        StorageError: storage did not answer, or others were always first.
    """
    check_engine()
    intent = Intent(erasure.coverage, tuple(erasure.keys), erasure.allow_return, _user())
    return begin_erasure(project.storage, intent, now_us)


def finish(project: Project, number: int) -> ErasureRecord:
    """The record, after all that is left to be done.

    Raises:
        FeatureStoreError: it could not be done; what was done stays, and the next call goes on.
    """
    worker = Worker(project.folder)
    try:
        worker.erase(ErasureRequest(root=project.storage.root, number=number), lambda _: None)
    finally:
        worker.close()
    # Failures may have shown values, and losing it loses nothing.
    Journal(project.state).forget()
    return require_record(project.storage, number)


def resume(project: Project) -> list[ErasureRecord]:
    """The records of all erasures that were begun and not finished."""
    check_engine()
    return [finish(project, number) for number in unfinished(project.storage)]


def verify(project: Project, number: int) -> ErasureRecord:
    """The record of an erasure, if it is as it was signed.

    Raises:
        NotFound: there is none.
        RequestError: it was changed, or was signed with another key.
    """
    record = require_record(project.storage, number)
    check(record, project.storage, os.environ)
    return record


def show_records(records: Sequence[ErasureRecord], form: OutputFormat | None) -> str:
    """What to print of records."""
    if form in (OutputFormat.JSON, OutputFormat.YAML):
        facts = [record.model_dump(mode="json", by_alias=True) for record in records]
        return dump(facts[0] if len(facts) == 1 else facts, form)
    return "\n".join(map(_shown, records)) or "Nothing is left to be erased."


def _shown(record: ErasureRecord) -> str:
    rows = sum(table.rows for table in record.tables)
    files = sum(table.files for table in record.tables)
    lines = [
        f"Erasure {record.number} is done since {format_time(record.finished_us)}: {count(record.keys, 'key')} of "
        f"{record.entity!r}, {count(rows, 'row')}, {count(files, 'data file')} deleted",
        f"  signed with {'your key' if record.signed_with == 'given' else 'the key of the storage root'} "
        f"{record.key_id}",
    ]
    unread = sum(table.unread for table in record.tables)
    if unread:
        lines.append(
            f"  {count(unread, 'file')} below the tables could not be read, and no commit names them: look at them"
        )
    uris = sorted({source.uri for source in record.sources})
    if uris:
        lines.append(f"  {count(len(uris), 'source file')} still hold the keys, if they are there:")
        lines += [f"    {uri}" for uri in uris[:_NAMED]]
    if len(uris) > _NAMED:
        lines.append(f"    and {len(uris) - _NAMED:,} more (-o json shows all)")
    return "\n".join(lines)


def _facts(erasure: ErasurePlan) -> dict[str, object]:
    coverage = erasure.coverage
    return {
        "entity": coverage.entity,
        "joinKeys": [name for name, _ in coverage.keys],
        "keys": len(erasure.keys),
        "pipelines": list(coverage.pipelines),
        "views": list(coverage.views),
        "mayReturn": erasure.allow_return,
        "copies": list(coverage.copies),
    }


def _user() -> str:
    with suppress(OSError, KeyError):
        return getpass.getuser()
    return ""
