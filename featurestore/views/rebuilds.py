"""Requests to rebuild a view from its dataset, numbered 1, 2, 3 …: they never change, and the last one counts.

A rebuild is one more build of the same definition, with the request's number in its name. So it is made beside the
build that serves, published beside it and promoted in one write, and the build before is retired, as after a change of
the definition. It reads nothing that an earlier build made.
"""

from __future__ import annotations

from itertools import chain
from typing import Any

from pydantic import ValidationError

from featurestore.humanize import format_time
from featurestore.resources.model import Model
from featurestore.resources.outputs import rebuild_number
from featurestore.storage import paths
from featurestore.storage.objects import Storage

_LONGEST = 256
"""Of an annotation's value, so much is shown."""


def shorten(request: str) -> str:
    """As much of a request as is shown."""
    return request if len(request) <= _LONGEST else request[: _LONGEST - 1] + "…"


class ViewRebuild(Model):
    """Request ``number`` to rebuild a view, made at ``requested_us``.

    ``request``: what tells it from others, such as an annotation's value; "" if its record was damaged, which changes
    nothing of what is to be done.
    """

    number: int
    request: str = ""
    requested_us: int = 0

    def is_read(self, serving: str | None) -> bool:
        """Whether readers find what it made, or what came after it. ``serving``: the build that they read."""
        return serving is not None and rebuild_number(serving) == self.number

    def facts(self, build: str, serving: str | None, commit: int | None, rows: int | None) -> dict[str, Any]:
        """As the view's status says it. ``build``: the one that it makes or made, which holds ``commit`` of the dataset."""
        shown = shorten(self.request)
        known = {
            "request": shown,
            "requestedTime": format_time(self.requested_us),
            "promoted": shown if self.is_read(serving) else None,
            "build": build,
            "commit": commit,
            "rows": rows,
        }
        return {name: value for name, value in known.items() if value is not None}


def last_rebuild(storage: Storage, view: str) -> ViewRebuild | None:
    """The last request to rebuild the view; None if there never was one.

    Raises:
        StorageError: storage did not answer.
    """
    numbers = _numbers(storage, view)
    return _read(storage, view, numbers[-1]) if numbers else None


def request_rebuild(storage: Storage, view: str, request: str, now_us: int) -> ViewRebuild:
    """The last request, once this one is recorded: as a new one, unless it was made before, however long ago.

    ``now_us``: UTC microseconds now.

    Raises:
        StorageError: storage did not answer.
    """
    while True:
        known = (_read(storage, view, number) for number in reversed(_numbers(storage, view)))
        last = next(known, None)
        if last is not None and any(made.request == request for made in chain([last], known)):
            return last
        number = last.number + 1 if last is not None else 1
        wanted = ViewRebuild(number=number, request=request, requested_us=now_us)
        data = wanted.model_dump_json(by_alias=True).encode()
        if storage.put_if_absent(paths.view_rebuild(view, number), data):
            return wanted


def _numbers(storage: Storage, view: str) -> list[int]:
    return sorted(int(name.partition(".")[0]) for name in storage.names(paths.view_rebuilds(view)))


def _read(storage: Storage, view: str, number: int) -> ViewRebuild:
    data = storage.find(paths.view_rebuild(view, number))
    try:
        return ViewRebuild.model_validate_json(data or b"")
    except ValidationError:
        return ViewRebuild(number=number)
