"""``featurestore explain``: the fields of a kind, with types, defaults and what they mean."""

from __future__ import annotations

import re
import textwrap

from featurestore.cli.kind import find_kind
from featurestore.cli.output import OutputFormat, columns, dump, screen_width
from featurestore.resources.field_docs import FieldDoc, all_fields, explain_field

_WIDTH = 100


def explain(path: str, form: OutputFormat | None, *, recursive: bool) -> str:
    """What to print of ``KIND`` or ``KIND.FIELD.FIELD…``, such as ``pipeline.spec.source``.

    Raises:
        NotFound: the kind has no such field.
        RequestError: there is no such kind.
    """
    word, *names = [name for name in re.split(r"\.\*|\[\]|\.", path) if name]
    kind = find_kind(word, among=lambda kind: True)
    field, below = explain_field(kind, names)
    if recursive:
        start = field.path or "spec"
        below = [field for field in all_fields(kind) if field.path.startswith(start) and field.path != start]
    if form in (OutputFormat.JSON, OutputFormat.YAML):
        return dump({"kind": kind.name, **_plain(field), "fields": [_plain(field) for field in below]}, form)
    width = min(screen_width() or _WIDTH, _WIDTH)
    head = f"{kind.name}{'.' if field.path else ''}{field.path}: {field.type}"
    lines = [head + (", required" if field.required and field.path else ""), ""]
    lines += textwrap.wrap(field.description, width)
    if field.default:
        lines += [f"Default: {field.default}"]
    lines += [f"Rule: {rule}." for rule in field.rules]
    if below:
        # A path is as long as it is only where all are shown; else the last name says it.
        rows = [
            [
                field.path if recursive else field.path.rpartition(".")[2],
                field.type,
                _need(field),
                field.description,
            ]
            for field in below
        ]
        lines += ["", columns(["FIELD", "TYPE", "DEFAULT", "DESCRIPTION"], rows, screen_width())]
    return "\n".join(lines)


def _need(field: FieldDoc) -> str:
    return "required" if field.required else field.default


def _plain(field: FieldDoc) -> dict[str, object]:
    return {
        "path": field.path,
        "type": field.type,
        "required": field.required,
        "default": field.default or None,
        "description": field.description,
        "rules": list(field.rules),
    }
