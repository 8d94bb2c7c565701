"""The function of an on-demand view of Feast: its source, read and never run."""

from __future__ import annotations

import ast
import builtins
import re
import symtable
import textwrap
from dataclasses import dataclass
from functools import cached_property

from featurestore.feast.remark import LeftOut
from featurestore.feast.repository import FeastName


@dataclass(frozen=True)
class FeastFunction:
    """``text``: its source without decorators. ``tree``: the same, parsed. ``names``: what the module has for it."""

    text: str
    tree: ast.FunctionDef
    names: tuple[FeastName, ...]

    @property
    def name(self) -> str:
        return self.tree.name

    @property
    def parameter(self) -> str:
        return self.tree.args.args[0].arg

    @cached_property
    def columns(self) -> frozenset[str] | None:
        """Names of the columns that it takes from its parameter; None if it does more with it."""
        taken, names = [], 0
        for node in ast.walk(self.tree):
            match node:
                case ast.Subscript(ast.Name(id=self.parameter), ast.Constant(str(column)), ast.Load()):
                    taken.append(column)
                case ast.Name(id=self.parameter):
                    names += 1
        return frozenset(taken) if names == len(taken) else None

    def definitions(self) -> dict[str, str]:
        """Lines that define what it uses and does not have itself, by the names that they give.

        Raises:
            LeftOut: something of that is only in the repository.
        """
        by_name = {name.name: name for name in self.names}
        lines = {}
        for name in sorted(self._from_outside()):
            known = by_name.get(name)
            if known is None and hasattr(builtins, name):
                continue
            if known is None or not known.definition:
                raise LeftOut(f"its function {self.name} uses {name}, which its own source does not have")
            lines[name] = known.definition
        return lines

    def _from_outside(self) -> set[str]:
        bare = _WithoutAnnotations().visit(ast.parse(self.text))
        table = symtable.symtable(ast.unparse(bare), self.name, "exec")
        scopes, names = list(table.get_children()), set()
        while scopes:
            scope = scopes.pop()
            scopes += scope.get_children()
            names |= {symbol.get_name() for symbol in scope.get_symbols() if symbol.is_global()}
        return names - {self.name}


def read_function(source: str, names: tuple[FeastName, ...]) -> FeastFunction:
    """The function that a source text defines.

    Raises:
        LeftOut: it is not the text of one function with one parameter.
    """
    text = textwrap.dedent(source)
    try:
        statements = ast.parse(text).body
    except SyntaxError as error:
        raise LeftOut("the source of its function cannot be read") from error
    match statements:
        case [ast.FunctionDef(args=ast.arguments(posonlyargs=[], args=[_], vararg=None, kwarg=None)) as tree]:
            lines = text.splitlines()[tree.lineno - 1 : tree.end_lineno]
            return FeastFunction("\n".join(lines) + "\n", tree, names)
    raise LeftOut("the source of its function is not that of one function of one parameter")


def python_name(text: str) -> str:
    """A name that a function can have.

    >>> python_name("with-basket"), python_name("7d")
    ('with_basket', '_7d')
    """
    plain = re.sub(r"[^A-Za-z0-9_]", "_", text)
    return f"_{plain}" if plain[:1].isdigit() else plain


class _WithoutAnnotations(ast.NodeTransformer):
    """They are not run, and what they name need not exist."""

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        node.returns = None
        node.decorator_list = []
        self.generic_visit(node)
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        self.generic_visit(node)
        return ast.Assign([node.target], node.value, lineno=node.lineno) if node.value else ast.Pass()
