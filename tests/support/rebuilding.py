"""A rebuild of the pipeline of ``tests/batch``, request by request, and all that is seen of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from deltalake import DeltaTable

from featurestore.protocol import PromoteRebuildRequest, RebuildRequest
from featurestore.quarantine.entries import entries
from featurestore.quarantine.tally import open_of_pipeline
from featurestore.rebuild.history_plan import HistoryPlan, begin, plan_history
from featurestore_transforms.batch.promotion import promote_rebuild
from featurestore_transforms.batch.rebuilding import run_piece

OLD: dict[str, Any] = {
    "transforms": [{"derive": {"columns": {"y": "x + 1"}}}],
    "expectations": [{"name": "small", "that": "x < 100"}],
}
NEW: dict[str, Any] = {
    "transforms": [{"derive": {"columns": {"y": "x / 2", "z": "x * 2"}}}],
    "expectations": [{"name": "smaller", "that": "x < 5"}],
    "schemaPolicy": {"newColumn": "Evolve"},
}


def plan(p: Any, **how: Any) -> HistoryPlan:
    return plan_history(p.storage, "events", now_us=2_000_000_000_000_000, **how)


def requests(p: Any) -> Iterator[RebuildRequest | PromoteRebuildRequest]:
    """What is to be done for the rebuild that is under way, until it is promoted."""
    while (at := p.ledger.rebuild_progress()) is not None:
        fields = {"root": p.storage.root, "pipeline": "events", "rebuild": at.rebuild.number}
        if at.due is None:
            yield PromoteRebuildRequest(**fields)
        else:
            yield RebuildRequest(**fields, number=at.due, turn=at.isolation.turn)


def do(p: Any, request: RebuildRequest | PromoteRebuildRequest) -> None:
    if isinstance(request, RebuildRequest):
        run_piece(p.storage, request, lambda progress: None)
    else:
        promote_rebuild(p.storage, request, lambda _: None)


def finish(p: Any) -> None:
    for request in requests(p):
        do(p, request)


def rebuild(p: Any, **how: Any) -> None:
    begin(p.storage, plan(p), **how)
    finish(p)


def files(p: Any) -> list[str]:
    return [
        p.csv("a.csv", "k,x\na,1\nb,2\nc,300\n"),
        p.csv("b.csv", "k,x,w\na,5,\nd,6,7\ne,700,\n"),
        p.csv("c.csv", "k,x\na,3\nb,400\n"),
    ]


def three(p: Any, *more: str) -> Any:
    """Three batches of files that are there already."""
    for name in ("a.csv", "b.csv", "c.csv", *more):
        p.batch(name)
    return p


def seen(p: Any) -> tuple[Any, ...]:
    """All that readers and people see of the pipeline: columns, rows, quarantine, counts."""
    last = p.ledger.last_result()
    found = open_of_pipeline(p.ledger, last)
    listed = [
        (item.batch, item.file, item.rule, item.rows, item.is_open)
        for item in entries(p.storage, "pipelines", "events")
    ]
    counts = {
        "kind",
        "number",
        "files",
        "rows_committed",
        "rows_quarantined",
        "files_refused",
        "dataset_rows",
    }
    return (
        DeltaTable(p.storage.uri(p.dataset.path), storage_options=p.storage.delta_options).schema().to_json(),
        p.rows(),
        p.quarantine(),
        listed,
        (found.files, found.rows),
        last.model_dump(include=counts | {"dataset_columns", "caught", "watermarks_us"}),
    )
