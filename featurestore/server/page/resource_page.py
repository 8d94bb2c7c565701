"""``/views/NAME``, ``/pipelines/NAME`` and so on: one resource, what it holds, and what it is made of."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import yaml

from featurestore.errors import FeatureStoreError, NotFound
from featurestore.humanize import age, count, format_time, size
from featurestore.overview.commits import ViewCommit
from featurestore.overview.concern import concerns_of, mark
from featurestore.overview.distribution import Distribution, Sample
from featurestore.overview.lookout import Lookout
from featurestore.overview.overview import OverviewItem
from featurestore.overview.summary import ListSummary, PipelineSummary, ViewSummary
from featurestore.redaction import redact
from featurestore.registry.registry import document
from featurestore.resources import OnDemandView
from featurestore.resources.feature_view import Feature, StatisticsKept
from featurestore.resources.kinds import ResourceKind
from featurestore.resources.outputs import Output, outputs
from featurestore.resources.quantity import format_duration
from featurestore.server.audit_log import Read
from featurestore.server.page.bar_chart import BarChart, ChartRows, range_chart, rows_chart
from featurestore.server.page.entity_form import fields_of
from featurestore.server.page.lineage_picture import lineage_picture
from featurestore.server.page.model_page import ModelLine, model_lines
from featurestore.server.page.rendering import html_reply
from featurestore.server.page.statistics_lines import (
    HEADER,
    drift_histories,
    drift_meters,
    not_compared,
    statistics_lines,
)
from featurestore.server.page.visible_store import (
    PLACES,
    SERVICE,
    TRAINING_SET,
    VIEW,
    VisibleStore,
    page,
    place,
    see,
)
from featurestore.server.route import HttpRequest, Reply
from featurestore.timestamps import SECOND_US, current_us

_log = logging.getLogger("featurestore.server")
Result = TypeVar("Result")

_MOST_ENTRIES = 50
_MOST_BATCHES = 15


@dataclass(frozen=True, slots=True)
class FeatureLine:
    """A feature of a view. ``origin``: what it is made of. ``values``: None where nothing was looked at."""

    name: str
    type: str
    origin: str
    description: str
    values: Distribution | None
    chart: BarChart | None
    is_input: bool


Facts = list[tuple[str, str, str]]
"""Label, value, and where a value leads to ("" if nowhere)."""


def _make(kind: ResourceKind, request: HttpRequest) -> Reply:
    visible = see(request)
    item = visible.item(kind, request.parts["name"])
    summary, lookout = item.summary, request.backend.lookout
    users = [visible.overview.items[key] for key in visible.overview.users(item.key)]
    values: dict[str, Any] = {
        "item": item,
        "mark": mark(visible.overview, item, visible.unreadable_online),
        "concerns": concerns_of(visible.overview, item, visible.unreadable_online),
        "picture": lineage_picture(visible.overview, item),
        "users": [
            (each, place(each), mark(visible.overview, each, visible.unreadable_online))
            for each in sorted(users, key=lambda item: item.key)
        ],
        "facts": [],
        "features": [],
        "chart": None,
        "batches": [],
        "commits": [],
        "sample": None,
        "quarantined": [],
        "statistics": None,
        "drift": None,
        "drift_histories": [],
        "not_compared": ((), ()),
        "fields": None,
        "models": ([], 0),
        "versions": [],
        "spec": "",
        "failed": [],
        "more": 0,
    }
    if summary is not None:
        spec = summary.accepted.resource.spec
        values["spec"] = yaml.safe_dump(
            document(summary.accepted.resource)["spec"], sort_keys=False, allow_unicode=True
        )
        values["conditions"] = [
            summary.ready,
            *(
                condition
                for condition in (summary.status.conditions if summary.status else ())
                if condition.type != "Ready"
            ),
        ]
        values["description"] = getattr(spec, "description", "")
        values["owner"] = getattr(spec, "owner", "")
        values["tags"] = dict(getattr(spec, "tags", {}))
    else:
        values |= {"conditions": [], "description": "", "owner": "", "tags": {}}
    parts = _Parts(values)
    if isinstance(summary, PipelineSummary):
        request.read = Read(pipelines=[item.name])
        _pipeline(summary, lookout, parts)
    elif isinstance(summary, ViewSummary):
        request.read = Read(views=[item.name])
        _view(summary, lookout, parts, sees=set(visible.overview.items))
    elif isinstance(summary, ListSummary):
        _list(summary, parts)
        if kind is SERVICE:
            parts.put("features", partial(_service_features, lookout, item.name))
    if kind is TRAINING_SET:
        parts.put("versions", lambda: lookout.versions(item.name))
    if kind in (SERVICE, TRAINING_SET):
        parts.put("models", partial(_models, lookout, visible, item))
    values["models"], values["damaged_models"] = values["models"]
    if kind in (VIEW, SERVICE) and summary is not None:
        parts.put("fields", partial(fields_of, lookout, item.name))
    return html_reply(request, "resource.html", **values)


@dataclass(frozen=True, slots=True)
class _Parts:
    """What a page shows. A part that cannot be had now leaves the others as they are, and is named."""

    values: dict[str, Any]

    def put(self, name: str, make: Callable[[], Any]) -> None:
        try:
            self.values[name] = make()
        except Exception as error:  # noqa: BLE001 - damaged files raise whatever their library does
            unexpected = None if isinstance(error, FeatureStoreError) else error
            _log.error("page of %s: %s: %s", self.values["item"].name, name, error, exc_info=unexpected)
            self.values["failed"].append(_WORDS.get(name, name))


_WORDS = {"sample": "what values look like", "quarantined": "what is in quarantine", "fields": "the form"}
"""What a part of the page is called on it."""


def _pipeline(summary: PipelineSummary, lookout: Lookout, parts: _Parts) -> None:
    spec, last, now_us = summary.accepted.resource.spec, summary.last, current_us()
    source = spec.source.model_dump(mode="json", by_alias=True, exclude_none=True)
    facts: Facts = [
        ("Source", redact(str(source.get("uri") or ", ".join(source))), ""),
        ("Format", str(source.get("format", "")), ""),
        ("Rows", f"{last.dataset_rows:,}, {size(last.dataset_bytes)}" if last else "none yet", ""),
        ("Commit", f"{last.dataset_version:,}" if last else "none yet", ""),
        ("Batches", f"{summary.done:,} committed, {summary.head - summary.done:,} pending", ""),
        ("Last batch", f"{_ago(last.finished_us, now_us)} ago" if last else "none yet", ""),
        ("In quarantine", str(summary.quarantine), "#quarantine" if summary.quarantine else ""),
        ("Rebuild", f"{summary.rebuild}" if summary.rebuild else "", ""),
    ]
    parts.values["facts"] = [fact for fact in facts if fact[1]]
    parts.values["schema"] = list(last.dataset_columns.items()) if last else []
    parts.values["rules"] = [(rule.name, rule.otherwise.value, rule.that) for rule in spec.expectations]
    parts.put("batches", lambda: lookout.batches(summary))
    landed = [(number, batch) for number, batch in reversed(parts.values["batches"]) if batch is not None]
    points = [
        ChartRows(
            f"Batch {number}: {count(batch.rows_committed, 'row')}, {batch.rows_quarantined:,} refused, "
            f"{format_time(batch.finished_us)}",
            batch.rows_committed,
            batch.rows_quarantined,
        )
        for number, batch in landed
    ]
    parts.values["chart"] = rows_chart(points, "batches")
    parts.values["batches"] = parts.values["batches"][:_MOST_BATCHES]
    _quarantine(summary, lookout, parts)


def _quarantine(summary: PipelineSummary | ViewSummary, lookout: Lookout, parts: _Parts) -> None:
    parts.put("quarantined", lambda: lookout.quarantined(summary))
    every = parts.values["quarantined"]
    parts.values["more"] = max(0, len(every) - _MOST_ENTRIES)
    parts.values["quarantined"] = every[:_MOST_ENTRIES]


def _view(summary: ViewSummary, lookout: Lookout, parts: _Parts, sees: set[tuple[str, str]]) -> None:
    spec, build, now_us = summary.accepted.resource.spec, summary.build, current_us()
    pipeline = spec.source.pipeline
    link = f"/pipelines/{pipeline}" if ("DataPipeline", pipeline) in sees else ""
    keys = ", ".join(f"{key.name} {key.type.value}" for key in spec.entity.join_keys)
    facts: Facts = [
        ("Entity", f"{spec.entity.name} ({keys})", ""),
        ("Dataset", pipeline if link else "", link),
        ("Event time", spec.timestamp_field, ""),
        ("Max age", format_duration(spec.ttl) if spec.ttl else "none: values never age", ""),
        ("Freshness", _ago(summary.watermark_us, now_us), ""),
        (
            "Newest event",
            format_time(summary.watermark_us) if summary.watermark_us is not None else "none yet",
            "",
        ),
        ("Rows", f"{build.rows:,}" if build else "none yet", ""),
        (
            "Commit",
            f"{build.source_version:,}, in version {build.version:,} of its table" if build else "none yet",
            "",
        ),
        ("Online", _online(summary), ""),
        ("In quarantine", str(summary.quarantine), "#quarantine" if summary.quarantine else ""),
        ("Rebuild", summary.rebuild_progress, ""),
        ("Statistics", "" if spec.statistics is StatisticsKept.ALWAYS else "not kept, as the spec says", ""),
    ]
    parts.values["facts"] = [fact for fact in facts if fact[1]]
    parts.put("sample", lambda: lookout.sample(summary))
    parts.values["features"] = _features(outputs(spec), parts.values["sample"])
    parts.put("statistics", lambda: lookout.statistics(summary))
    known = parts.values["statistics"]
    parts.values["statistics_header"] = HEADER
    parts.values["statistics_lines"] = statistics_lines(known) if known else []
    parts.put("drift", lambda: lookout.drift(summary))
    measured = parts.values["drift"]
    parts.values["drift_meters"] = (
        list(drift_meters(measured, spec.monitoring)) if measured and spec.monitoring else []
    )
    if measured and spec.monitoring:
        parts.values["drift_histories"] = list(drift_histories(measured, spec.monitoring))
        parts.values["not_compared"] = not_compared(measured, spec)
    parts.put("commits", lambda: lookout.commits(summary))
    parts.values["chart"] = _commit_chart(parts.values["commits"])
    parts.values["commits"] = parts.values["commits"][:_MOST_BATCHES]
    _quarantine(summary, lookout, parts)


def _online(summary: ViewSummary) -> str:
    if summary.accepted.resource.spec.online.enabled == "Never":
        return "not published"
    return (
        f"commit {summary.online}"
        if summary.online_commit is not None
        else "behind"
        if summary.online == "behind"
        else "not yet"
    )


def _commit_chart(commits: Sequence[ViewCommit]) -> BarChart | None:
    points = [
        ChartRows(
            f"Commit {commit.commit}: {count(commit.rows_added, 'row')} added, {commit.rows_quarantined:,} refused, "
            f"{format_time(commit.finished_us)}",
            commit.rows_added,
            commit.rows_quarantined,
        )
        for commit in reversed(commits)
    ]
    return rows_chart(points, "commits")


def _features(every: Sequence[Output], sample: Sample | None) -> list[FeatureLine]:
    rows = []
    for output in every:
        values = sample.columns.get(output.column) if sample else None
        rows.append(
            FeatureLine(
                output.name,
                output.type.value,
                _origin(output.feature, output.window_us),
                output.feature.description,
                values,
                range_chart(values) if values else None,
                output.window_us is not None,
            )
        )
    return rows


def _service_features(lookout: Lookout, service: str) -> list[FeatureLine]:
    """What a model gets; nothing while a view that it reads has no complete build."""
    try:
        asked = lookout.asked(service)
    except NotFound:
        return []
    views = [*(read.view.name for read in asked.reads), *(computed.view.name for computed in asked.computed)]
    return [
        FeatureLine(
            column.name(True),
            column.output.type.value,
            f"{views[column.place]}:{column.output.name}",
            column.output.feature.description,
            None,
            None,
            False,
        )
        for column in asked.columns
    ]


def _origin(feature: Feature, window_us: int | None) -> str:
    if feature.aggregate is not None and window_us is not None:
        over = age(window_us / SECOND_US)
        return f"{feature.aggregate.function.value} of {feature.aggregate.column} over {over}"
    return feature.column or feature.expression or (feature.python.callable if feature.python else "")


def _models(lookout: Lookout, visible: VisibleStore, item: OverviewItem) -> tuple[list[ModelLine], int]:
    """Models that were trained on the set, or on sets of the service's features; how many records are damaged."""
    if item.kind is TRAINING_SET:
        noted = lookout.models([item.name])
        return model_lines(noted.models, visible), len(noted.damaged)
    users = visible.overview.users(item.key)
    noted = lookout.models([name for kind, name in users if kind == TRAINING_SET.name])
    models = [model for model in noted.models if model.service == item.name]
    return model_lines(models, visible), len(noted.damaged)


def _list(summary: ListSummary, parts: _Parts) -> None:
    resource, now_us = summary.accepted.resource, current_us()
    facts: Facts = [("Spec", summary.accepted.digest, "")]
    if summary.watermark_us is not None:
        facts.insert(
            0, ("Freshness", f"{_ago(summary.watermark_us, now_us)}, of the stalest that it reads", "")
        )
    if isinstance(resource, OnDemandView):
        fields = ", ".join(f"{field.name} {field.type.value}" for field in resource.spec.on_demand.request)
        facts.insert(0, ("Computed", "when it is asked for: nothing of it is stored", ""))
        facts.insert(1, ("From the request", fields or "nothing", ""))
        parts.values["features"] = _features(outputs(resource.spec), None)
    parts.values["facts"] = facts


def _ago(us: int | None, now_us: int) -> str:
    return "none yet" if us is None else age((now_us - us) / SECOND_US)


PAGES = tuple(
    page(f"/{folder}/{{name}}", f"page_{kind.noun}", f"One {kind.noun}", partial(_make, kind))
    for folder, kind in PLACES.items()
)
