"""Which of several operators works: the one that holds a Lease.

For economy alone. Whatever two that work at once do, they do by name and once; nothing relies on the Lease.

The rules are those of client-go (https://pkg.go.dev/k8s.io/client-go/tools/leaderelection): clocks of other
machines are not trusted, so a Lease has run out when it was not seen to change for its duration.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from featurestore.errors import Conflict, FeatureStoreError, NotFound
from featurestore_operator.kube.api import Api
from featurestore_operator.kube.api_resources import LEASE

logger = logging.getLogger(__name__)

Object = dict[str, Any]


class Move(Enum):
    WAIT = "wait"
    """Another operator holds it."""
    RENEW = "renew"
    TAKE = "take"


@dataclass(frozen=True, slots=True)
class Sight:
    """A version of the Lease, and when it was first seen, in seconds of this machine's clock."""

    version: str
    seen_s: float


def move(spec: Object, me: str, sight: Sight, now_s: float) -> Move:
    """What to do about a Lease that is as in ``spec``.

    >>> move({"holderIdentity": "b", "leaseDurationSeconds": 15}, "a", Sight("7", 100.0), 114.0)
    <Move.WAIT: 'wait'>
    >>> move({"holderIdentity": "b", "leaseDurationSeconds": 15}, "a", Sight("7", 100.0), 116.0)
    <Move.TAKE: 'take'>
    """
    holder = spec.get("holderIdentity")
    if holder == me:
        return Move.RENEW
    if not holder or now_s > sight.seen_s + (spec.get("leaseDurationSeconds") or 0):
        return Move.TAKE
    return Move.WAIT


class Lease:
    """Leads, or waits to. ``gained`` and ``lost`` are called from a thread of its own."""

    def __init__(
        self,
        api: Api,
        namespace: str,
        name: str,
        me: str,
        gained: Callable[[], None],
        lost: Callable[[], None],
        duration_s: int = 15,
    ) -> None:
        self._api, self._namespace, self._name, self._me = api, namespace, name, me
        self._gained, self._lost = gained, lost
        self._duration_s = duration_s
        self._sight = Sight("", 0.0)
        self._renewed_s = 0.0
        self._leads = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)

    @property
    def leads(self) -> bool:
        return self._leads

    def start(self) -> None:
        self._thread.start()

    def stop(self, *, hand_over: bool) -> None:
        """Stop leading. ``hand_over``: no work is under way, so another one may take over at once."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        if not (self._leads and hand_over):
            return
        try:
            lease = self._api.get(LEASE, self._namespace, self._name)
            if lease["spec"].get("holderIdentity") == self._me:
                lease["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1}
                self._api.replace(LEASE, lease)
        except FeatureStoreError as error:
            logger.warning("the lease was not released and will expire by itself: %s", error)
        self._leads = False

    def _run(self) -> None:
        while True:
            self._step(time.monotonic())
            if self._stopping.wait(self._duration_s / 4):
                return

    def _step(self, now_s: float) -> None:
        leads = False
        try:
            leads = self._hold(now_s)
        except Conflict:
            logger.debug("another operator was first")
        except FeatureStoreError as error:
            # It holds until it runs out: others see the same Lease.
            leads = self._leads and now_s < self._renewed_s + self._duration_s * 2 / 3
            logger.warning("the lease cannot be renewed: %s", error)
        if leads and not self._leads:
            logger.info("leads as %s", self._me)
            self._leads = True
            self._gained()
        elif self._leads and not leads:
            logger.warning("no longer leads")
            self._leads = False
            self._lost()

    def _hold(self, now_s: float) -> bool:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        try:
            lease = self._api.get(LEASE, self._namespace, self._name)
        except NotFound:
            self._api.create(LEASE, self._lease({"acquireTime": now, "leaseTransitions": 0}, now))
            self._renewed_s = now_s
            return True
        spec, version = lease.setdefault("spec", {}), lease["metadata"]["resourceVersion"]
        if self._sight.version != version:
            self._sight = Sight(version, now_s)
        what = move(spec, self._me, self._sight, now_s)
        if what is Move.WAIT:
            return False
        if what is Move.TAKE:
            spec |= {"acquireTime": now, "leaseTransitions": (spec.get("leaseTransitions") or 0) + 1}
        self._api.replace(LEASE, {**lease, **self._lease(spec, now, lease["metadata"])})
        self._renewed_s = now_s
        return True

    def _lease(self, spec: Object, now: str, metadata: Object | None = None) -> Object:
        return {
            "apiVersion": LEASE.api_version,
            "kind": LEASE.kind,
            "metadata": metadata or {"namespace": self._namespace, "name": self._name},
            "spec": {
                **spec,
                "holderIdentity": self._me,
                "leaseDurationSeconds": self._duration_s,
                "renewTime": now,
            },
        }
