"""The training set that frameworks read, and who asks them."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol


class Made(NamedTuple):
    """``labels``: column ``w`` of all rows, each of which is there once."""

    store: str
    labels: list[float]


class AskFramework(Protocol):
    def __call__(self, framework: str, script: str) -> Any:
        """What a script of ``platforms/`` prints about the training set."""
        ...
