"""Where the programs are that a cluster is made of; `tests/services` brings them.

Those of Kubernetes are built from source, pinned by ``tests/cluster/go.mod``, into a cache keyed by version.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "cluster"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "featurestore-tests"


class MissingError(Exception):
    """A program is not on this machine."""


def version() -> str:
    """``v1.34.4``: of Kubernetes."""
    found = re.search(r"k8s\.io/kubernetes (v\S+)", (SOURCE / "go.mod").read_text())
    assert found, "go.mod requires k8s.io/kubernetes"
    return found[1]


def built(name: str) -> Path:
    """Path of a program of Kubernetes.

    Raises:
        MissingError: it was not built.
    """
    path = CACHE / f"kubernetes-{version()}" / name
    if not path.exists():
        raise MissingError(f"{path} is not there")
    return path


def installed(name: str) -> Path:
    """Path of a program of the system.

    Raises:
        MissingError: it is not on the PATH.
    """
    path = shutil.which(name)
    if path is None:
        raise MissingError(f"{name} is not on the PATH")
    return Path(path)
