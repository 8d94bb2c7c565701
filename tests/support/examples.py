"""How much of a property is tried: a sample in `make test`, all of it in `make test-all`, which sets ``EXHAUSTIVE``."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def examples(count: int) -> int:
    """``count`` times the factor in ``EXAMPLES``, and at least 3."""
    return max(3, round(count * float(os.environ.get("EXAMPLES", "1"))))


def exhaustive() -> bool:
    """Whether everything is to be tried, however long it takes."""
    return os.environ.get("EXHAUSTIVE", "") == "1"


def sample(cases: Sequence[T], count: int) -> list[T]:
    """All cases where everything is to be tried, else ``count`` of them: the same ones in each run."""
    if exhaustive() or len(cases) <= count:
        return list(cases)
    return random.Random(len(cases)).sample(cases, count)
