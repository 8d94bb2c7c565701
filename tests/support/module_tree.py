"""Syntax trees of modules: several tests look at all of them, and parsing those takes a second and more of a processor."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path


@cache
def module_tree(path: Path) -> ast.Module:
    """What a file is parsed to, once in each process. Nobody may change it."""
    return ast.parse(path.read_text())
