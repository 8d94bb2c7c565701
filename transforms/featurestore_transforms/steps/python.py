"""The user's own functions: found, called on the rows of one file, and blamed by name when they fail."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Callable
from types import ModuleType
from typing import Any

import polars as pl
import pyarrow as pa
from polars.exceptions import PanicException

from featurestore.errors import CodeError, did_you_mean
from featurestore.expressions.run.user_function import wants_arrow
from featurestore.registry.project import STORE_FILE

_seen_ns: dict[str, int] = {}


class CallableRaised(CodeError):
    """The function raised, or did not return a table: the same rows would fail again."""


def load(reference: str) -> Callable[[Any], Any]:
    """The function that ``module:function`` names, as its file is now.

    Raises:
        CodeError: there is no such module or function, or importing it raised.
    """
    module_name, _, name = reference.partition(":")
    try:
        module = _fresh(module_name)
    except (Exception, SystemExit) as error:
        raise CodeError(
            "the module of a callable cannot be imported",
            where=reference,
            got=f"{type(error).__name__}: {error}",
            hint=_looked_for(),
        ) from error
    attribute = getattr(module, name, None)
    if not callable(attribute):
        offered = [n for n in vars(module) if callable(getattr(module, n)) and not n.startswith("_")]
        raise CodeError(
            f"the module has no function {name!r}", where=reference, hint=did_you_mean(name, offered)
        )
    function: Callable[[Any], Any] = attribute
    return function


def call(reference: str, rows: pl.LazyFrame) -> pl.DataFrame:
    """The function's result for the rows.

    It gets a ``polars.LazyFrame``, or a ``pyarrow.Table`` if its first argument is annotated so, and may
    return either, or a ``polars.DataFrame``.

    Raises:
        CodeError: it cannot be imported.
        CallableRaised: it raised, or returned something else.
    """
    function = load(reference)
    try:
        made = function(_arrow(rows) if wants_arrow(function) else rows)
        if isinstance(made, pl.LazyFrame):
            made = made.collect(engine="streaming")
        elif isinstance(made, pa.Table):
            made = pl.DataFrame(made)
    except (Exception, SystemExit, PanicException) as error:
        raise CallableRaised(
            f"{reference} raised", where=_place(function, error), got=f"{type(error).__name__}: {error}"
        ) from error
    if isinstance(made, pl.DataFrame):
        return made
    raise CallableRaised(
        f"{reference} did not return a table",
        wanted="a polars.LazyFrame or a pyarrow.Table",
        got=f"{type(made).__module__}.{type(made).__qualname__}".removeprefix("builtins."),
    )


def _looked_for() -> str:
    """The folders that modules are looked for in, for the message."""
    folder = os.getcwd()
    if os.path.exists(os.path.join(folder, STORE_FILE)):
        return f"It is looked for beside {STORE_FILE} ({folder}) and among installed packages"
    return (
        f"It is looked for on PYTHONPATH and among the packages installed in {sys.prefix}. A Job has those of its image: "
        "spec.job.template.image names one with your code in it (docs/install.md, Images)"
    )


def _arrow(rows: pl.LazyFrame) -> pa.Table:
    # Most of Arrow's functions do not know the newer layout of texts.
    return rows.collect(engine="streaming").to_arrow(compat_level=pl.CompatLevel.oldest())


def _place(function: Callable[[Any], Any], error: BaseException) -> str:
    """The last line of the user's own code that led to the error, which may have been raised deep in a library."""
    frames = traceback.extract_tb(error.__traceback__)[1:]
    code = getattr(function, "__code__", None)
    mine = [frame for frame in frames if code is not None and frame.filename == code.co_filename]
    if not mine:
        return ""
    last = mine[-1]
    return f"{os.path.basename(last.filename)} line {last.lineno}, {last.line!r}"


def _fresh(name: str) -> ModuleType:
    """The module, read again if its file changed: the process that runs this lives longer than an edit."""
    importlib.invalidate_caches()
    module = sys.modules.get(name)
    if module is None:
        module = importlib.import_module(name)
    elif _changed_ns(module) != _seen_ns.get(name, _changed_ns(module)):
        module = importlib.reload(module)
    _seen_ns[name] = _changed_ns(module)
    return module


def _changed_ns(module: ModuleType) -> int:
    path = getattr(module, "__file__", None)
    return os.stat(path).st_mtime_ns if path and os.path.exists(path) else 0
