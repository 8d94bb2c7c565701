"""Whether a server is ready: it holds the freshest commit of each view that is served online.

A commit that arrives later is loaded while the one before serves, and takes no server out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from featurestore.errors import FeatureStoreError
from featurestore.resources.feature_view import OnlineEnabled

if TYPE_CHECKING:
    from featurestore.client.connection import Store


@dataclass(frozen=True, slots=True)
class LoadedViews:
    """``waiting_for``: views that are served and cannot be read here yet. ``ages_s``: time since the newest event, by view."""

    ready: bool
    waiting_for: tuple[str, ...]
    ages_s: dict[str, float]


class Readiness:
    """Tries each view by a read. ``draining``: the server is about to end, and takes no more requests."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.draining = False
        self.last = LoadedViews(False, (), {})

    @property
    def ready(self) -> bool:
        return self.last.ready and not self.draining

    def look(self) -> LoadedViews:
        """Try each view that is published online and has a build.

        A view that cannot be read keeps a server from being ready only if all of them cannot: one never stops another.
        """
        try:
            views = self._store.list_views()
        except FeatureStoreError:
            self.last = LoadedViews(False, ("storage",), {})
            return self.last
        waiting: list[str] = []
        ages_s: dict[str, float] = {}
        for view in views:
            try:
                age_s = self._try(view)
            except FeatureStoreError:
                waiting.append(view)
            else:
                ages_s |= {} if age_s is None else {view: age_s}
        self.last = LoadedViews(bool(ages_s) or not waiting, tuple(waiting), ages_s)
        return self.last

    def _try(self, view: str) -> float | None:
        """Seconds since the newest event of a view that can be read here; None if there is nothing of it to load.

        Raises:
            StorageError: the online store does not hold it, or does not answer.
        """
        described = self._store.describe(view)
        watermark = described["watermark"]
        if described["serving"] is None or described["online"] != OnlineEnabled.ALWAYS or watermark is None:
            return None
        self._store.get_online_features(view, {key: [None] for key in described["join_keys"]})
        try:
            return (datetime.now(UTC) - datetime.fromisoformat(watermark)).total_seconds()
        except ValueError:  # Python has no times outside the years 1 to 9999
            return math.nan
