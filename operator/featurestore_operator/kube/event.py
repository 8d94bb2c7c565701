"""An Event: what happened to a resource, for ``kubectl describe``."""

from __future__ import annotations

import hashlib
from typing import Any, Literal

from featurestore.errors import NotFound
from featurestore.humanize import format_time
from featurestore_operator.kube.api import Api, Exists
from featurestore_operator.kube.api_resources import EVENT

MOST_MESSAGE = 1024
Object = dict[str, Any]


def event(
    about: Object,
    kind: Literal["Normal", "Warning"],
    reason: str,
    message: str,
    now_us: int,
    reporter: str,
) -> Object:
    """Manifest of an Event about ``about``, to be created. Its name is the same as often as it happens."""
    metadata = about["metadata"]
    digest = hashlib.sha256("\n".join((metadata["uid"], kind, reason)).encode()).hexdigest()[:16]
    moment = format_time(now_us)
    return {
        "apiVersion": EVENT.api_version,
        "kind": EVENT.kind,
        "metadata": {"namespace": metadata["namespace"], "name": f"{metadata['name'][:230]}.{digest}"},
        "type": kind,
        "reason": reason,
        "message": message if len(message) <= MOST_MESSAGE else f"{message[: MOST_MESSAGE - 1]}…",
        "count": 1,
        "firstTimestamp": moment,
        "lastTimestamp": moment,
        "action": "Reconcile",
        "source": {"component": "featurestore-operator"},
        "reportingComponent": "featurestore.dev/operator",
        "reportingInstance": reporter[:128],
        "involvedObject": {
            "apiVersion": about["apiVersion"],
            "kind": about["kind"],
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "uid": metadata["uid"],
        },
    }


def tell(api: Api, manifest: Object) -> None:
    """Create the Event; if the API server still has it of an earlier time, count it once more.

    Raises:
        Terminating: its namespace is being deleted.
    """
    namespace, name = manifest["metadata"]["namespace"], manifest["metadata"]["name"]
    try:
        api.create(EVENT, manifest)
        return
    except Exists:
        pass
    try:
        known = api.get(EVENT, namespace, name)
        again = {key: manifest[key] for key in ("message", "lastTimestamp", "reportingInstance")}
        api.patch(EVENT, namespace, name, {**again, "count": known.get("count", 1) + 1})
    except NotFound:
        return  # The API server forgot it just now; Events are best effort.
