"""A hint is heard once: it is not lost, whatever keeps its pipeline's source from being looked at."""

from __future__ import annotations

from typing import Any

from featurestore.reconcile.state import ObservedPipeline
from featurestore.runner.observer import Observer
from featurestore.storage import paths
from featurestore.timestamps import SECOND_US, current_us

POLLED = {"arrivals": {"pollInterval": "1h", "maxWait": "0s", "maxFiles": 1}}
HINT = {"flights": {"raw/flights/late.csv"}}


def waiting(observer: Observer, at_us: int) -> int | None:
    """How many files wait; None if that cannot be seen."""
    seen = observer.observe(observer.desired(at_us), {}, at_us).pipelines["flights"]
    if not isinstance(seen, ObservedPipeline):
        return None
    return seen.waiting.number if seen.waiting is not None else 0


def test_what_is_hinted_at_while_the_ledger_cannot_be_read_is_looked_at_once_it_can(place: Any) -> None:
    place.pipeline(trigger=POLLED)
    observer, now_us = Observer(place.project), current_us()
    assert waiting(observer, now_us) == 0
    identity = place.folder / "store" / paths.identity("flights")
    observer.ledger("flights").uid()
    place.drop("late.csv")
    # A folder where the file was: storage refuses, and does so to root as well.
    identity.rename(place.folder / "identity")
    identity.mkdir()
    observer.hint(HINT)
    assert waiting(observer, now_us + SECOND_US) is None
    identity.rmdir()
    (place.folder / "identity").rename(identity)
    assert waiting(observer, now_us + 60 * SECOND_US) == 1


def test_what_is_hinted_at_is_taken_while_another_pipeline_has_ever_more_to_do(place: Any) -> None:
    place.pipeline("busy", trigger=POLLED)
    place.pipeline(trigger=POLLED)
    place.drop(*(f"{number}.csv" for number in range(4)), pipeline="busy")
    runner = place.runner()
    committed: list[str] = []

    def hint() -> None:
        if not committed:
            place.drop("late.csv")
            runner._watcher._tell("flights", HINT["flights"])

    def commit() -> None:
        committed.append(place.heard.events[-1].name)
        if len(committed) == 5:
            runner.stop()

    place.heard.at = {"RunBatch": hint, "BatchCommitted": commit}
    runner.run()
    assert committed.index("flights") < 4, committed
