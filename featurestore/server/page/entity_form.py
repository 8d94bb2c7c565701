"""``/read``: values of one entity, with their statuses and times, as a model would get them now."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs

import orjson

from featurestore.client.answers import Answer
from featurestore.errors import FeatureStoreError, NotFound
from featurestore.overview.lookout import Lookout
from featurestore.resources.value import ColumnType, KeyType
from featurestore.server.columnar import json_column, json_statuses, json_times
from featurestore.server.page.page_token import page_token, read_form
from featurestore.server.page.problem_page import page_problem
from featurestore.server.page.rendering import html_reply
from featurestore.server.page.visible_store import SERVICE, VIEW, VisibleStore, place, see
from featurestore.server.problem_details import HttpProblem, http_problem
from featurestore.server.route import HttpRequest, Reply, Route

_log = logging.getLogger("featurestore.server")
_PREFIX = "key."
"""Before the names of keys, so that none is taken for another field."""
_WHOLE = {KeyType.INT32, KeyType.INT64, ColumnType.INT8, ColumnType.INT16, ColumnType.INT32, ColumnType.INT64}
_REAL = {ColumnType.FLOAT32, ColumnType.FLOAT64}
_SHOWN = 400


@dataclass(frozen=True, slots=True)
class FormField:
    """A key of the entity, or a value of the request."""

    name: str
    type: KeyType | ColumnType
    value: str = ""

    @property
    def field(self) -> str:
        return _PREFIX + self.name

    @property
    def mode(self) -> str:
        """Which keyboard a phone shows."""
        return "numeric" if self.type in _WHOLE else "decimal" if self.type in _REAL else "text"


@dataclass(frozen=True, slots=True)
class ReadValue:
    """``value``: as JSON has it; "" where there is none. ``mark``: what style goes by."""

    name: str
    value: str
    status: str
    time: str
    mark: str


def fields_of(lookout: Lookout, name: str) -> list[FormField] | None:
    """What to ask for; None if nothing can be read yet.

    Raises:
        StorageError: storage did not answer.
    """
    try:
        asked = lookout.asked(name)
    except NotFound:
        return None
    types: dict[str, KeyType | ColumnType] = {**asked.key_types, **asked.request}
    return [FormField(column, kind) for column, kind in types.items()]


async def _empty(request: HttpRequest) -> Reply:
    names = parse_qs(request.query, errors="replace", max_num_fields=_MOST_FIELDS).get("of", [""])
    visible, fields = await request.backend.run(_asked, request, names[-1])
    return _reply(request, visible, names[-1], fields)


_MOST_FIELDS = 20


def _asked(request: HttpRequest, name: str) -> tuple[VisibleStore, list[FormField] | None]:
    visible = see(request)
    _item(visible, name)
    return visible, fields_of(request.backend.lookout, name)


def _item(visible: VisibleStore, name: str) -> Any:
    """The view or service of that name."""
    item = visible.overview.items.get((VIEW.name, name)) or visible.overview.items.get((SERVICE.name, name))
    return item if item is not None else visible.item(VIEW, name)


async def _filled(request: HttpRequest) -> Reply:
    submitted = read_form(request)
    name = submitted.get("of", "")
    visible, fields = await request.backend.run(_asked, request, name)
    if fields is None:
        return _reply(request, visible, name, fields, HTTPStatus.NOT_FOUND)
    filled = [FormField(field.name, field.type, submitted.get(field.field, "")) for field in fields]
    try:
        entities: dict[str, list[Any]] = {field.name: [_value(field)] for field in filled}
        full = _item(visible, name).kind is SERVICE
        answer = await request.backend.read(request, name, entities, full_feature_names=full)
    except (FeatureStoreError, HttpProblem) as error:
        problem = http_problem(error)
        if isinstance(error, NotFound) and request.backend.authenticator.asks:
            problem.hint = ""  # It lists names, also of what the caller may not read.
        if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            _log.error("page_read: %s", error)
        return _reply(request, visible, name, filled, problem.status, problem=problem)
    return _reply(request, visible, name, filled, values=_values(answer), commits=answer.commits)


def _value(field: FormField) -> Any:
    """What was typed, as its type has it.

    Raises:
        HttpProblem: it is not one of its type (422).
    """
    read: Callable[[str], Any] = int if field.type in _WHOLE else float if field.type in _REAL else str
    if field.type is ColumnType.BOOL:
        read = _TRUTH.__getitem__
    try:
        return read(field.value.strip() if read is not str else field.value)
    except (ValueError, KeyError):
        detail = f"{field.name}: wanted {field.type.value}, got {field.value[:_SHOWN]!r}"
        raise HttpProblem(HTTPStatus.UNPROCESSABLE_ENTITY, detail) from None


_TRUTH = {"true": True, "false": False, "1": True, "0": False}
_MARKS = {"PRESENT": "ready", "NULL_VALUE": "unknown", "NOT_FOUND": "unknown", "OUTSIDE_MAX_AGE": "refused"}


def _values(answer: Answer) -> list[ReadValue]:
    times = json_times(answer.times)
    read_values = []
    for name, column in answer.columns.items():
        value, status, time = json_column(column)[0], json_statuses(column)[0], times[name][0]
        text = "" if status != "PRESENT" else _text(value)
        mark = _MARKS.get(status, "failing")
        read_values.append(ReadValue(name, text, status, "" if time is None else str(time), mark))
    return read_values


def _text(value: Any) -> str:
    text = (
        value if isinstance(value, str) else orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY).decode()
    )
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(text):,} characters)"


def _reply(
    request: HttpRequest,
    visible: VisibleStore,
    name: str,
    fields: list[FormField] | None,
    status: int = HTTPStatus.OK,
    *,
    problem: HttpProblem | None = None,
    values: list[ReadValue] | None = None,
    commits: Mapping[str, int] | None = None,
) -> Reply:
    item = _item(visible, name)
    return html_reply(
        request,
        "read.html",
        status=status,
        item=item,
        link=place(item),
        fields=fields,
        problem=problem,
        values=values,
        commits=commits or {},
    )


PAGES = (
    Route(
        "GET",
        "/read",
        "page_form",
        "A form for an entity",
        _empty,
        is_page=True,
        token=page_token,
        tell=page_problem,
    ),
    Route(
        "POST",
        "/read",
        "page_read",
        "Values of an entity",
        _filled,
        is_page=True,
        takes_form=True,
        token=page_token,
        tell=page_problem,
    ),
)
