"""What is known around an object under review: what it names, and what names it.

From the cache, which has every object of the cluster; only the facts of datasets come from storage.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from featurestore.arrivals.ledger import Ledger
from featurestore.errors import FeatureStoreError, SpecError
from featurestore.reconcile.conditions import Condition
from featurestore.registry.changeset import Before, Dataset
from featurestore.registry.registry import Accepted, resource_digest
from featurestore.resources import DataPipeline, FeatureStore, FeatureView, Resource
from featurestore_operator.informer.cache import Cache
from featurestore_operator.kube.object_key import Key
from featurestore_operator.kube.parse import parse
from featurestore_operator.namespaces.open_store import OpenStore, Stores

R = TypeVar("R", bound=Resource)


def review_context(request: Mapping[str, Any], cache: Cache, stores: Stores) -> Before | None:
    """What :func:`featurestore_operator.webhook.admission.review` wants to know; None while the cache is not full.

    Only what the request's object has to do with is looked at, however many objects the namespace has. Without an
    answer from storage there are no datasets: their columns are not compared.
    """
    if not cache.synced:
        return None
    namespace, name, kind = request["namespace"], _name(request), request["kind"]["kind"]
    names: set[str] = set()
    views: Iterable[str] = ()
    store = None
    match kind:
        case "FeatureStore":
            store = _store(cache, namespace, name)
            if request["operation"] == "DELETE":
                names, views = set(cache.pipelines(namespace)), cache.views(namespace)
        case "DataPipeline":
            names = {name, *cache.looking_up(namespace, name), *_looked_up(request.get("object"))}
            views = cache.views_of(namespace, name)
        case "FeatureView":
            names = {it["spec"]["source"]["pipeline"] for it in _given(request)}
            views = [name]
    pipelines = _parsed(DataPipeline, cache, namespace, _closure(cache, namespace, names))
    about = names if kind != "FeatureStore" else ()
    return Before(
        store=store,
        pipelines=pipelines,
        views=_parsed(FeatureView, cache, namespace, views),
        datasets=_datasets(stores, namespace, about),
    )


def _name(request: Mapping[str, Any]) -> str:
    """Of the object. The request has none where a whole collection is deleted, or the server makes one up."""
    names = [it["metadata"].get("name") for it in _given(request)]
    return str(request.get("name") or next(filter(None, names), ""))


def _given(request: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [it for it in (request.get("object"), request.get("oldObject")) if it]


def _looked_up(pipeline: Mapping[str, Any] | None) -> list[str]:
    steps = pipeline["spec"].get("transforms") or () if pipeline else ()
    return [step["lookup"]["pipeline"] for step in steps if step.get("lookup")]


def _closure(cache: Cache, namespace: str, names: Iterable[str]) -> set[str]:
    """These pipelines and all that they look up, at any distance."""
    found, todo = set(), [*names]
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo += _looked_up(cache.get(Key("DataPipeline", namespace, name)))
    return found


def _store(cache: Cache, namespace: str, name: str) -> FeatureStore | None:
    found = cache.get(Key("FeatureStore", namespace, name))
    try:
        return parse(FeatureStore, found) if found else None
    except SpecError:
        return None


def _parsed(model: type[R], cache: Cache, namespace: str, names: Iterable[str]) -> dict[str, Accepted[R]]:
    """Those that are there and right, by name; nobody can rely on one that is wrong."""
    found: dict[str, Accepted[R]] = {}
    for name in names:
        one = cache.get(Key(model.__name__, namespace, name))
        if one is None:
            continue
        try:
            resource = parse(model, one)
        except SpecError:
            continue
        found[name] = Accepted(resource_digest(resource), resource)
    return found


def _datasets(stores: Stores, namespace: str, names: Iterable[str]) -> dict[str, Dataset]:
    try:
        store = stores.open(namespace)
        if isinstance(store, Condition):
            return {}
        found = {name: _dataset(store, name) for name in names}
    except FeatureStoreError:
        return {}
    return {name: dataset for name, dataset in found.items() if dataset is not None}


def _dataset(store: OpenStore, pipeline: str) -> Dataset | None:
    result = Ledger(store.storage, pipeline).last_result()
    return Dataset.after(result) if result else None
