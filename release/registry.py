"""A registry of images of this machine's own, for as long as it is tried against."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster.binaries import built
from server import free_port, serving


@contextmanager
def registry(folder: Path) -> Iterator[str]:
    """``localhost:PORT``, of the CNCF's Distribution, which keeps all below a folder.

    Raises:
        MissingError: it was not built.
        ServerError: it did not start.
    """
    folder.mkdir(parents=True)
    port = free_port()
    # JSON is YAML.
    config = {
        "version": "0.1",
        "log": {"level": "warn"},
        "storage": {"filesystem": {"rootdirectory": str(folder / "content")}},
        "http": {"addr": f"127.0.0.1:{port}"},
    }
    (folder / "config.yml").write_text(json.dumps(config))
    with serving([built("registry"), "serve", folder / "config.yml"], port, folder / "registry.log"):
        yield f"localhost:{port}"
