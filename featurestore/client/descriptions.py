"""What views and services are made of and how far they have come, as plain values."""

from __future__ import annotations

from typing import Any

from featurestore.client.resolution import resolve, resolve_selections
from featurestore.errors import NotFound, did_you_mean
from featurestore.humanize import format_time
from featurestore.registry.registry import Registry
from featurestore.resources import FeatureService, FeatureView, ViewSpec
from featurestore.resources.outputs import outputs
from featurestore.resources.quantity import format_duration
from featurestore.storage.objects import Storage
from featurestore.timestamps import from_us
from featurestore.views.builds import read_build
from featurestore.views.served import ServedViews


def describe_service(storage: Storage, views: ServedViews, name: str) -> dict[str, Any]:
    """See :meth:`featurestore.client.connection.Store.describe_service`."""
    registry = Registry(storage)
    accepted = registry.current(FeatureService, name)
    if accepted is None:
        raise NotFound(
            f"there is no service {name!r}", hint=did_you_mean(name, registry.names(FeatureService))
        )
    spec = accepted.resource.spec
    resolution = resolve_selections(spec.features, views)
    builds = [read_build(storage, read.view.name, read.view.digest) for read in resolution.reads]
    watermarks = [build.watermark_us if build else None for build in builds]
    known = [watermark for watermark in watermarks if watermark is not None]
    return {
        "name": name,
        "description": spec.description,
        "owner": spec.owner,
        "tags": dict(spec.tags),
        "digest": accepted.digest,
        "views": sorted({read.view.name for read in resolution.reads}),
        "join_keys": {column: kind.value for column, kind in resolution.key_types.items()},
        "features": {column.name(True): column.output.type.value for column in resolution.columns},
        "watermark": iso_time(min(known)) if known and len(known) == len(watermarks) else None,
    }


def describe_view(storage: Storage, views: ServedViews, name: str) -> dict[str, Any]:
    """See :meth:`featurestore.client.connection.Store.describe`."""
    resource = views.accepted(name).resource
    if not isinstance(resource, FeatureView):
        return _describe_on_demand(views, name, resource.spec)
    served = views.find(name)
    spec = served.spec if served else resource.spec
    build = read_build(storage, name, served.digest) if served else None
    return {
        "name": name,
        "description": spec.description,
        "owner": spec.owner,
        "tags": dict(spec.tags),
        "entity": spec.entity.name,
        "join_keys": {key.name: key.type.value for key in spec.entity.join_keys},
        "features": {output.name: output.type.value for output in outputs(spec)},
        "ttl": None if spec.ttl is None else format_duration(spec.ttl),
        "pipeline": spec.source.pipeline,
        "online": spec.online.enabled.value,
        "serving": served.digest if served else None,
        "commit": build.source_version if build else None,
        "rows": build.rows if build else None,
        "watermark": iso_time(build.watermark_us) if build else None,
    }


def _describe_on_demand(views: ServedViews, name: str, spec: ViewSpec) -> dict[str, Any]:
    assert spec.on_demand is not None
    resolution = resolve([name], views)
    return {
        "name": name,
        "description": spec.description,
        "owner": spec.owner,
        "tags": dict(spec.tags),
        "entity": None,
        "join_keys": {column: kind.value for column, kind in resolution.key_types.items()},
        "request": {field.name: field.type.value for field in spec.on_demand.request},
        "inputs": [f"{read.view.name}:{output.name}" for read in resolution.reads for output in read.outputs],
        "features": {output.name: output.type.value for output in outputs(spec)},
        **dict.fromkeys(("ttl", "pipeline", "online", "serving", "commit", "rows", "watermark")),
    }


def iso_time(time_us: int | None) -> str | None:
    """The time in ISO 8601; of any year, also of those that Python has not."""
    if time_us is None:
        return None
    try:
        return from_us(time_us).isoformat()
    except OverflowError:
        return format_time(time_us)
