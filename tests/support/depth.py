"""How many examples a property is tried with: more on demand, fewer where the same is tried elsewhere."""

from __future__ import annotations

import os


def examples(count: int) -> int:
    """``count`` times the factor in ``EXAMPLES``, and at least 5."""
    return max(5, round(count * float(os.environ.get("EXAMPLES", "1"))))
