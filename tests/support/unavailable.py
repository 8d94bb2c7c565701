"""What to do where this machine lacks what a test needs: never look as if it had passed."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def unavailable(why: Exception) -> NoReturn:
    """Report the test as not run, and why; in CI, where everything must run, as failed."""
    if os.environ.get("CI") == "true":
        pytest.fail(str(why))
    pytest.skip(str(why))
