"""Names of locals: the noun of the thing, as CONTRIBUTING.md asks for."""

from __future__ import annotations

import ast
from pathlib import Path

from module_tree import module_tree

ROOT = Path(__file__).parents[2]
PACKAGES = ("featurestore", "transforms/featurestore_transforms", "operator/featurestore_operator")
SAY_NOTHING = {"found", "it", "said", "seen", "there", "told"}


def test_no_local_and_no_parameter_is_named_by_a_word_that_says_nothing_of_it() -> None:
    named = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {name}"
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        for node in ast.walk(module_tree(path))
        for name in SAY_NOTHING & _bound(node)
    ]
    assert not named, named


def _bound(node: ast.AST) -> set[str | None]:
    match node:
        case ast.Name(id=name, ctx=ast.Store()):
            return {name}
        case ast.arg(arg=name) | ast.ExceptHandler(name=name) | ast.MatchAs(name=name):
            return {name}
        case _:
            return set()
