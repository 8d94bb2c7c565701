"""``featurestore describe``: one resource on a page."""

from __future__ import annotations

from collections.abc import Iterable

from featurestore.arrivals.ledger import Ledger
from featurestore.cli.kind import find_kind
from featurestore.cli.output import OutputFormat, columns, dump, screen_width
from featurestore.cli.statistics_table import statistics_section
from featurestore.cli.training_page import version_sections
from featurestore.humanize import age, count, format_time, sentence, size
from featurestore.overview.commits import batches
from featurestore.overview.summary import ListSummary, PipelineSummary, ViewSummary, summary
from featurestore.reconcile.conditions import Condition, ResourceStatus
from featurestore.registry.project import Project
from featurestore.registry.registry import document
from featurestore.resources import TrainingSet
from featurestore.resources.data_pipeline import Resources
from featurestore.resources.feature_view import StatisticsKept
from featurestore.resources.kinds import ResourceKind
from featurestore.resources.metadata import DeletionPolicy
from featurestore.resources.outputs import outputs
from featurestore.resources.quantity import format_bytes
from featurestore.storage import paths
from featurestore.timestamps import SECOND_US
from featurestore.views.view_statistics import read_statistics

_LAST_BATCHES = 5
_MARGIN = "  "


def describe(project: Project, word: str, name: str, form: OutputFormat | None, now_us: int) -> str:
    """The page of one resource, or what is known of it as JSON or YAML.

    Raises:
        NotFound: there is no such resource.
    """
    kind = find_kind(word)
    described = summary(project, kind, name)
    if form in (OutputFormat.JSON, OutputFormat.YAML):
        return dump(described.to_dict(), form)
    if isinstance(described, PipelineSummary):
        return _pipeline(project, described, now_us)
    if isinstance(described, ViewSummary):
        return _view(project, described, now_us)
    return _list(project, kind, described, now_us)


def _list(project: Project, kind: ResourceKind, item: ListSummary, now_us: int) -> str:
    resource = item.accepted.resource
    facts = [
        ("Name", item.name),
        ("Kind", kind.name),
        ("Description", getattr(resource.spec, "description", "")),
        ("Owner", getattr(resource.spec, "owner", "")),
        ("Spec", item.accepted.digest),
    ]
    wanted = ("Wanted", dump(document(resource)["spec"], OutputFormat.YAML))
    made = version_sections(project.storage, item.name) if kind.model is TrainingSet else []
    return _page(facts, [wanted, *_state(item.status, item.ready, now_us), *made])


def _pipeline(project: Project, item: PipelineSummary, now_us: int) -> str:
    spec = item.accepted.resource.spec
    last, refused = item.last, item.quarantine
    written = document(item.accepted.resource)["spec"]
    steps = [next(iter(step)) for step in written.get("transforms", [])]
    facts = [
        ("Name", item.name),
        ("Kind", "DataPipeline"),
        ("Description", spec.description),
        ("Owner", spec.owner),
        ("Source", str(spec.source)),
        ("Transforms", ", ".join(steps) or "none"),
        ("Spec", item.accepted.digest),
        ("Dataset", f"{project.storage.uri(paths.dataset(item.name))}"),
        ("Commit", last.dataset_version if last else "none yet"),
        ("Rows", f"{last.dataset_rows:,}, {size(last.dataset_bytes)}" if last else "0"),
        ("In quarantine", f"{refused} (featurestore quarantine ls {item.name})" if refused else "nothing"),
        ("Batches", f"{item.done:,} committed, {item.head - item.done:,} pending"),
        ("Lag", "" if item.lag is None else count(item.lag, "offset")),
        ("Rebuild", f"{item.rebuild}, under spec {item.rebuild.rebuild.spec_digest}" if item.rebuild else ""),
        *_bounds(spec.resources, spec.deletion_policy),
    ]
    if spec.expectations:
        rules = [[rule.name, rule.otherwise.value, rule.that] for rule in spec.expectations]
        sections = [("Expectations", columns(["NAME", "OTHERWISE", "THAT"], rules))]
    else:
        sections = []
    if "job" in written:
        sections.append(("Job, in a cluster", dump(written["job"], OutputFormat.YAML)))
    sections += _state(item.status, item.ready, now_us)
    if item.done:
        sections.append(("Last batches", _batches(project, item)))
    if last is not None:
        sections.append(
            ("Schema", columns(["COLUMN", "TYPE"], [list(item) for item in last.dataset_columns.items()]))
        )
    return _page(facts, sections)


def _view(project: Project, item: ViewSummary, now_us: int) -> str:
    spec, build = item.accepted.resource.spec, item.build
    keys = ", ".join(f"{key.name}: {key.type.value}" for key in spec.entity.join_keys)
    facts = [
        ("Name", item.name),
        ("Kind", "FeatureView"),
        ("Description", spec.description),
        ("Owner", spec.owner),
        ("Entity", f"{spec.entity.name} ({keys})"),
        ("Source", f"pipeline/{spec.source.pipeline}, event time {spec.timestamp_field}"),
        ("TTL", age(spec.ttl.total_seconds()) if spec.ttl else "none: values never age"),
        ("Spec", item.accepted.digest),
        ("Serving", f"build {item.serving.digest}" if item.serving else "nothing yet"),
        *_bounds(spec.resources, spec.deletion_policy),
    ]
    if item.rebuild is not None:
        asked = f"{item.rebuild.number}, asked for at {format_time(item.rebuild.requested_us)}"
        facts.append(("Rebuild", f"{asked}: {item.rebuild_progress}"))
    if build is not None:
        watermark = format_time(build.watermark_us) if build.watermark_us is not None else "none"
        facts += [
            ("Commit", f"{build.source_version:,}, in version {build.version:,} of the view's table"),
            ("Online commit", item.online),
            ("Rows", f"{build.rows:,}"),
            ("In quarantine", str(item.quarantine)),
            ("Watermark", watermark),
            ("Freshness", age(item.freshness_s(now_us))),
        ]
    features = [
        [f"{item.name}:{output.name}", output.type.value, _origin(output.feature), output.feature.description]
        for output in outputs(spec)
    ]
    sections = [("Features", columns(["FEATURE", "TYPE", "FROM", "DESCRIPTION"], features, _inner_width()))]
    if spec.statistics is StatisticsKept.NEVER:
        sections.append(("Statistics", "none are kept, as the spec says `statistics: Never`"))
    elif item.serving is not None:
        known = read_statistics(project.storage, item.name, item.serving.digest)
        sections += [statistics_section(known, _inner_width())] if known is not None else []
    return _page(facts, [*sections, *_state(item.status, item.ready, now_us)])


def _bounds(resources: Resources, policy: DeletionPolicy) -> list[tuple[str, object]]:
    """Memory, and what becomes of data in the end."""
    memory = f"{format_bytes(resources.memory)}, in a cluster up to {format_bytes(resources.most_memory)}"
    deletion = "deletes its data, in a cluster" if policy is DeletionPolicy.DELETE else "keeps its data"
    return [("Memory", memory), ("Deletion", deletion)]


def _origin(feature: object) -> str:
    from featurestore.resources.feature_view import Feature

    assert isinstance(feature, Feature)
    if feature.aggregate is not None:
        return f"{feature.aggregate.function.value}({feature.aggregate.column})"
    return feature.column or feature.expression or ""


def _state(status: ResourceStatus | None, ready: Condition, now_us: int) -> list[tuple[str, str]]:
    conditions = [ready, *(c for c in (status.conditions if status else ()) if c.type != "Ready")]
    rows = [
        [
            c.type,
            c.status.value,
            c.reason,
            age((now_us - c.since_us) / SECOND_US) if c.since_us else None,
            c.message,
        ]
        for c in conditions
    ]
    sections = [
        ("Conditions", columns(["TYPE", "STATUS", "REASON", "SINCE", "MESSAGE"], rows, _inner_width()))
    ]
    if status is not None and status.failure is not None:
        failure = sentence(status.failure)
        again = f"\nNext attempt: {format_time(status.next_attempt_us)}" if status.next_attempt_us else ""
        sections.append(("Last error", failure + again))
    return sections


def _batches(project: Project, item: PipelineSummary) -> str:
    landed = batches(Ledger(project.storage, item.name), item.done, _LAST_BATCHES)
    results = [result for _, result in landed if result is not None]
    rows = [
        [
            r.number,
            r.dataset_version,
            format_time(r.finished_us),
            r.files,
            r.rows_committed,
            r.rows_quarantined,
            ", ".join(f"{rule} {n:,}" for rule, n in sorted(r.broken.items())),
        ]
        for r in results
    ]
    return columns(["BATCH", "COMMIT", "TIME", "FILES", "ROWS", "QUARANTINED", "RULES"], rows, _inner_width())


def _inner_width() -> int | None:
    """The width of a section, within its margin."""
    width = screen_width()
    return None if width is None else width - len(_MARGIN)


def _page(facts: Iterable[tuple[str, object]], sections: Iterable[tuple[str, str]]) -> str:
    shown = [(label, value) for label, value in facts if value not in ("", None)]
    width = max(len(label) for label, _ in shown) + 1
    lines = [f"{label + ':':<{width}}  {value}" for label, value in shown]
    for title, body in sections:
        lines += ["", f"{title}:", *(_MARGIN + line for line in body.splitlines())]
    return "\n".join(lines)
