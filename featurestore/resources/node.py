"""YAML nodes: their plain values, and the line that each field stands on.

Scalars are those of YAML 1.2: ``on``, ``yes``, ``010`` and dates are texts, as their writers mean them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from featurestore.errors import SpecError

MAX_NODES = 100_000
MAX_DEPTH = 32

Path = tuple[str | int, ...]


def path_text(path: Sequence[str | int]) -> str:
    """A path as people write it.

    >>> path_text(("spec", "features", 2, "type"))
    'spec.features[2].type'
    """
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


@dataclass(frozen=True, slots=True)
class Document:
    """One YAML document of a file."""

    file: str
    root: yaml.Node

    def where(self, path: Sequence[str | int]) -> str:
        """``flights.yaml:12: spec.features[2].type``; the line is that of the nearest field that is there."""
        text = path_text(path)
        return f"{self.file}:{self.line(path)}" + (f": {text}" if text else "")

    def line(self, path: Sequence[str | int]) -> int:
        """Line of the field, or of the nearest one around it that is there; the first line is 1."""
        node, mark = self.root, self.root.start_mark
        for part in path:
            child = _child(node, part)
            if child is None:
                break
            key, node = child
            mark = key.start_mark
        return int(mark.line) + 1

    def has(self, path: Sequence[str | int]) -> bool:
        """Whether there is a field at that path."""
        node = self.root
        for part in path:
            child = _child(node, part)
            if child is None:
                return False
            node = child[1]
        return True

    def value(self, problems: list[SpecError]) -> Any:
        """The document as dicts, lists, texts, numbers, booleans and None; problems are added to the list."""
        return _Values(self, problems).of(self.root, ())


def documents(file: str, text: str) -> Iterator[Document]:
    """The documents of a file that are not empty.

    Raises:
        SpecError: not YAML.
    """
    try:
        for root in yaml.compose_all(text, Loader=_Loader):
            if root is not None and not (isinstance(root, yaml.ScalarNode) and not root.value):
                yield Document(file, root)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error).split("\n")[0]
        raise SpecError(
            "not YAML",
            where=f"{file}:{mark.line + 1}" if mark else file,
            got=problem,
            hint="Indent with spaces, not with tabs" if "\\t" in problem else "",
        ) from error


class _Loader(yaml.SafeLoader):
    pass


_Loader.yaml_implicit_resolvers = {}
_NULL, _BOOL, _INT, _FLOAT = (f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float"))
_TEXT = "tag:yaml.org,2002:str"
for _tag, _pattern, _first in (
    (_NULL, r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    (_BOOL, r"^(?:true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    (_INT, r"^[-+]?(?:0|[1-9][0-9]*)$", list("-+0123456789")),
    (_FLOAT, r"^[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?$", list("-+.0123456789")),
):
    _Loader.add_implicit_resolver(_tag, re.compile(_pattern), _first)


class _Values:
    def __init__(self, document: Document, problems: list[SpecError]) -> None:
        self._document, self._problems = document, problems
        self._count = 0

    def of(self, node: yaml.Node, path: Path) -> Any:
        self._count += 1
        if self._count > MAX_NODES or len(path) > MAX_DEPTH:
            if not any(problem.problem == "the document is too large" for problem in self._problems):
                wanted = f"at most {MAX_NODES} values, {MAX_DEPTH} deep"
                self._problem(path, "the document is too large", wanted=wanted)
            return None
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.of(item, (*path, n)) for n, item in enumerate(node.value)]
        return self._scalar(node, path)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key, item in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else None
            if name is None or key.tag != _TEXT:
                line = key.start_mark.line + 1
                got = repr(name) if name is not None else "a list or a mapping"
                self._problem(
                    path, "the name of a field must be a string", got=got, hint=f"Quote it in line {line}"
                )
            elif name in values:
                line = key.start_mark.line + 1
                self._problem((*path, name), "this field is set twice", got=f"again in line {line}")
            else:
                values[name] = self.of(item, (*path, name))
        return values

    def _scalar(self, node: yaml.Node, path: Path) -> Any:
        text = str(node.value)
        match node.tag:
            case "tag:yaml.org,2002:null":
                return None
            case "tag:yaml.org,2002:bool":
                return text.lower() == "true"
            case "tag:yaml.org,2002:int":
                return int(text) if len(text) < 32 else text
            case "tag:yaml.org,2002:float":
                return float(text)
            case "tag:yaml.org,2002:str":
                return text
        self._problem(path, "tags are not allowed", got=node.tag)
        return None

    def _problem(self, path: Path, problem: str, *, wanted: str = "", got: str = "", hint: str = "") -> None:
        self._problems.append(
            SpecError(problem, where=self._document.where(path), wanted=wanted, got=got, hint=hint)
        )


def _child(node: yaml.Node, part: str | int) -> tuple[yaml.Node, yaml.Node] | None:
    """The node that says where the part begins (a key, or an item), and the node with its value."""
    if isinstance(node, yaml.MappingNode):
        for key, item in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value == part:
                return key, item
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part], node.value[part]
    return None
