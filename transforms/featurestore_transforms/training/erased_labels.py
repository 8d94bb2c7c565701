"""Which rows of a training set are of erased keys, however its labels call the join keys."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import product
from typing import Any

import polars as pl
import pyarrow as pa

from featurestore.arrivals.erasure import Erasure, Erasures
from featurestore.errors import NotFound
from featurestore.registry.registry import Registry
from featurestore.resources import FeatureView, OnDemandView
from featurestore.storage.delta import BATCH
from featurestore.storage.objects import Storage
from featurestore.training.training_manifest import Pins
from featurestore_transforms.tables.erased_keys import ErasedKeys

Called = Mapping[str, Collection[str]]
"""Join key to the columns of labels that may have it."""


def pipelines_of(storage: Storage, pins: Pins) -> set[str]:
    """The pipelines whose rows a version is made of."""
    registry = Registry(storage)
    pipelines = {pins.labels.pipeline} - {""}
    for view in pins.views:
        try:
            pipelines.add(registry.get(FeatureView, view.name, view.spec).spec.source.pipeline)
        except NotFound:
            continue
    return pipelines


def erasures_of(storage: Storage, pins: Pins) -> list[Erasure]:
    """All erasures until now that are about one of these pipelines."""
    pipelines, erasures = pipelines_of(storage, pins), Erasures(storage)
    listed = (erasures.get(number) for number in erasures.numbers())
    return [erasure for erasure in listed if erasure is not None and pipelines & erasure.pipelines.keys()]


def key_columns(registry: Registry, definition: Mapping[str, Any], pins: Pins) -> Called:
    """What a version's labels call join keys that they call otherwise: all that any ``joinKeyMap`` says."""
    mapped: dict[str, set[str]] = {}
    for key, column in _maps(registry, definition, pins):
        mapped.setdefault(key, set()).add(column)
    for _ in mapped:
        for columns in mapped.values():
            columns |= {further for column in list(columns) for further in mapped.get(column, ())}
    return mapped


def _maps(registry: Registry, definition: Mapping[str, Any], pins: Pins) -> Iterator[tuple[str, str]]:
    features = definition.get("features", {})
    for selection in features.get("features") or features.get("names") or ():
        if isinstance(selection, Mapping):
            yield from selection.get("joinKeyMap", {}).items()
    for view in pins.on_demand:
        for inner in registry.get(OnDemandView, view.name, view.spec).spec.on_demand.inputs:
            yield from inner.join_key_map.items()


def erased_rows(rows: pa.Table, erasures: Iterable[Erasure], called: Called) -> pl.Series:
    """Which rows are of erased keys: for ever, as labels do not tell with which batch a row came."""
    frame = pl.DataFrame(rows)
    flags = pl.repeat(False, frame.height, eager=True)
    for erasure in erasures:
        keys = ErasedKeys.of(next(iter(erasure.pipelines)), erasure)
        columns = [
            [name for name in dict.fromkeys((key, *sorted(called.get(key, ())))) if name in frame.columns]
            for key in erasure.names
        ]
        for which in product(*columns):
            named = [pl.col(column).alias(key) for column, key in zip(which, erasure.names, strict=True)]
            flags |= keys.flags(frame.select(*named, pl.lit(0, pl.Int64).alias(BATCH)))
    return flags
