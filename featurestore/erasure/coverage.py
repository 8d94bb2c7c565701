"""Which pipelines and views hold rows of an entity, by all definitions that were ever accepted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from featurestore.errors import Damaged, NotFound, RequestError, SpecError, did_you_mean
from featurestore.registry.registry import Registry
from featurestore.resources import DataPipeline, FeatureView
from featurestore.resources.feature_view import FeatureViewSpec
from featurestore.storage import paths
from featurestore.storage.objects import Storage

_POINTERS = ("current", "deleting", "status")


@dataclass(frozen=True, slots=True)
class Coverage:
    """``keys``: names and types of the join keys, by name. ``views``: all that read one of the ``pipelines``.

    ``copies``: pipelines that look one of these up, and so may have columns of their rows.
    """

    entity: str
    keys: tuple[tuple[str, str], ...]
    pipelines: tuple[str, ...]
    views: tuple[str, ...]
    copies: tuple[str, ...]


def cover(storage: Storage, *, entity: str | None = None, view: str | None = None) -> Coverage:
    """What erasing keys of an entity is about; with ``view``, only the pipeline of this view, and what reads it.

    Raises:
        NotFound: there is no such view, or no view has features of such an entity.
        RequestError: views identify the entity by different join keys.
        StorageError: storage did not answer.
    """
    registry = Registry(storage)
    current = {name: accepted.resource.spec for name, accepted in registry.all(FeatureView).items()}
    if view is not None:
        if view not in current:
            raise NotFound(f"there is no view {view!r}", hint=did_you_mean(view, current))
        meant = {view: current[view]}
        entity = current[view].entity.name
    else:
        meant = {name: spec for name, spec in current.items() if spec.entity.name == entity}
    if not meant or entity is None:
        known = {spec.entity.name for spec in current.values()}
        raise NotFound(
            "no view has features of this entity", got=repr(entity), hint=did_you_mean(str(entity), known)
        )
    keys = {name: key_columns(spec) for name, spec in meant.items()}
    names = {tuple(column for column, _ in columns) for columns in keys.values()}
    if len(names) > 1:
        raise RequestError(
            f"views identify the entity {entity!r} by different join keys",
            got="; ".join(f"{name}: {', '.join(c for c, _ in columns)}" for name, columns in keys.items()),
            hint="Erase by one view at a time: --view",
        )
    [columns] = names
    pipelines = {spec.source.pipeline for spec in meant.values()}
    if view is None:
        past = definitions(storage)
        pipelines |= {
            spec.source.pipeline
            for _, spec in past
            if spec.entity.name == entity and tuple(c for c, _ in key_columns(spec)) == columns
        }
    copies = {
        name
        for name, accepted in registry.all(DataPipeline).items()
        if name not in pipelines and pipelines & set(accepted.resource.spec.looked_up)
    }
    return Coverage(
        entity,
        next(iter(keys.values())),
        tuple(sorted(pipelines)),
        tuple(sorted(name for name, spec in current.items() if spec.source.pipeline in pipelines)),
        tuple(sorted(copies)),
    )


def key_columns(spec: FeatureViewSpec) -> tuple[tuple[str, str], ...]:
    """Names and types of a view's join keys, by name."""
    return tuple(sorted((key.name, key.type.value) for key in spec.entity.join_keys))


def definitions(storage: Storage) -> Iterator[tuple[str, FeatureViewSpec]]:
    """Every definition of a view that was ever accepted, also of those that are deleted; not those that are damaged."""
    registry = Registry(storage)
    for name in storage.names("registry/views"):
        for file in storage.names(f"registry/views/{name}"):
            digest, _, form = file.rpartition(".")
            if form != "json" or digest in _POINTERS:
                continue
            with suppress(Damaged, SpecError, NotFound):
                yield name, registry.get(FeatureView, name, digest).spec


def builds_of(storage: Storage, view: str) -> list[str]:
    """Digests of all builds of a view of which something is stored."""
    tables = [name for name in storage.names(f"features/{view}") if "." not in name]
    rejected = storage.names(paths.quarantine("views", view))
    return sorted({*tables, *rejected} - {"builds", "rebuilds", "statistics", "trials"})
