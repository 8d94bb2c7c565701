"""What pydantic finds wrong with a document, in this project's words: where, wanted, got, what to do."""

from __future__ import annotations

import re
import types
from collections.abc import Iterator, Sequence
from enum import Enum
from typing import Any, Literal, Protocol, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from featurestore.errors import SpecError, did_you_mean
from featurestore.resources.annotation import plain
from featurestore.resources.environment import VARIABLE_PATTERN
from featurestore.resources.metadata import NAME_PATTERN, OBJECT_NAME_PATTERN, resource_name
from featurestore.resources.node import Path, path_text
from featurestore.resources.pod_template import IMAGE_PATTERN, LABEL_VALUE_PATTERN
from featurestore.resources.redis_url import REDIS_PATTERN
from featurestore.resources.serving import ARGUMENT_PATTERN, CLIENT_PATTERN, ISSUER_PATTERN
from featurestore.resources.text_format import MARK_PATTERN
from featurestore.resources.transform import CALLABLE_PATTERN
from featurestore.resources.value import COLUMN_PATTERN, FEATURE_PATTERN
from featurestore.resources.volume import MOUNT_PATTERN

_WRONG = "invalid value"
_UNIONS = (Union, types.UnionType)
_PATTERNS = {
    NAME_PATTERN: "a name of a-z, 0-9 and '-', with a letter or digit at both ends",
    COLUMN_PATTERN: "the name of a column, on one line, that does not begin with '__'",
    MARK_PATTERN: "one character of ASCII, or none",
    FEATURE_PATTERN: "a name of letters, digits and '_' that begins with a letter",
    CALLABLE_PATTERN: "module:function",
    REDIS_PATTERN: "redis://host:port/database, redis+sentinel://… or redis+cluster://…, or the same with rediss",
    OBJECT_NAME_PATTERN: "a name of a-z, 0-9, '-' and '.', with a letter or digit at both ends",
    VARIABLE_PATTERN: "a name of letters, digits, '_', '-' and '.' that does not begin with a digit",
    LABEL_VALUE_PATTERN: "letters, digits, '-', '_' and '.', with a letter or digit at both ends",
    IMAGE_PATTERN: "the name of an image, without spaces",
    MOUNT_PATTERN: "an absolute path without ':'",
    ISSUER_PATTERN: "an https:// URL",
    ARGUMENT_PATTERN: "a text without spaces that does not begin with '-'",
    CLIENT_PATTERN: "the name of a namespace, or *",
}
_MEMBERS = {
    str: "a string",
    float: "a number",
    bool: "true or false",
    list: "a list of strings",
}
"""Of unions."""
_TYPES = {
    "string_type": "a string",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping of names to values",
    "model_type": "a mapping of fields to values",
}


class Places(Protocol):
    """Says where the fields of a document stand: see :class:`featurestore.resources.node.Document`."""

    def where(self, path: Path) -> str: ...

    def line(self, path: Path) -> int: ...

    def has(self, path: Path) -> bool: ...


class FieldPlaces:
    """Where the fields of a value stand that has no lines: their paths alone. ``whole``: what the value itself is called."""

    def __init__(self, value: Any, whole: str = "") -> None:
        self._value, self._whole = value, whole

    def where(self, path: Path) -> str:
        return path_text(path) or self._whole

    def line(self, path: Path) -> int:
        return 0

    def has(self, path: Path) -> bool:
        value = self._value
        for part in path:
            try:
                value = value[part]
            except (KeyError, IndexError, TypeError):
                return False
        return True


def all_of(problems: Sequence[SpecError]) -> SpecError:
    """One error that says all problems: the only one itself, else their texts, one after the other."""
    if len(problems) == 1:
        return problems[0]
    return SpecError("; ".join(map(str, problems)), problems=problems)


def problems_of(error: ValidationError, model: type[BaseModel], document: Places) -> list[SpecError]:
    """Each thing that is wrong, once, in the order of the document's lines."""
    by_place: dict[tuple[str, str], tuple[int, SpecError]] = {}
    for details in error.errors(include_url=False):
        path = _path(details["loc"], model)
        for problem in _problems(details, path, model, document):
            by_place.setdefault((problem.where, problem.problem), (document.line(path), problem))
    return [problem for _, problem in sorted(by_place.values(), key=lambda pair: pair[0])]


def _problems(
    details: ErrorDetails, path: Path, model: type[BaseModel], document: Places
) -> Iterator[SpecError]:
    kind, context = details["type"], details.get("ctx", {})
    where, got = document.where(path), _shown(details["input"])
    if kind == "rules":
        for field, message in context["broken"]:
            at = (*path, *field.split(".")) if field else path
            yield SpecError(message, where=document.where(at if document.has(at) else path))
    elif kind == "too_short" and details["input"]:
        return  # its items are wrong, each has its own problem
    elif kind == "missing":
        yield SpecError("a field is missing", where=where, wanted=_description(model, path))
    elif get_origin(_annotation(model, path)) in _UNIONS:
        yield SpecError(_WRONG, where=where, wanted=_any_of(_annotation(model, path)), got=got)
    elif kind == "extra_forbidden":
        known = _fields(model, path[:-1])
        yield SpecError(f"unknown field {path[-1]!r}", where=where, hint=did_you_mean(str(path[-1]), known))
    elif kind in ("enum", "literal_error"):
        known = _choices(model, path)
        wanted = f"one of {', '.join(known)}"
        near = did_you_mean(str(details["input"]), known)
        hint = near if near.startswith("Did") else ""
        yield SpecError("unknown value", where=where, wanted=wanted, got=got, hint=hint)
    elif kind == "string_pattern_mismatch":
        wanted = _PATTERNS.get(context["pattern"], context["pattern"])
        hint = _with_hyphens(details["input"]) if context["pattern"] == NAME_PATTERN else ""
        yield SpecError(_WRONG, where=where, wanted=wanted, got=got, hint=hint)
    else:
        wanted = _TYPES.get(kind) or _bound(kind, context) or _words(details["msg"])
        yield SpecError(_WRONG, where=where, wanted=wanted, got=got)


def _any_of(union: Any) -> str:
    """What values of a union are."""
    members = {get_origin(plain(member)) or plain(member) for member in get_args(union)}
    *words, last = (text for dtype, text in _MEMBERS.items() if dtype in members)
    return f"{', '.join(words)} or {last}"


def _with_hyphens(value: object) -> str:
    """A hint for a name as Feast has it; requests may go on writing it with underscores."""
    name = resource_name(str(value).lower())
    return f"Did you mean {name!r}?" if name != value and re.fullmatch(NAME_PATTERN, name) else ""


def _bound(kind: str, context: dict[str, Any]) -> str:
    match kind:
        case "string_too_long":
            return f"at most {_count(context['max_length'], 'character')}"
        case "string_too_short":
            return f"at least {_count(context['min_length'], 'character')}"
        case "too_long":
            return f"at most {_count(context['max_length'], 'item')}"
        case "too_short":
            return f"at least {_count(context['min_length'], 'item')}"
        case "greater_than_equal":
            return f"at least {context['ge']}"
        case "less_than_equal":
            return f"at most {context['le']}"
    return ""


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _words(message: str) -> str:
    return message.removeprefix("Value error, ").removeprefix("wanted ")


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return "a mapping" if value else "an empty mapping"
    if isinstance(value, list):
        return f"a list of {len(value)}" if value else "an empty list"
    if value is None:
        return "nothing"
    text = repr(value) if not isinstance(value, bool) else str(value).lower()
    return text if len(text) <= 80 else text[:77] + "…"


def _path(loc: tuple[str | int, ...], model: type[BaseModel]) -> Path:
    """The path without what pydantic adds to it: the member of a union, and ``[key]``."""
    path: Path = ()
    for part in loc:
        if part == "[key]" or get_origin(_annotation(model, path)) in _UNIONS:
            break
        path = (*path, part)
    return path


def _annotation(model: type[BaseModel], path: Path) -> Any:
    """The type of what stands at the path; None where any name is allowed."""
    at: Any = model
    for part in path:
        at = plain(at)
        if isinstance(at, type) and issubclass(at, BaseModel):
            field = _named(at).get(str(part))
            if field is None:
                return None
            at = field.annotation
        elif get_origin(at) in (tuple, dict):
            at = get_args(at)[0 if get_origin(at) is tuple else 1]
        else:
            return None
    return plain(at)


def _named(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The fields by the names that documents have for them."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _fields(model: type[BaseModel], path: Path) -> list[str]:
    at = _annotation(model, path)
    return list(_named(at)) if isinstance(at, type) and issubclass(at, BaseModel) else []


def _choices(model: type[BaseModel], path: Path) -> list[str]:
    at = _annotation(model, path)
    if get_origin(at) is Literal:
        return [str(value.value if isinstance(value, Enum) else value) for value in get_args(at)]
    if isinstance(at, type) and issubclass(at, Enum):
        return [str(member.value) for member in at]
    return []


def _description(model: type[BaseModel], path: Path) -> str:
    at = _annotation(model, path[:-1])
    if isinstance(at, type) and issubclass(at, BaseModel):
        field = _named(at).get(str(path[-1]))
        if field is not None and field.description:
            return f"{path[-1]} ({field.description.rstrip('.')})"
    return str(path[-1])
