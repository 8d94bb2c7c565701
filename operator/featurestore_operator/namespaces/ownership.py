"""Whose a storage root is: of one namespace, which claims it before it touches anything else there.

Two namespaces with one root would read and delete each other's data, each with a status that says all is well. The
claim is an object in the root, ``registry/owner.json``, put if absent. A namespace that was deleted and made again, or
is in another cluster, is another one, and takes the root over only if its FeatureStore says so by an annotation.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from featurestore.digest import canonical_json
from featurestore.errors import SpecError, StorageError
from featurestore.storage import paths
from featurestore.storage.objects import Storage, understanding

TAKE_OVER = "featurestore.dev/take-over"
"""Annotation of a FeatureStore: uid of the namespace whose root it takes."""


def claim(storage: Storage, namespace: dict[str, Any], feature_store: dict[str, Any]) -> None:
    """Return if the root is this namespace's, from now on if it was nobody's. ``namespace``: its metadata.

    Raises:
        SpecError: it is another's.
        StorageError: storage did not answer.
    """
    mine = {
        "namespace": namespace["name"],
        "namespaceUid": namespace["uid"],
        "featureStore": feature_store["metadata"]["name"],
    }
    owner = _owner(storage)
    if owner is None:
        _require_outside(storage, namespace["uid"])
        if storage.put_if_absent(paths.OWNER, canonical_json(mine)):
            return
        owner = _owner(storage) or ("", "")
    uri = storage.uri(paths.OWNER)
    theirs, name = owner
    if theirs == namespace["uid"]:
        return
    metadata = feature_store["metadata"]
    if (metadata.get("annotations") or {}).get(TAKE_OVER) == theirs:
        storage.replace(paths.OWNER, canonical_json(mine))
        return
    raise SpecError(
        "the storage root belongs to another namespace, and nothing in it was touched",
        where=f"spec.offline.uri: {uri}",
        wanted="a root of its own for each namespace",
        got=f"that of namespace {name!r} with the uid {theirs}",
        hint=f"If that one is gone or gives it up: kubectl -n {namespace['name']} annotate featurestore "
        f"{metadata['name']} {TAKE_OVER}={theirs}",
    )


def _owner(storage: Storage) -> tuple[str, str] | None:
    """Uid and name of the namespace whose root it is; None if it is nobody's."""
    data = storage.find(paths.OWNER)
    if data is None:
        return None
    uri = storage.uri(paths.OWNER)
    with understanding("the owner of a storage root", uri, "the owner's FeatureStore is named there"):
        owner = json.loads(data)
        return str(owner["namespaceUid"]), str(owner["namespace"])


def _require_outside(storage: Storage, uid: str) -> None:
    """Raises SpecError if the root is inside another namespace's, as far as these credentials may look."""
    protocol, _, place = storage.root.partition("://")
    bucket, *folders = place.split("/")
    for depth in reversed(range(len(folders))):
        outer = Storage("/".join((f"{protocol}://{bucket}", *folders[:depth])), storage.environ)
        with suppress(StorageError):
            owner = _owner(outer)
            if owner is not None and owner[0] != uid:
                raise SpecError(
                    "the storage root is inside one that belongs to another namespace",
                    where=f"spec.offline.uri: {storage.root}",
                    wanted="a root of its own for each namespace",
                    got=f"{outer.root}, that of namespace {owner[1]!r}",
                )
