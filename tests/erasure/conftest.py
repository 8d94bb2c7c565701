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


@pytest.fixture(scope="session")
def first(tmp_path_factory: pytest.TempPathFactory) -> Erasing:
    """A store with a history, which tests copy."""
    return Erasing(tmp_path_factory.mktemp("first") / "project").history()


@pytest.fixture
def past(first: Erasing, tmp_path: Path) -> Erasing:
    """A store with a history, in a folder of its own."""
    return first.copied(tmp_path / "project")


@pytest.fixture(scope="session")
def first_erased(first: Erasing, tmp_path_factory: pytest.TempPathFactory) -> Erasing:
    """The same after its secret was erased."""
    p = first.copied(tmp_path_factory.mktemp("erased") / "project")
    p.erase()
    return p


@pytest.fixture
def erased(first_erased: Erasing, tmp_path: Path) -> Erasing:
    """A store with a history from which the secret was erased, in a folder of its own."""
    return first_erased.copied(tmp_path / "project")
