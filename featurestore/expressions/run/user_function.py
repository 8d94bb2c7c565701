"""What a user's function wants to be called with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa


def wants_arrow(function: Callable[[Any], Any]) -> bool:
    """Whether its first parameter is annotated as a ``pyarrow.Table``; else it gets a frame of Polars.

    >>> def clean(rows: pa.Table) -> pa.Table: ...
    >>> wants_arrow(clean)
    True
    """
    hints = [hint for name, hint in getattr(function, "__annotations__", {}).items() if name != "return"]
    return bool(hints) and (hints[0] is pa.Table or str(hints[0]).rpartition(".")[2] == "Table")
