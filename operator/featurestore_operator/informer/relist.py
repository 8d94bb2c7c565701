"""What the API server really has, compared with the cache: finds what a watch that broke never delivered.

A watch that starts again tells of what is there, and nothing of what went meanwhile. So all names are
listed, at the start, now and then, and when a watch has started again.
"""

from __future__ import annotations

from collections.abc import Sequence

from featurestore.errors import NotFound
from featurestore_operator.informer.cache import Cache
from featurestore_operator.kube.api import Api
from featurestore_operator.kube.api_resources import WATCHED, ApiResource

Place = tuple[ApiResource, str, str]


class Relist:
    """All objects that are there, in some namespaces or (``[None]``) in all.

    Raises:
        NotFound: the API server does not know one of our kinds.
        FeatureStoreError: it did not answer, or does not let us look.
    """

    def __init__(self, api: Api, cache: Cache, namespaces: Sequence[str | None]) -> None:
        self._api, self._cache = api, cache
        self._there: dict[Place, tuple[str, int]] = {}
        self._gone: list[tuple[Place, str]] = []
        for resource in WATCHED:
            # First what is known, then what is there. So what is known and not there was deleted, as no uid
            # ever comes back; but of what is younger than the list, the list says nothing.
            known = cache.versions(resource)
            listed: list[int] = []
            for namespace in namespaces:
                listing = api.each_metadata(resource, namespace, WATCHED[resource])
                for metadata in (item["metadata"] for item in listing):
                    place = resource, metadata["namespace"], metadata["name"]
                    self._there[place] = metadata["uid"], int(metadata["resourceVersion"])
                listed.append(listing.version)
            for (namespace, name), (uid, version) in known.items():
                absent = self._there.get((resource, namespace, name), ("", 0))[0] != uid
                if absent and version <= min(listed):
                    self._gone.append(((resource, namespace, name), uid))

    def drop_what_is_gone(self) -> int:
        """Remove from the cache what was deleted while no watch listened. Returns how many."""
        for (resource, namespace, name), uid in self._gone:
            self._cache.drop(resource, namespace, name, uid)
        return len(self._gone)

    def missed(self) -> list[Place]:
        """What the cache does not have in the version of the census, or a later one, as yet."""
        here = {resource: self._cache.versions(resource) for resource in WATCHED}
        return [
            place
            for place, listed in self._there.items()
            if not _reaches(here[place[0]].get(place[1:]), listed)
        ]

    def fetch(self, places: Sequence[Place]) -> int:
        """Put these into the cache as they are now. Returns how many still exist."""
        fetched = 0
        for resource, namespace, name in places:
            try:
                self._cache.put(resource, self._api.get(resource, namespace, name))
                fetched += 1
            except NotFound:
                continue
        return fetched


def _reaches(here: tuple[str, int] | None, listed: tuple[str, int]) -> bool:
    return here is not None and here[0] == listed[0] and here[1] >= listed[1]
