"""What the file of a push is called: by its idempotency key, so that there is one for each."""

from __future__ import annotations

import hashlib
import re

PUSH_LENGTH = 40
"""Characters of the name without its suffix."""
_NAME = re.compile(rf"[0-9a-f]{{{PUSH_LENGTH}}}\.arrow")


def push_name(pipeline: str, key: str) -> str:
    """Name of the file, the same for the same key.

    >>> push_name("clicks", "order-1234"), push_name("views", "order-1234") == push_name("clicks", "order-1234")
    ('fbda29189622d0e5895a9505e382dc97e65def5c.arrow', False)
    """
    named = hashlib.sha256(b"\0".join((pipeline.encode(), key.encode()))).hexdigest()
    return f"{named[:PUSH_LENGTH]}.arrow"


def is_push_name(name: str) -> bool:
    """Whether a push has written it, if there is a source of pushes."""
    return _NAME.fullmatch(name) is not None
