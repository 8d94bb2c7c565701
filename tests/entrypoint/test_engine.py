"""Each request names the function that runs it: one that takes this request, and answers what may be answered."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import pytest

from featurestore.arrivals.dry_run_result import DryRunResult
from featurestore.protocol import AnyRequest, EngineRequest, EngineResult, ErasureResult, Progress
from featurestore.storage.objects import Storage


def members(union: Any) -> set[type]:
    if get_origin(union) is Annotated:
        return members(get_args(union)[0])
    return {it for each in get_args(union) for it in members(each)} or {union}


REQUESTS: list[type[EngineRequest]] = sorted(members(AnyRequest), key=lambda it: it.__name__)
ANSWERS = members(EngineResult) | {DryRunResult, ErasureResult}


@pytest.mark.parametrize("asked", REQUESTS, ids=lambda it: it.__name__)
def test_what_a_request_names_takes_it_and_gives_an_answer(asked: type[EngineRequest]) -> None:
    module, _, function = asked.run_by.partition(":")
    types = get_type_hints(getattr(import_module(module), function))
    answer = types.pop("return")
    assert types == {"storage": Storage, "request": asked, "progress": Callable[[Progress], None]}
    assert [*types] == ["storage", "request", "progress"]
    assert members(answer) <= ANSWERS
