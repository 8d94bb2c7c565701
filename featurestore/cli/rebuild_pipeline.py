"""``featurestore rebuild pipeline``: what running history again takes, and beginning it. A runner does the rest."""

from __future__ import annotations

from featurestore.cli.output import OutputFormat, dump
from featurestore.client.times import timestamp_us
from featurestore.errors import RequestError
from featurestore.humanize import count, format_time, size
from featurestore.overview.summary import pipeline_summary
from featurestore.rebuild import history_plan
from featurestore.rebuild.history_plan import GoneArrival, HistoryPlan
from featurestore.rebuild.lost_rows import lost_rows
from featurestore.registry.project import Project

_NAMED = 20


def plan(project: Project, name: str, from_time: str | None, to_time: str | None, now_us: int) -> HistoryPlan:
    """What it would take. Nothing is written.

    Raises:
        NotFound: there is no such pipeline.
        RequestError: there is nothing to run again, or the time range cannot be replaced by itself.
    """
    pipeline_summary(project, name)
    from_us = None if from_time is None else timestamp_us(from_time, "--from")
    to_us = None if to_time is None else timestamp_us(to_time, "--to")
    if from_us is not None and to_us is not None and from_us >= to_us:
        raise RequestError(
            "the time range is empty", wanted="--from before --to", got=f"{from_time} to {to_time}"
        )
    return history_plan.plan_history(
        project.storage, name, now_us=now_us, base=str(project.folder), from_us=from_us, to_us=to_us
    )


def show(project: Project, plan: HistoryPlan, form: OutputFormat | None) -> str:
    """What to print of the plan."""
    lost = lost_rows(
        project.storage, plan.rebuild.pipeline, [(arrival.batch, arrival.file) for arrival in plan.gone]
    )
    if form in (OutputFormat.JSON, OutputFormat.YAML):
        return dump(_facts(plan, lost), form)
    rebuild = plan.rebuild
    which = "batches of this time range" if rebuild.ranged else "history"
    lines = [
        f"Rebuild {rebuild.number} of pipeline {rebuild.pipeline!r} runs {which} again, under spec "
        f"{rebuild.spec_digest}, beside what is read:",
        f"  {count(plan.batches, 'batch').replace('batchs', 'batches')} in {count(len(rebuild.pieces), 'piece')}: "
        f"{count(plan.files, 'file')}, {size(rebuild.size_bytes)}, about {count(rebuild.rows, 'row')} to read",
        f"  {_minutes(plan)}",
    ]
    if plan.skipped:
        lines.append(
            f"  {count(plan.skipped, 'arrival')} left aside: replaced by a later one, or run once already"
        )
    if plan.views:
        lines.append(f"  then built anew: {', '.join(plan.views)}")
    if plan.replaces is not None:
        lines.append(f"  rebuild {plan.replaces.number}, which is under way, ends")
    if plan.gone:
        lines.append(f"{count(len(plan.gone), 'file')} cannot be read any more:")
        lines += [f"  {each}{_lost(each, lost)}" for each in plan.gone[:_NAMED]]
        if len(plan.gone) > _NAMED:
            lines.append(f"  and {len(plan.gone) - _NAMED:,} more (-o json shows all)")
        lines.append(
            f"Without them, {count(sum(lost.values()), 'row')} that the dataset has today would be lost. Bring them "
            "back as they were, or say --without-gone."
        )
    return "\n".join(lines)


def begin(project: Project, plan: HistoryPlan, *, without_gone: bool) -> str:
    """Begin it. Returns what to print.

    Raises:
        RequestError: arrivals are gone.
        Conflict: another one was begun meanwhile, or the one under way is being promoted.
    """
    rebuild = history_plan.begin(project.storage, plan, without_gone=without_gone)
    return (
        f"Rebuild {rebuild.number} of {rebuild.pipeline} is begun. `featurestore run` does it; "
        f"`featurestore describe pipeline {rebuild.pipeline}` shows how far it is."
    )


def cancel(project: Project, name: str, now_us: int) -> str:
    """Give up the rebuild that is under way. Returns what to print.

    Raises:
        NotFound: there is no such pipeline, or no rebuild is under way.
        Conflict: it is being promoted already.
    """
    pipeline_summary(project, name)
    ended = history_plan.cancel(project.storage, name, because="it was cancelled", now_us=now_us)
    return f"Rebuild {ended.number} of {name} is given up. What is read stays as it is."


def _minutes(plan: HistoryPlan) -> str:
    minutes = plan.minutes
    if minutes is None:
        return "how long it takes is not known: no batch says how long it took"
    took = "less than a minute" if minutes < 1 else f"about {count(round(minutes), 'minute')}"
    return f"{took}, as long as it took before"


def _lost(each: GoneArrival, lost: dict[tuple[int, int], int]) -> str:
    return f" ({count(lost.get((each.batch, each.file), 0), 'row')} in the dataset)"


def _facts(plan: HistoryPlan, lost: dict[tuple[int, int], int]) -> dict[str, object]:
    rebuild = plan.rebuild
    return {
        "pipeline": rebuild.pipeline,
        "rebuild": rebuild.number,
        "spec": rebuild.spec_digest,
        "batches": plan.batches,
        "pieces": len(rebuild.pieces),
        "files": plan.files,
        "skipped": plan.skipped,
        "rows": rebuild.rows,
        "bytes": rebuild.size_bytes,
        "minutes": None if plan.minutes is None else round(plan.minutes, 2),
        "views": list(plan.views),
        "replaces": plan.replaces.number if plan.replaces else None,
        "gone": [
            {
                "batch": each.batch,
                "file": each.file,
                "uri": each.uri,
                "version": each.version,
                "now": each.now,
                "rowsInDataset": lost.get((each.batch, each.file), 0),
            }
            for each in plan.gone
        ],
        "plannedAt": format_time(rebuild.created_us),
    }
