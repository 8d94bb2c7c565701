"""Each promise of the storage root is tried on each storage."""

from __future__ import annotations

import pytest


@pytest.fixture(params=["local", "s3", "azure", "gcs"])
def storage_root(request: pytest.FixtureRequest) -> str:
    """An empty storage root: in a local folder, and in the object storage of each cloud."""
    return str(request.getfixturevalue(f"{request.param}_root"))
