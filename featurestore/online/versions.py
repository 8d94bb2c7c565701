"""What an online store holds of a build, readable without a data engine."""

from __future__ import annotations

from dataclasses import dataclass

PACKED_LAYOUT = 2
"""Of packed values in Redis; grows with every change that older readers would misread, and stays below 16."""


@dataclass(frozen=True, slots=True)
class OnlineVersion:
    """What a store holds of a build: the version of the view's table, and how many entities."""

    version: int
    entities: int
