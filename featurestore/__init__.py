"""A feature store: files in, point-in-time correct features out, for training and for inference.

``connect()`` opens a store; start reading at ``client/connection.py`` for what users call, at ``docs/architecture.md``
for how it works. This package imports neither ``featurestore_transforms`` nor ``featurestore_operator``, and
importing it loads no data engine: each is loaded by the first call that needs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from featurestore.client.connection import Store, connect
    from featurestore.client.features import Features
    from featurestore.views.value_status import Status

    __version__: str

__all__ = ["Features", "Status", "Store", "__version__", "connect"]

_HOMES = {
    "connect": "client.connection",
    "Store": "client.connection",
    "Features": "client.features",
    "Status": "views.value_status",
}


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        return version("featurestore")
    if name not in _HOMES:
        raise AttributeError(f"module 'featurestore' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"featurestore.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
