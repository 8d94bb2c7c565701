"""A pipeline with labels and a view on a laptop."""

from __future__ import annotations

from pathlib import Path

import pytest
from laptop import Laptop
from training import begin, rows


@pytest.fixture
def laptop(tmp_path: Path) -> Laptop:
    return begin(tmp_path, rows(400), rows(300, seed=1))
