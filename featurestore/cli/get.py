"""``featurestore get``: resources in columns, as kubectl shows them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from featurestore.cli.kind import find_kind
from featurestore.cli.output import OutputFormat, columns, dump, listing, screen_width
from featurestore.errors import Damaged, NotFound, SpecError
from featurestore.humanize import age
from featurestore.overview.summary import ListSummary, PipelineSummary, Summary, ViewSummary, summary
from featurestore.registry.project import Project
from featurestore.registry.registry import document
from featurestore.resources import View
from featurestore.resources.kinds import KINDS, PrinterColumn, ResourceKind
from featurestore.timestamps import SECOND_US, parse_us

NOTHING = "No resources found."


def get(project: Project, word: str, name: str | None, form: OutputFormat | None, now_us: int) -> str:
    """What to print for resources of one kind, or all, or for the one with that name.

    Raises:
        NotFound: there is none of that name.
    """
    if word.lower() == "all":
        return _all(project, form, now_us)
    kind = find_kind(word, among=lambda kind: True, more=["all"])
    if kind.only_one:
        return _stores(project, name, form)
    if name:
        return _shown(kind, [summary(project, kind, name)], name, form, now_us, prefix=False)
    items, unreadable = _summaries(project, kind)
    shown = _shown(kind, items, None, form, now_us, prefix=False) if items or not unreadable else ""
    return "\n".join(filter(None, [shown, *_lines(unreadable, form)]))


def _summaries(project: Project, kind: ResourceKind) -> tuple[list[Summary], list[str]]:
    """Summaries of the resources of a kind, and a line about each that cannot be read."""
    items: list[Summary] = []
    unreadable: list[str] = []
    for name in project.registry.names(kind.model):
        try:
            items.append(summary(project, kind, name))
        except (Damaged, SpecError, NotFound) as error:
            unreadable.append(f"✗ {kind.noun} {name}: {error}")
    return items, unreadable


def _lines(unreadable: list[str], form: OutputFormat | None) -> list[str]:
    """What is printed below a table; other formats are for machines."""
    return unreadable if form in (None, OutputFormat.WIDE) else []


def _all(project: Project, form: OutputFormat | None, now_us: int) -> str:
    every = [(kind, *_summaries(project, kind)) for kind in KINDS.values() if not kind.only_one]
    if form in (OutputFormat.JSON, OutputFormat.YAML):
        return dump(listing([item.to_dict() for _, items, _ in every for item in items]), form)
    shown = [_shown(kind, items, None, form, now_us, prefix=True) for kind, items, _ in every if items]
    separator = "\n" if form is OutputFormat.NAME else "\n\n"
    lines = _lines([line for _, _, unreadable in every for line in unreadable], form)
    return separator.join([*shown, *(["\n".join(lines)] if lines else [])]) or NOTHING


def _shown(
    kind: ResourceKind,
    items: Sequence[Summary],
    name: str | None,
    form: OutputFormat | None,
    now_us: int,
    *,
    prefix: bool,
) -> str:
    if form in (OutputFormat.JSON, OutputFormat.YAML):
        return dump(items[0].to_dict() if name else listing([item.to_dict() for item in items]), form)
    if not items:
        return NOTHING
    full_name = kind.name.lower()
    if form is OutputFormat.NAME:
        return "\n".join(f"{full_name}/{item.name}" for item in items)
    header, rows = _table(kind, items, now_us)
    if prefix:
        rows = [[f"{full_name}/{row[0]}", *row[1:]] for row in rows]
    if form is OutputFormat.WIDE:
        header += ["REASON", "MESSAGE"]
        rows = [[*row, item.ready.reason, item.ready.message] for row, item in zip(rows, items, strict=True)]
    return columns(header, rows, screen_width())


def _table(kind: ResourceKind, items: Sequence[Summary], now_us: int) -> tuple[list[str], list[list[Any]]]:
    rows: list[list[Any]] = []
    header: list[str] = []
    rebuilt = any(isinstance(item, ViewSummary) and not item.is_rebuilt for item in items)
    rebuilds = any(isinstance(item, PipelineSummary) and item.rebuild for item in items)
    streams = any(
        isinstance(item, PipelineSummary) and item.accepted.resource.spec.source.is_stream for item in items
    )
    behind = any(isinstance(item, PipelineSummary) and item.behind_since_us is not None for item in items)
    for item in items:
        if isinstance(item, PipelineSummary):
            header = [
                "NAME",
                "READY",
                "BATCHES",
                "PENDING",
                "COMMIT",
                "LAST ROWS",
                "LAST RUN",
                "FILES REFUSED",
                "ROWS REFUSED",
                "ERRORS",
                *(["LAG"] if streams else []),
                *(["BEHIND FOR"] if behind else []),
                *(["REBUILD"] if rebuilds else []),
            ]
            last = item.last
            ran_s = (now_us - last.finished_us) / SECOND_US if last else None
            rows.append(
                [item.name, item.ready.status.value, item.done, item.head - item.done]
                + ([last.dataset_version, last.rows_committed] if last else [None] * 2)
                + [age(ran_s), item.quarantine.files, item.quarantine.rows, item.errors]
                + ([item.lag] if streams else [])
                + ([_behind_for(item, now_us)] if behind else [])
                + ([_rebuild(item)] if rebuilds else [])
            )
        elif isinstance(item, ListSummary) and kind.model is not View:
            header = ["NAME", "READY", *(column.name.upper() for column in kind.columns)]
            fields = item.to_dict()
            shown = (_cell(fields, column, now_us) for column in kind.columns)
            rows.append([item.name, item.ready.status.value, *shown])
        else:
            header = ["NAME", "READY", "FRESHNESS", "ROWS", "COMMIT", "ONLINE", "ROWS REFUSED", "ERRORS"]
            header += ["REBUILD"] if rebuilt else []
            if isinstance(item, ListSummary):
                fresh_s = None if item.watermark_us is None else (now_us - item.watermark_us) / SECOND_US
                rows.append(
                    [item.name, item.ready.status.value, age(fresh_s), None, None, "on demand", None, "none"]
                )
                rows[-1] += [None] if rebuilt else []
                continue
            build = item.build
            rows.append(
                [
                    item.name,
                    item.ready.status.value,
                    age(item.freshness_s(now_us)),
                    build.rows if build else None,
                    build.source_version if build else None,
                    item.online,
                    item.quarantine.rows,
                    item.errors,
                    *([item.rebuild_progress or None] if rebuilt else []),
                ]
            )
    return header, rows


def _cell(fields: Any, column: PrinterColumn, now_us: int) -> Any:
    """What a column shows of an object: a date as the time since."""
    value = _at(fields, column.path)
    if column.type == "date" and value is not None:
        with suppress(ValueError):  # Python has no times outside the years 1 to 9999.
            return age((now_us - parse_us(value)) / SECOND_US)
    return value


def _at(value: Any, path: str) -> Any:
    """What stands at a JSON path such as ``.spec.owner``; None if nothing does."""
    for part in path.strip(".").split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return f"{len(value):,}" if isinstance(value, list) else value


def _stores(project: Project, name: str | None, form: OutputFormat | None) -> str:
    store = project.store
    if name not in (None, store.metadata.name):
        raise NotFound(
            f"there is no store {name!r}",
            where=str(project.folder),
            hint=f"There is: {store.metadata.name!r}",
        )
    if form in (OutputFormat.JSON, OutputFormat.YAML):
        return dump(document(store) if name else listing([document(store)]), form)
    if form is OutputFormat.NAME:
        return f"featurestore/{store.metadata.name}"
    redis = store.spec.online.redis
    online = store.spec.online.room if redis is None else redis.url or "managed redis"
    return columns(["NAME", "OFFLINE", "ONLINE"], [[store.metadata.name, project.storage.root, online]])


def _behind_for(item: PipelineSummary, now_us: int) -> str | None:
    """How long more has waited than one batch takes."""
    since_us = item.behind_since_us
    return None if since_us is None else age((now_us - since_us) / SECOND_US)


def _rebuild(item: PipelineSummary) -> str | None:
    """How many pieces of the rebuild under way are done."""
    return f"{item.rebuild.pieces_done} of {item.rebuild.pieces}" if item.rebuild else None
