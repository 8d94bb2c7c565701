"""``featurestore get``: resources in columns, as kubectl shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from featurestore.cli.kind import KIND_NAMES, STORES, kind_of
from featurestore.cli.output import OutputFormat, age, columns, dump, listing, screen_width
from featurestore.cli.summary import PipelineSummary, ViewSummary, pipeline_summary, view_summary
from featurestore.errors import NotFound
from featurestore.registry.project import Project
from featurestore.registry.registry import document

NOTHING = "No resources found."


def get(project: Project, word: str, name: str | None, form: OutputFormat | None, now_us: int) -> str:
    """What to print for resources of one kind, or all, or for the one with that name.

    Raises:
        NotFound: there is none of that name.
    """
    if word.lower() == "all":
        return _all(project, form, now_us)
    if word.lower() in STORES:
        return _stores(project, name, form)
    kind = kind_of(word, wanted="pipelines, views, stores or all", more=(*STORES, "all"))
    if kind == "pipelines":
        return _shown(_pipelines(project, name), name, form, now_us, prefix=False)
    return _shown(_views(project, name), name, form, now_us, prefix=False)


def _pipelines(project: Project, name: str | None) -> list[PipelineSummary]:
    names = [name] if name else project.registry.names("pipelines")
    return [pipeline_summary(project, each) for each in names]


def _views(project: Project, name: str | None) -> list[ViewSummary]:
    names = [name] if name else project.registry.names("views")
    return [view_summary(project, each) for each in names]


def _all(project: Project, form: OutputFormat | None, now_us: int) -> str:
    pipelines, views = _pipelines(project, None), _views(project, None)
    if form in (OutputFormat.JSON, OutputFormat.YAML):
        every: list[PipelineSummary | ViewSummary] = [*pipelines, *views]
        return dump(listing([item.to_dict() for item in every]), form)
    shown: list[str] = []
    if pipelines:
        shown.append(_shown(pipelines, None, form, now_us, prefix=True))
    if views:
        shown.append(_shown(views, None, form, now_us, prefix=True))
    separator = "\n" if form is OutputFormat.NAME else "\n\n"
    return separator.join(shown) or NOTHING


def _shown(
    items: Sequence[PipelineSummary | ViewSummary],
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
    kind = KIND_NAMES["pipelines" if isinstance(items[0], PipelineSummary) else "views"]
    if form is OutputFormat.NAME:
        return "\n".join(f"{kind}/{item.name}" for item in items)
    header, rows = _table(items, now_us)
    if prefix:
        rows = [[f"{kind}/{row[0]}", *row[1:]] for row in rows]
    if form is OutputFormat.WIDE:
        header += ["REASON", "MESSAGE"]
        rows = [[*row, item.ready.reason, item.ready.message] for row, item in zip(rows, items, strict=True)]
    return columns(header, rows, screen_width())


def _table(items: Sequence[PipelineSummary | ViewSummary], now_us: int) -> tuple[list[str], list[list[Any]]]:
    rows: list[list[Any]] = []
    header: list[str] = []
    for item in items:
        if isinstance(item, PipelineSummary):
            header = [
                "NAME",
                "READY",
                "BATCHES",
                "PENDING",
                "COMMIT",
                "LAST ROWS",
                "LAST QUARANTINED",
                "LAST RUN",
                "ERRORS",
            ]
            last = item.last
            ran_s = (now_us - last.finished_us) / 1_000_000 if last else None
            rows.append(
                [item.name, item.ready.status.value, item.done, item.head - item.done]
                + ([last.dataset_version, last.rows_committed, last.rows_quarantined] if last else [None] * 3)
                + [age(ran_s), item.errors]
            )
        else:
            header = ["NAME", "READY", "FRESHNESS", "ROWS", "COMMIT", "ONLINE", "ERRORS"]
            build = item.build
            rows.append(
                [
                    item.name,
                    item.ready.status.value,
                    age(item.freshness_s(now_us)),
                    build.rows if build else None,
                    build.source_version if build else None,
                    item.online,
                    item.errors,
                ]
            )
    return header, rows


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
    online = "duckdb" if redis is None else redis.url or "managed redis"
    return columns(["NAME", "OFFLINE", "ONLINE"], [[store.metadata.name, project.storage.root, online]])
