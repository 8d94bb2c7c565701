"""``featurestore rebuild view``: what rebuilding a view reads, and the request to do it. A runner does the rest."""

from __future__ import annotations

from typing import Any

from featurestore.arrivals.ledger import Ledger
from featurestore.cli.output import OutputFormat, dump
from featurestore.humanize import count, format_time, size
from featurestore.overview.summary import ViewSummary, view_summary
from featurestore.registry.project import Project
from featurestore.timestamps import SECOND_US, from_us
from featurestore.views.rebuilds import request_rebuild


def rebuild_view(project: Project, name: str, form: OutputFormat | None, now_us: int, *, record: bool) -> str:
    """What to print: the plan, and with ``record`` that it was asked for. One that is under way is not begun again.

    Raises:
        NotFound: there is no such view.
    """
    view = view_summary(project, name)
    plan = _plan(project, view)
    under_way = view.rebuild is not None and not view.is_rebuilt
    if record and not under_way:
        # To the microsecond: another request than any before.
        request_rebuild(project.storage, name, from_us(now_us).isoformat(timespec="microseconds"), now_us)
    if form in (OutputFormat.JSON, OutputFormat.YAML):
        return dump({"kind": "FeatureView", "name": name, **plan, "underWay": under_way or record}, form)
    lines = [_reads(view, plan)]
    if view.serving is not None:
        lines.append(
            f"Readers find build {view.serving.digest} until the new one is complete"
            + ("." if view.online == "Never" else " and online.")
        )
    shown = f"`featurestore describe view {name}` shows how far it has come"
    if under_way:
        assert view.rebuild is not None
        since = format_time(view.rebuild.requested_us)
        lines.append(f"It is under way, asked for at {since}, and not begun again: {shown}.")
    elif record:
        lines.append(f"Asked for: `featurestore run` does it, {shown}.")
    return "\n".join(lines)


def _plan(project: Project, view: ViewSummary) -> dict[str, Any]:
    """What it reads, and how long that takes at the pace of the largest commit that was measured."""
    last = Ledger(project.storage, view.accepted.resource.spec.source.pipeline).last_result()
    rows = last.dataset_rows if last else 0
    build = view.build
    measured = build is not None and build.rows_read > 0
    return {
        "commit": last.dataset_version if last else None,
        "rowsToRead": rows,
        "bytesToRead": last.dataset_bytes if last else 0,
        "seconds": rows * build.took_us / build.rows_read / SECOND_US if build and measured else None,
    }


def _reads(view: ViewSummary, plan: dict[str, Any]) -> str:
    pipeline = view.accepted.resource.spec.source.pipeline
    if plan["commit"] is None:
        return f"Pipeline {pipeline!r} has no dataset yet: there is nothing to read."
    took = plan["seconds"]
    rough = (
        "how long that takes was not measured yet" if took is None else f"at the pace so far {_rough(took)}"
    )
    return (
        f"Rebuilding view {view.name!r} reads {count(plan['rowsToRead'], 'row')}, {size(plan['bytesToRead'])}, of "
        f"{pipeline!r} at commit {plan['commit']}: {rough}."
    )


def _rough(seconds: float) -> str:
    return "less than a minute" if seconds < 60 else f"about {count(round(seconds / 60), 'minute')}"
