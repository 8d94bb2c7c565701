"""Stores from which keys are erased."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from erasing import Erasing


@pytest.fixture
def store(tmp_path: Path) -> Callable[..., Erasing]:
    """Makes a store in a folder of its own."""

    def make(name: str = "project", **where: Any) -> Erasing:
        return Erasing(tmp_path / name, **where)

    return make
