"""The last batches of a pipeline, as its status tells them: for whoever has no keys of the storage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from featurestore.arrivals.result import BatchResult
from featurestore.errors import FeatureStoreError
from featurestore.resources.status import MOST_BATCHES, MOST_RULES
from featurestore_operator.controllers.status_fields import time_of

Object = dict[str, Any]
_LONGEST = 128


def last_batches(
    before: Iterable[Object], last: BatchResult, result: Callable[[int], BatchResult | None]
) -> list[Object]:
    """The last batches, the newest first.

    ``before``: what the status told until now. ``result``: of a batch, asked for where the status has not told it yet.
    One that cannot be read is left out.
    """
    known = {batch["number"]: batch for batch in before}
    listed = [_batch(last)]
    for number in range(last.number - 1, max(0, last.number - MOST_BATCHES), -1):
        if number in known:
            listed.append(known[number])
            continue
        try:
            one = result(number)
        except FeatureStoreError:
            continue
        if one is not None:
            listed.append(_batch(one))
    return listed


def _batch(result: BatchResult) -> Object:
    rows, files = Counter(result.broken), Counter(result.files_refused)
    worst = sorted({*rows, *files}, key=lambda rule: (-files[rule], -rows[rule], rule))[:MOST_RULES]
    counts = {
        "quarantinedRows": result.rows_quarantined,
        "quarantinedFiles": result.files_quarantined,
        "broken": [
            {
                "rule": rule[:_LONGEST],
                **{name: n[rule] for name, n in (("rows", rows), ("files", files)) if n[rule]},
            }
            for rule in worst
        ],
    }
    return {
        "number": result.number,
        "commit": result.dataset_version,
        "time": time_of(result.finished_us),
        "files": result.files,
        "rows": result.rows_committed,
        **{name: value for name, value in counts.items() if value},
    }
