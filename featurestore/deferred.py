"""Modules that are loaded when they are first used."""

from __future__ import annotations

from importlib import import_module
from typing import Any


class Deferred:
    """Stands for a module, which is loaded when the first of its names is looked up.

    For a module that says what there is, which everybody loads, and computes it, which few do. Type checkers are
    given the real import.

    >>> json = Deferred("json")
    >>> json.dumps([1])
    '[1]'
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        value = getattr(import_module(self._name), attribute)
        setattr(self, attribute, value)  # the next look-up of it is that of any attribute
        return value
