"""What annotations ask for, once for each new value: to run history again, to try again what failed, to list the source.

Annotations, unlike fields of a spec, say what is to be done once and not how something is to be: a GitOps tool that
applies the same value for ever asks for nothing more.
"""

from __future__ import annotations

from typing import Any

REBUILD = "featurestore.dev/rebuild"
REFRESH = "featurestore.dev/refresh"


def requested(obj: dict[str, Any], annotation: str = REBUILD) -> str:
    """The value of the annotation; "" if there is none.

    >>> requested({"metadata": {"annotations": {"featurestore.dev/rebuild": "2026-02-01"}}})
    '2026-02-01'
    """
    return str(obj["metadata"].get("annotations", {}).get(annotation, ""))
