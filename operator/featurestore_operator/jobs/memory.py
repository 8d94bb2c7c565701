"""How much memory a Job asks for: what earlier batches needed, and more after each time it was too little.

The limit is what a pipeline says one run may use; it is doubled after each OOM kill, up to ``memoryLimit``. The request,
which the scheduler goes by, is learned: a small batch does not hold room for a large one.
"""

from __future__ import annotations

from dataclasses import dataclass

from featurestore.resources.data_pipeline import LEAST_MEMORY, Resources

SLACK = 1.25
"""The margin over what was measured: batches of the same size differ."""


@dataclass(frozen=True, slots=True)
class Learned:
    """The last measured run: it read ``bytes_in`` and its greatest resident size was ``peak_bytes``."""

    bytes_in: int
    peak_bytes: int


@dataclass(frozen=True, slots=True)
class MemoryRequest:
    """``request_bytes`` is reserved, ``limit_bytes`` kills."""

    request_bytes: int
    limit_bytes: int


def memory(resources: Resources, learned: Learned | None, bytes_in: int, killed: int) -> MemoryRequest:
    """What a Job asks for that reads ``bytes_in``, after ``killed`` OOM kills of this step in a row.

    >>> memory(Resources(memory="2Gi"), Learned(10**6, 300 * 2**20), 10**6, killed=0).request_bytes >> 20
    375
    """
    limit = min(resources.memory << killed, resources.most_memory)
    if killed:
        # What was learned was wrong for this batch.
        return MemoryRequest(limit, limit)
    return MemoryRequest(min(limit, _request(resources, learned, bytes_in)), limit)


def _request(resources: Resources, learned: Learned | None, bytes_in: int) -> int:
    if learned is None:
        return max(LEAST_MEMORY, resources.memory // 2)
    over = max(0, learned.peak_bytes - LEAST_MEMORY) * max(1.0, bytes_in / max(1, learned.bytes_in))
    return int((LEAST_MEMORY + over) * SLACK)
