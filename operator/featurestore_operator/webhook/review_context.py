"""The context of an object under review: what it names, and what names it.

From the cache, which has every object of the cluster; only the facts of datasets come from storage.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from featurestore.arrivals.ledger import Ledger
from featurestore.errors import FeatureStoreError, SpecError
from featurestore.reconcile.conditions import Condition
from featurestore.registry.changeset import Before, Dataset
from featurestore.resources import Resource
from featurestore.resources.kinds import KINDS
from featurestore_operator.informer.cache import Cache
from featurestore_operator.kube.object_key import Key
from featurestore_operator.kube.parse import parse
from featurestore_operator.namespaces.open_store import OpenStore, Stores


def review_context(request: Mapping[str, Any], cache: Cache, stores: Stores) -> Before | None:
    """What :func:`featurestore_operator.webhook.admission.review` wants to know; None while the cache is not full.

    Only what the request's object has to do with is looked at, however many objects the namespace has. Without an
    answer from storage there are no datasets: their columns are not compared.
    """
    if not cache.synced:
        return None
    namespace, kind = request["namespace"], request["kind"]["kind"]
    key = Key(kind, namespace, _name(request))
    near = {key, *_named(kind, namespace, *_given(request)), *cache.readers(key)}
    if key.twin is not None and request["operation"] == "CREATE":
        near.add(key.twin)
    if KINDS[kind].only_one and request["operation"] == "DELETE":
        near |= {Key(kind, namespace, name) for kind in KINDS for name in cache.names(kind, namespace)}
    if kind == "FeatureView":
        # What the store can do decides what a view may ask of it.
        near |= {Key("FeatureStore", namespace, name) for name in cache.names("FeatureStore", namespace)}
    about = () if KINDS[kind].only_one else sorted(key.name for key in near if key.kind == "DataPipeline")
    resources = (_parsed(cache, key) for key in sorted(_closure(cache, near)))
    return Before(
        tuple(resource for resource in resources if resource is not None), _datasets(stores, namespace, about)
    )


def _name(request: Mapping[str, Any]) -> str:
    """Of the object. The request has none where a whole collection is deleted, or the server makes one up."""
    names = [document["metadata"].get("name") for document in _given(request)]
    return str(request.get("name") or next(filter(None, names), ""))


def _given(request: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [version for version in (request.get("object"), request.get("oldObject")) if version]


def _named(kind: str, namespace: str, *objects: Mapping[str, Any]) -> set[Key]:
    """What objects of a kind name."""
    return {
        Key(named, namespace, name)
        for document in objects
        for named, _, name in KINDS[kind].named(document.get("spec") or {})
    }


def _closure(cache: Cache, keys: Iterable[Key]) -> set[Key]:
    """These resources and all that they name, at any distance."""
    reached, todo = set(), [*keys]
    while todo:
        key = todo.pop()
        if key not in reached:
            reached.add(key)
            one = cache.get(key)
            todo += _named(key.kind, key.namespace, one) if one else ()
    return reached


def _parsed(cache: Cache, key: Key) -> Resource | None:
    """The resource, if it exists and is valid: nobody can rely on an invalid one."""
    document = cache.get(key)
    try:
        return parse(key.row.model, document) if document else None
    except SpecError:
        return None


def _datasets(stores: Stores, namespace: str, names: Iterable[str]) -> dict[str, Dataset]:
    try:
        store = stores.open(namespace)
        if isinstance(store, Condition):
            return {}
        datasets = {name: _dataset(store, name) for name in names}
    except FeatureStoreError:
        return {}
    return {name: dataset for name, dataset in datasets.items() if dataset is not None}


def _dataset(store: OpenStore, pipeline: str) -> Dataset | None:
    result = Ledger(store.storage, pipeline).last_result()
    return Dataset.after(result) if result else None
