"""One project for all pages whose examples read and change nothing."""

from __future__ import annotations

import pytest
from readme import Shell, flights_demo


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """In the example of ``featurestore init``, with the flights of a day."""
    return flights_demo(tmp_path_factory.mktemp("demo") / "home")
