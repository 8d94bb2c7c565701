"""``why``: one page about a resource: what is wrong, since when, what was tried, what to do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from featurestore.cli.output import columns
from featurestore.kubectl.advice import NOTHING, UNSEEN, advice
from featurestore.kubectl.cluster import Cluster
from featurestore.kubectl.condition_list import condition, is_observed, wrong
from featurestore.kubectl.job_list import jobs_table
from featurestore.kubectl.tables import events_table, indented, inner_width, since

Object = dict[str, Any]
_MOST_JOBS, _MOST_EVENTS = 5, 8


def why(resource: Object, others: Sequence[Object], cluster: Cluster, now_us: int) -> str:
    """The page. ``others``: all of our resources in its namespace."""
    ready = condition(resource, "Ready")
    facts = resource.get("status") or {}
    state = ready.get("status") or "Unknown"
    age = since(ready.get("lastTransitionTime"), now_us)
    lines = [
        f"{resource['kind']} {resource['metadata']['name']} in namespace {resource['metadata']['namespace']}",
        f"Ready: {state}" + (f" since {age}" if age else "") + (f" ({ready['reason']})" if ready else ""),
    ]
    if ready.get("message"):
        lines.append(ready["message"])
    if facts.get("nextAttemptTime"):
        lines.append(f"Next attempt: {facts['nextAttemptTime']}")
    workers = condition(resource, "Workers")
    if workers.get("status") == "True":
        lines.append(f"Workers that stay: {workers.get('message')}")
    bad = wrong(resource)
    # What fails is told by Ready and by Degraded, in the same words.
    bad = list(
        {(condition["reason"], condition.get("message")): condition for condition in reversed(bad)}.values()
    )[::-1]
    sections = [("What is wrong", _conditions(bad, now_us) if bad else "Nothing that it tells of.")]
    behind = [needed for needed in _named(resource, others) if wrong(needed) or not is_observed(needed)]
    if behind:
        sections.append(("It needs", _behind(behind, now_us)))
    if jobs := cluster.jobs(resource)[:_MOST_JOBS]:
        sections.append(("What was tried", jobs_table(jobs, cluster.pods(resource), now_us)))
    if events := cluster.events(resource)[:_MOST_EVENTS]:
        sections.append(("What was told", events_table(events, now_us)))
    sections.append(("What to do", "\n".join(_advised(resource, bad, behind))))
    lines += [line for title, body in sections for line in ("", f"{title}:", indented(body))]
    return "\n".join(lines)


def _conditions(bad: Sequence[Object], now_us: int) -> str:
    rows: list[list[object]] = [
        [
            condition["type"],
            condition["status"],
            condition["reason"],
            since(condition.get("lastTransitionTime"), now_us),
            condition.get("message"),
        ]
        for condition in bad
    ]
    return columns(["CONDITION", "STATUS", "REASON", "SINCE", "MESSAGE"], rows, inner_width())


def _behind(resources: Sequence[Object], now_us: int) -> str:
    rows: list[list[object]] = []
    for resource in resources:
        first: Object = next(iter(wrong(resource)), {})
        rows.append(
            [
                f"{resource['kind'].lower()}/{resource['metadata']['name']}",
                condition(resource, "Ready").get("status") or "Unknown",
                first.get("reason"),
                since(first.get("lastTransitionTime"), now_us),
                first.get("message") or "no operator has looked at it yet",
            ]
        )
    return columns(["RESOURCE", "READY", "REASON", "SINCE", "MESSAGE"], rows, inner_width())


def _advised(resource: Object, bad: Sequence[Object], behind: Sequence[Object]) -> Iterator[str]:
    metadata = resource["metadata"]
    named = {"kind": resource["kind"], "name": metadata["name"], "namespace": metadata["namespace"]}
    advised = [] if is_observed(resource) else [UNSEEN]
    advised += [advice(condition["reason"], **named) for condition in bad]
    advised += [
        f"`kubectl featurestore why -n {metadata['namespace']} "
        f"{other['kind'].lower()}/{other['metadata']['name']}`: it needs that."
        for other in behind
    ]
    ready = condition(resource, "Ready")
    if ready and not bad:
        advised.append(advice(ready["reason"], **named))
    lines = list(dict.fromkeys(filter(None, advised)))
    yield from (f"- {line}" for line in lines or [NOTHING])


def _named(resource: Object, others: Sequence[Object]) -> list[Object]:
    """What a resource names, and the store of its namespace."""
    spec = resource.get("spec") or {}
    names = {("DataPipeline", (spec.get("source") or {}).get("pipeline"))}
    for step in spec.get("transforms") or ():
        names.add(("DataPipeline", (step.get("lookup") or {}).get("pipeline")))
    for reference in (*(spec.get("features") or ()), *((spec.get("onDemand") or {}).get("inputs") or ())):
        # A feature of a view has a name, too, and names no view.
        view = reference.get("view") if isinstance(reference, dict) else str(reference).partition(":")[0]
        names.add(("FeatureView", view))
    return [
        other
        for other in others
        if other["metadata"]["uid"] != resource["metadata"]["uid"]
        and (other["kind"] == "FeatureStore" or (other["kind"], other["metadata"]["name"]) in names)
    ]
