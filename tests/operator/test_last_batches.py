"""What a status tells of the last batches: few, the newest first, whatever was told before."""

from __future__ import annotations

from featurestore.arrivals.result import BatchResult
from featurestore.errors import Damaged
from featurestore.resources.status import DataPipelineStatus
from featurestore_operator.controllers.last_batches import last_batches


def result(number: int, **more: object) -> BatchResult:
    facts = {"files": 1, "files_quarantined": 0, "rows_read": 9, "rows_committed": 9, "rows_quarantined": 0}
    said = {"pipeline": "p", "number": number, "dataset_version": number, "rows_dropped": 0, "finished_us": 0}
    return BatchResult.model_validate({**said, **facts, **more})


def numbers(told: list[dict[str, object]]) -> list[object]:
    return [it["number"] for it in told]


def test_at_most_five_are_told_the_newest_first() -> None:
    assert numbers(last_batches((), result(9), result)) == [9, 8, 7, 6, 5]
    assert numbers(last_batches((), result(2), result)) == [2, 1]


def test_what_the_status_told_already_is_not_read_again() -> None:
    told = last_batches((), result(5), result)
    asked: list[int] = []
    found = last_batches(told, result(7), lambda number: asked.append(number) or result(number))
    assert (numbers(found), asked) == ([7, 6, 5, 4, 3], [6])


def test_one_that_is_not_there_or_damaged_leaves_the_others() -> None:
    def read(number: int) -> BatchResult | None:
        if number == 3:
            raise Damaged("nonsense")
        return None if number == 2 else result(number)

    assert numbers(last_batches((), result(4), read)) == [4, 1]


def test_the_rules_that_were_broken_most_are_told_and_fit_the_schema() -> None:
    broken = {f"rule-{n}" + "x" * 300: n for n in range(1, 9)}
    (told,) = last_batches((), result(1, broken=broken, files_refused={"unreadable": 1}), result)
    assert [it["rule"][:10] for it in told["broken"]] == [
        "unreadable",
        "rule-8xxxx",
        "rule-7xxxx",
        "rule-6xxxx",
        "rule-5xxxx",
    ]
    DataPipelineStatus.model_validate({"lastBatches": [told]})
