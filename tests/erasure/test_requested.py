"""An erasure that a resource asks for: begun once, finished by whoever comes next, with or without its file of keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from erasing import SECRET, Erasing

from featurestore.arrivals.erasure import Erasures
from featurestore.errors import NotFound, RequestError
from featurestore.protocol import EraseKeysRequest, ErasureResult
from featurestore_transforms.entrypoint.engine import run


def ask(p: Erasing, file: Path | str, request: str = "uid-1", **more: Any) -> ErasureResult:
    """As a Job does."""
    asked = EraseKeysRequest(
        root=p.storage.root,
        request=request,
        asked_by="Erasure prod/gone",
        uri=str(file),
        **{"entity": "thing", **more},
    )
    result = run(p.storage, asked, lambda _: None)
    assert isinstance(result, ErasureResult)
    return result


def test_it_is_done_as_by_the_command_and_says_who_asked(past: Erasing) -> None:
    record = ask(past, past.keys(SECRET)).record
    assert (record["keys"], record["askedBy"]) == (1, "Erasure prod/gone")
    assert past.traces() == []


def test_whoever_comes_after_a_kill_finishes_the_same_one_though_the_file_is_gone(past: Erasing) -> None:
    file = past.keys(SECRET)
    with past.killed_at("after-intent-erasure", 1):
        ask(past, file)
    file.unlink()
    first, again = ask(past, file), ask(past, file)
    assert first == again
    assert first.number == 1
    assert Erasures(past.storage).numbers() == [1]
    assert past.traces() == []


def test_another_request_for_the_same_keys_is_another_erasure(past: Erasing) -> None:
    assert [ask(past, past.keys(SECRET), request).number for request in ("uid-1", "uid-2")] == [1, 2]


@pytest.mark.parametrize(
    ("text", "error"), [(None, NotFound), ("other\nx\n", RequestError), ("k\n", RequestError)]
)
def test_what_is_no_file_of_keys_begins_nothing(
    past: Erasing, text: str | None, error: type[Exception]
) -> None:
    file = past.folder / "gone.csv"
    if text is not None:
        file.write_text(text)
    with pytest.raises(error):
        ask(past, file)
    assert Erasures(past.storage).numbers() == []
