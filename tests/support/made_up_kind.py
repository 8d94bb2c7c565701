"""The kind that docs/adding-a-kind.md adds, made of the code on that page."""

from __future__ import annotations

import re
import sys
import textwrap
from pathlib import Path
from types import ModuleType

from featurestore.resources import kinds

PAGE = Path(__file__).parents[2] / "docs" / "adding-a-kind.md"
_MODULE = "feature_list_of_the_page"


def made_up_kind() -> kinds.ResourceKind:
    """The row of the page, of the model of the page."""
    model, row = (
        textwrap.dedent(it) for it in re.findall(r"^ *```python\n(.*?)^ *```$", PAGE.read_text(), re.M | re.S)
    )
    module = sys.modules[_MODULE] = ModuleType(_MODULE)
    exec(compile(model, str(PAGE), "exec"), module.__dict__)
    found = eval(compile(row.strip(), str(PAGE), "eval"), {**vars(kinds), **vars(module)})
    assert isinstance(found, kinds.ResourceKind)
    return found


def register() -> None:
    """Have it in the table of this process, as if the row stood there. First of all: others make tables of their own of it."""
    kind = made_up_kind()
    kinds.KINDS[kind.name] = kind
