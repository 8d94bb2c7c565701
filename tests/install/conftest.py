"""An API server of its own, on which everything is installed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cluster.binaries import MissingError
from cluster.control_plane import ControlPlane, control_plane
from installation import AUDIT_POLICY, DEPLOY
from unavailable import unavailable


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """What ``kubectl apply -k operator/deploy`` makes of a new cluster, with the controllers of Kubernetes.

    Its API server writes down what our policy of audits says.
    """
    try:
        folder = tmp_path_factory.mktemp("installed")
        with control_plane(folder, AUDIT_POLICY.read_text()) as plane, plane.controllers():
            plane.kubectl("apply", "--server-side", f"--kustomize={DEPLOY}")
            yield plane
    except MissingError as missing:
        unavailable(str(missing))
