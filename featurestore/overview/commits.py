"""What was committed: batches of a pipeline, and commits of the build that a view serves. The newest first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from featurestore.arrivals.ledger import Ledger
from featurestore.arrivals.result import BatchResult
from featurestore.storage import paths
from featurestore.storage.objects import Storage
from featurestore.views.builds import ActiveBuild


@dataclass(frozen=True, slots=True)
class ViewCommit:
    """A commit of a view's table. ``version``: of this table; ``commit``: of the dataset, that it holds since."""

    version: int
    finished_us: int
    commit: int
    rows_added: int
    rows_removed: int
    rows_quarantined: int
    watermark_us: int | None
    build: str
    spec: str
    code_version: str


def batches(ledger: Ledger, head: int, limit: int) -> list[tuple[int, BatchResult | None]]:
    """Numbers of the last batches, ``head`` and before it, each with what it became; None while it has not landed.

    Raises:
        StorageError: storage did not answer.
    """
    return [(number, ledger.result(number)) for number in range(head, max(0, head - limit), -1)]


def view_commits(
    storage: Storage, view: str, serving: ActiveBuild | None, limit: int | None = None
) -> list[ViewCommit]:
    """The commits that brought or took rows, among the last so many of the build that serves.

    Raises:
        StorageError: storage did not answer.
    """
    if serving is None:
        return []
    from featurestore.storage.delta import Table

    table = Table.open(storage, paths.features(view, serving.digest))
    # Making the table and tending it are commits too, but add nothing: those that tell of rows say so.
    commits = [] if table is None else table.history(limit)
    return [_commit(each) for each in commits if "rows_added" in each]


def _commit(facts: Mapping[str, Any]) -> ViewCommit:
    """What Delta keeps as text, in our words."""
    watermark = facts.get("watermark_us")
    return ViewCommit(
        version=facts["version"],
        finished_us=int(facts["finished_us"]),
        commit=int(facts["source_version"]),
        rows_added=int(facts["rows_added"]),
        rows_removed=int(facts["rows_removed"]),
        rows_quarantined=int(facts["rows_quarantined"]),
        watermark_us=int(watermark) if watermark not in (None, "None") else None,
        build=facts["digest"],
        spec=facts["spec_digest"],
        code_version=facts["code_version"],
    )
