"""Canonical JSON and its digest: two things with the same digest are the same."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def canonical_json(value: Any) -> bytes:
    """JSON with sorted keys and no spaces: equal values give equal bytes.

    >>> canonical_json({"b": 1, "a": [True, None]})
    b'{"a":[true,null],"b":1}'
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def digest(value: Any) -> str:
    """The first 16 hex digits of the SHA-256 of the canonical JSON.

    >>> digest({"a": 1})
    '015abd7f5cc57a2d'
    """
    return hashlib.sha256(canonical_json(value)).hexdigest()[:16]
