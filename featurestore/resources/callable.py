"""``module:function``: found and read, never imported.

Importing runs the module. What says what will be done must not do things itself, so the source is read.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from featurestore.errors import SpecError, did_you_mean


def check_callable(text: str, folders: Sequence[Path], *, where: str) -> None:
    """Raise SpecError unless the function is in one of the folders or an installed package.

    What is made at import time only (by ``setattr``, by star imports, in compiled modules) is taken for there.

    Raises:
        SpecError: there is no such module or function; the message lists what there is.
    """
    module, _, function = text.partition(":")
    module_spec = _find(module, [*map(str, folders), *sys.path])
    if module_spec is None:
        hint = did_you_mean(module, _modules(folders))
        raise SpecError(
            f"the module {module!r} cannot be found",
            where=where,
            wanted=f"a module in {', '.join(map(str, folders)) or 'the project'}, or an installed package",
            got=text,
            hint=hint,
        )
    names = _names(module_spec)
    if names is not None and function not in names:
        hint = did_you_mean(function, [name for name in names if not name.startswith("_")])
        raise SpecError(f"the module {module!r} has no {function!r}", where=where, got=text, hint=hint)


def _find(module: str, path: Sequence[str]) -> ModuleSpec | None:
    """Where the module is, without importing the packages that it is in."""
    module_spec: ModuleSpec | None = None
    name = ""
    for part in module.split("."):
        name = f"{name}.{part}" if name else part
        if name in sys.builtin_module_names:
            return ModuleSpec(name, None)
        module_spec = PathFinder.find_spec(name, list(path))
        if module_spec is None:
            return None
        path = list(module_spec.submodule_search_locations or ())
    return module_spec


def _names(module: ModuleSpec) -> set[str] | None:
    """Names that the module's source defines; None if the source does not tell."""
    if not module.origin or not module.origin.endswith(".py"):
        return None
    try:
        tree = ast.parse(Path(module.origin).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return None
    names: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(names=[ast.alias(name="*")]):
                return None
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                names.add(name)
            case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
                names.update((alias.asname or alias.name).split(".")[0] for alias in aliases)
            case ast.Name(id=name, ctx=ast.Store()):
                names.add(name)
    return None if "__getattr__" in names else names


def _modules(folders: Sequence[Path]) -> set[str]:
    names: set[str] = set()
    for folder in folders:
        if folder.is_dir():
            names |= {
                path.stem for path in folder.iterdir() if path.suffix == ".py" and path.stem[:2] != "__"
            }
            names |= {path.name for path in folder.iterdir() if (path / "__init__.py").is_file()}
    return names
