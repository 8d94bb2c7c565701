"""What to do where this machine lacks what a test needs: never look as if it had passed."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def not_here(what: str, cure: str = "run tests/services") -> NoReturn:
    """Report the test as not run, and why; in CI, where everything must run, as failed."""
    message = f"{what}: {cure}"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)
