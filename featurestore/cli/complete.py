"""What a shell offers while you type: kinds, names of resources, and features.

A completion never fails and never prints: where there is no store, nothing is offered.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from featurestore.errors import FeatureStoreError

if TYPE_CHECKING:
    from featurestore.registry.project import Project


def kinds(incomplete: str) -> list[str]:
    """Kinds that several of a project can be of, in the plural."""
    return _starting(incomplete, _offered(_kinds))


def kinds_and_all(incomplete: str) -> list[str]:
    """Kinds, and ``all``."""
    from featurestore.resources.kinds import KINDS

    return _starting(incomplete, [*(kind.folder for kind in KINDS.values()), "all"])


def names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of resources: of the kind that stands before, or of any."""
    return _starting(incomplete, _offered(lambda: _names(ctx)))


def features(ctx: typer.Context, incomplete: str) -> list[str]:
    """Views and, after a colon, their features."""
    return _starting(incomplete, _offered(lambda: _features(ctx, incomplete)))


def fields(incomplete: str) -> list[str]:
    """Paths of fields, as ``explain`` takes them."""
    return _starting(incomplete, _offered(lambda: _fields(incomplete)))


def _starting(incomplete: str, words: Iterable[str]) -> list[str]:
    return sorted({word for word in words if word.startswith(incomplete)})


def _offered(find: Callable[[], list[str]]) -> list[str]:
    try:
        return find()
    except (FeatureStoreError, OSError, ValueError):
        return []


def _kinds() -> list[str]:
    from featurestore.resources.kinds import KINDS

    return [kind.folder for kind in KINDS.values() if not kind.only_one]


def _names(ctx: typer.Context) -> list[str]:
    from featurestore.cli.kind import find_kind
    from featurestore.resources.kinds import KINDS

    word = ctx.params.get("kind")
    kinds = [find_kind(word)] if word else [kind for kind in KINDS.values() if not kind.only_one]
    registry = _project(ctx).registry
    return [name for kind in kinds for name in registry.names(kind.model)]


def _features(ctx: typer.Context, incomplete: str) -> list[str]:
    from featurestore.resources import FeatureService, FeatureView, View
    from featurestore.resources.metadata import resource_name
    from featurestore.resources.outputs import outputs

    registry = _project(ctx).registry
    view, colon, _ = incomplete.partition(":")
    if not colon:
        return [*registry.names(FeatureView), *registry.names(FeatureService)]
    accepted = registry.current(View, resource_name(view))
    return [f"{view}:{output.name}" for output in outputs(accepted.resource.spec)] if accepted else []


def _fields(incomplete: str) -> list[str]:
    from featurestore.cli.kind import find_kind
    from featurestore.resources.field_docs import explain_field

    word, *path = incomplete.split(".")
    if not path:
        return _kinds()
    _, below = explain_field(find_kind(word, among=lambda kind: True), path[:-1])
    start = ".".join([word, *path[:-1]])
    return [f"{start}.{field.path.rpartition('.')[2]}" for field in below]


def _project(ctx: typer.Context) -> Project:
    from featurestore.registry.project import open_project

    # The options before the command are parsed, but their function is not called while completing.
    folder = Path(ctx.find_root().params.get("folder") or "")
    return open_project(folder if folder != Path() else None, os.environ, Path.cwd())
