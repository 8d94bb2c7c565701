"""An Event: what happened to a resource, for ``kubectl describe``."""

from __future__ import annotations

import hashlib
from typing import Any, Literal

from featurestore.timestamps import from_us
from featurestore_operator.kube.api_resources import EVENT

MOST_NOTE = 1024
Object = dict[str, Any]


def event(
    about: Object,
    kind: Literal["Normal", "Warning"],
    reason: str,
    note: str,
    action: str,
    now_us: int,
    reporter: str,
) -> Object:
    """Manifest of an Event about ``about``, to be created.

    Named by what it says and of which version: whoever says it a second time finds it there.
    """
    metadata = about["metadata"]
    identity = "\n".join((metadata["uid"], metadata.get("resourceVersion", ""), kind, reason, note))
    digest = hashlib.sha256(identity.encode()).hexdigest()[:16]
    moment = from_us(now_us).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return {
        "apiVersion": EVENT.api_version,
        "kind": EVENT.kind,
        "metadata": {"namespace": metadata["namespace"], "name": f"{metadata['name'][:230]}.{digest}"},
        "eventTime": moment,
        "type": kind,
        "reason": reason,
        "note": note if len(note) <= MOST_NOTE else f"{note[: MOST_NOTE - 1]}…",
        "action": action,
        "reportingController": "featurestore.dev/operator",
        "reportingInstance": reporter[:128],
        "regarding": {
            "apiVersion": about["apiVersion"],
            "kind": about["kind"],
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "uid": metadata["uid"],
        },
    }
