"""Resources from YAML files, with the file and the line of everything in them.

All that is wrong is found at once: each problem names the file, the line, the path of the field, what was
wanted, what was got, and the nearest right word.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from featurestore.errors import SpecError, did_you_mean
from featurestore.resources.kinds import API_VERSION, KINDS, kind_of
from featurestore.resources.node import Document, documents
from featurestore.resources.problem import problems_of
from featurestore.resources.resource import Resource

STDIN = Path("-")
MORE_THAN_ONE = "there is more than one "
MAX_BYTES = 4 * 1024**2
_OF_THE_SERVER = frozenset(
    """creationTimestamp deletionGracePeriodSeconds deletionTimestamp finalizers generateName generation
    managedFields ownerReferences resourceVersion selfLink uid""".split()  # noqa: SIM905
)


@dataclass(frozen=True, slots=True)
class Declared:
    """A resource, and the document it stands in."""

    resource: Resource
    document: Document

    @property
    def file(self) -> Path:
        return Path(self.document.file)

    @property
    def name(self) -> str:
        """``FeatureView 'aircraft-delays'``."""
        return f"{self.resource.kind} {self.resource.metadata.name!r}"

    def where(self, *path: str | int) -> str:
        """``flights.yaml:12: spec.features[2].type``."""
        return self.document.where(path)


@dataclass(frozen=True, slots=True)
class Loaded:
    """What the files hold: the resources that are right, all that is wrong, and kind and name of what is."""

    declared: tuple[Declared, ...]
    problems: tuple[SpecError, ...]
    broken: frozenset[tuple[str, str]] = frozenset()

    @property
    def resources(self) -> tuple[Resource, ...]:
        return tuple(one.resource for one in self.declared)

    def check(self, more: Iterable[SpecError] = ()) -> None:
        """Raise SpecError unless everything is right.

        Raises:
            SpecError: something is wrong; ``problems`` holds all of it.
        """
        problems = (*self.problems, *more)
        if problems:
            listed = "".join(f"\n  - {problem}" for problem in problems)
            count = f"{len(problems)} problems" if len(problems) > 1 else "1 problem"
            raise SpecError(f"{count} in the resources:{listed}", problems=problems)


def load(paths: Sequence[Path]) -> Loaded:
    """The resources in these files, and in the ``*.yaml`` and ``*.yml`` files of these folders.

    ``-`` is standard input.
    """
    declared: list[Declared] = []
    problems: list[SpecError] = []
    broken: set[tuple[str, str]] = set()
    read: set[Path] = set()
    for file in _files(paths, problems):
        if file.resolve() in read:
            continue
        read.add(file.resolve())
        for one in _resources(file, problems, broken):
            other = next(
                (declaration for declaration in declared if _collides(declaration.resource, one.resource)),
                None,
            )
            if other is None:
                declared.append(one)
            else:
                problems.append(_twice(one, other))
    return Loaded(tuple(declared), tuple(problems), frozenset(broken))


def _files(paths: Sequence[Path], problems: list[SpecError]) -> Iterator[Path]:
    for path in paths:
        if path == STDIN:
            yield path
        elif path.is_dir():
            files = sorted(
                child
                for child in path.iterdir()
                if child.suffix in (".yaml", ".yml") and child.name[0] != "."
            )
            if not files:
                problems.append(SpecError("no YAML file in this folder", where=str(path), wanted="*.yaml"))
            yield from files
        elif path.exists():
            yield path
        else:
            names = [child.name for child in path.parent.iterdir()] if path.parent.is_dir() else []
            hint = did_you_mean(path.name, names)
            problems.append(SpecError("no such file or folder", where=str(path), hint=hint))


def _resources(file: Path, problems: list[SpecError], broken: set[tuple[str, str]]) -> Iterator[Declared]:
    empty = True
    try:
        for document in documents(str(file), _text(file)):
            empty = False
            resource = _resource(document, problems)
            if resource is not None:
                yield Declared(resource, document)
            else:
                broken |= _kind_and_name(document)
    except SpecError as problem:
        problems.append(problem)
    else:
        if empty:
            problems.append(SpecError("there is no resource in this file", where=str(file), wanted=_kinds()))


def _text(file: Path) -> str:
    try:
        data = sys.stdin.buffer.read() if file == STDIN else file.read_bytes()
        if len(data) > MAX_BYTES:
            wanted = f"at most {MAX_BYTES} bytes"
            raise SpecError("the file is too large", where=str(file), wanted=wanted, got=f"{len(data)} bytes")
        return data.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError("the file cannot be read", where=str(file), got=str(error)) from error


def _resource(document: Document, problems: list[SpecError]) -> Resource | None:
    """The resource of a document; None if it is wrong."""
    wrong: list[SpecError] = []
    value = document.value(wrong)
    problems += wrong
    if not isinstance(value, dict):
        problems.append(SpecError("not a resource", where=document.where(()), wanted="kind, metadata, spec"))
        return None
    kind = value.get("kind")
    if kind is None:
        problems.append(SpecError("a field is missing", where=document.where(("kind",)), wanted=_kinds()))
        return None
    if not isinstance(kind, str) or kind not in KINDS:
        where, hint = document.where(("kind",)), did_you_mean(str(kind), KINDS)
        problems.append(SpecError("unknown kind", where=where, wanted=_kinds(), got=repr(kind), hint=hint))
        return None
    version = value.setdefault("apiVersion", API_VERSION)
    if version != API_VERSION:
        where = document.where(("apiVersion",))
        problems.append(SpecError("unknown version", where=where, wanted=API_VERSION, got=repr(version)))
        return None
    _forget_what_the_server_set(value)
    try:
        resource = KINDS[kind].model.model_validate(value, by_alias=True, by_name=False)
    except ValidationError as error:
        problems += problems_of(error, KINDS[kind].model, document)
        return None
    return None if wrong else resource


def _kind_and_name(document: Document) -> set[tuple[str, str]]:
    """Kind and name of a wrong resource, as far as it says them: others may still refer to it."""
    value = document.value([])
    kind = value.get("kind") if isinstance(value, dict) else None
    metadata = value.get("metadata") if isinstance(value, dict) else None
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return {(kind, name)} if isinstance(kind, str) and isinstance(name, str) else set()


def _forget_what_the_server_set(value: dict[str, object]) -> None:
    """So that what ``kubectl get -o yaml`` shows can be applied."""
    value.pop("status", None)
    metadata = value.get("metadata")
    if isinstance(metadata, dict):
        value["metadata"] = {key: value for key, value in metadata.items() if key not in _OF_THE_SERVER}


def _collides(one: Resource, other: Resource) -> bool:
    """A storage root holds one resource of a kind and name, and one FeatureStore."""
    return one.kind == other.kind and (one.metadata.name == other.metadata.name or kind_of(one).only_one)


def _twice(one: Declared, other: Declared) -> SpecError:
    first = f"the first is in {other.document.where(())}"
    if one.resource.metadata.name != other.resource.metadata.name:
        return SpecError(
            f"{MORE_THAN_ONE}{one.resource.kind}", where=one.where("metadata", "name"), got=first
        )
    return SpecError(f"{one.name} is defined twice", where=one.where("metadata", "name"), got=first)


def _kinds() -> str:
    return "one of " + ", ".join(KINDS)
