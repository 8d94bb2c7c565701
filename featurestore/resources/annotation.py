"""Annotations of fields, as the models' own declarations have them."""

from __future__ import annotations

from types import UnionType
from typing import Any, Union, get_args, get_origin


def plain(annotation: Any) -> Any:
    """The type without ``| None`` and ``Annotated``; a union of several types stays one."""
    while True:
        if get_origin(annotation) in (Union, UnionType):
            members = [member for member in get_args(annotation) if member is not type(None)]
            if len(members) != 1:
                return annotation
            annotation = members[0]
        elif hasattr(annotation, "__metadata__"):
            annotation = annotation.__origin__
        else:
            return annotation
