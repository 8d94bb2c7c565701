"""One FeatureStore in a cluster: what is kept beside it, and whether its storage and its online store answer.

Beside it stand a ConfigMap, by which pods find the store with no access to the API server, and a managed Redis if one
is asked for.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from typing import Any

from featurestore.backoff import Attempt
from featurestore.condition import Condition, false, true
from featurestore.errors import Conflict, FeatureStoreError, StorageError
from featurestore.job import Failure
from featurestore.wording import format_time, sentence
from featurestore_operator.api import Api
from featurestore_operator.cache import Cache
from featurestore_operator.key import Key
from featurestore_operator.managed_redis import name_of, objects, secret
from featurestore_operator.resource import (
    CONFIG_MAP,
    MANAGED,
    OURS,
    POD_DISRUPTION_BUDGET,
    SECRET,
    SERVICE,
    STATEFUL_SET,
)
from featurestore_operator.settings import Settings
from featurestore_operator.status_writer import Teller
from featurestore_operator.store import OpenStore, Stores

_LOOK_US = 30 * 1_000_000
"""So often is an online store asked whether it is there, and is the same as before."""
_KINDS = {it.kind: it for it in (SERVICE, STATEFUL_SET, POD_DISRUPTION_BUDGET)}


class Upkeep:
    """``clock``: UTC microseconds now."""

    def __init__(
        self,
        cache: Cache,
        api: Api,
        stores: Stores,
        settings: Settings,
        teller: Teller,
        clock: Callable[[], int],
    ) -> None:
        self._cache, self._api, self._stores = cache, api, stores
        self._settings, self._teller, self._clock = settings, teller, clock
        self._kept: dict[Key, str] = {}
        self._servers: dict[Key, str] = {}
        self._away: dict[Key, Attempt] = {}
        self._lock = threading.Lock()
