"""docs/conditions.md lists the conditions and reasons that the code gives, all of them and no others."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import get_args

import pytest
from module_tree import module_tree

from featurestore.reconcile.conditions import ConditionType
from featurestore.reconcile.reasons import Reason

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "conditions.md").read_text()
TYPES = get_args(ConditionType)
SOURCES = [
    path
    for folder in ("featurestore", "transforms", "operator")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if path.name != "reasons.py"
]


def listed() -> dict[str, set[str]]:
    """Type of condition to the reasons that the page has for it."""
    found: dict[str, set[str]] = defaultdict(set)
    for section in re.split(r"^### ", PAGE, flags=re.MULTILINE)[1:]:
        title, _, body = section.partition("\n")
        found[title] |= set(re.findall(r"^\| `(\w+)` \|", body, flags=re.MULTILINE))
    return found


def used() -> set[str]:
    """Names of the members of ``Reason`` that the code names."""
    return {
        node.attr
        for path in SOURCES
        for node in ast.walk(module_tree(path))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "Reason"
    }


@cache
def given() -> dict[str, set[str]]:
    """Type of condition to the reasons that stand beside it in calls of true, false and unknown."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in SOURCES:
        for node in ast.walk(module_tree(path)):
            match node:
                case ast.Call(
                    func=ast.Name(id="true" | "false" | "unknown"),
                    args=[ast.Constant(value=str(kind)), ast.Attribute(ast.Name(id="Reason"), name), *_],
                ):
                    found[kind].add(Reason[name].value)
    return found


def test_every_type_has_its_meaning_and_its_reasons() -> None:
    assert set(listed()) == set(TYPES)
    for kind in TYPES:
        assert re.search(rf"^\| `{kind}` \| .+ \| .+ \|$", PAGE, flags=re.MULTILINE)


def test_the_reasons_of_the_page_are_those_of_the_code() -> None:
    assert set().union(*listed().values()) == {reason.value for reason in Reason}


def test_every_reason_is_given_somewhere() -> None:
    assert used() == {reason.name for reason in Reason}


@pytest.mark.parametrize("kind", TYPES)
def test_what_the_code_gives_a_condition_stands_in_its_section(kind: str) -> None:
    assert given()[kind]
    assert given()[kind] <= listed()[kind]


def test_nobody_makes_a_condition_of_words_of_their_own() -> None:
    for path in SOURCES:
        for node in ast.walk(module_tree(path)):
            match node:
                case ast.Call(
                    func=ast.Name(id="true" | "false" | "unknown"),
                    args=[ast.Constant(), ast.Constant(), *_],
                ):
                    raise AssertionError(f"{path}:{node.lineno}: a reason is a member of Reason")
