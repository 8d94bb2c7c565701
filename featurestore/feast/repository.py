"""What a Feast repository defines, as the interpreter that has Feast says it."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from featurestore.errors import CodeError, FeatureStoreError, NotFound, RequestError, Unforeseen

_READER = Path(__file__).with_name("repository_reader.py")
_SETTINGS = "feature_store.yaml"


@dataclass(frozen=True, kw_only=True)
class Described:
    name: str
    description: str = ""
    owner: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class FeastField:
    """``type``: as Feast prints it, ``Array(Int64)``. ``vector``: it is indexed for similarity search."""

    name: str
    type: str
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    vector: bool = False


@dataclass(frozen=True, kw_only=True)
class FeastEntity(Described):
    """``type``: UNKNOWN if it is to be learned from files."""

    join_key: str
    type: str


@dataclass(frozen=True, kw_only=True)
class FeastSource(Described):
    """``kind``: its class. ``batch``: id of the source with its history, of a stream or a push.

    Of files: ``path``, whole if it is ``local``; ``columns``: names and Arrow types, empty where they are ``unreadable``.
    """

    id: int
    kind: str
    batch: int | None = None
    timestamp_field: str = ""
    created: str = ""
    mapping: Mapping[str, str] = field(default_factory=dict)
    path: str = ""
    local: bool = False
    is_folder: bool = False
    format: str = ""
    endpoint: str = ""
    columns: tuple[tuple[str, str], ...] = ()
    unreadable: str = ""


@dataclass(frozen=True, kw_only=True)
class FeastView(Described):
    """``fields``: join keys and features, none if they are to be learned from files.

    ``stream``: class of the stream or push that it takes rows from, too. ``computed``: a transformation or an aggregation
    makes its rows. ``on_views``: views that it is made of. ``version``: the one that is pinned.
    """

    kind: str
    entities: tuple[str, ...]
    ttl_s: float
    online: bool
    enabled: bool
    fields: tuple[FeastField, ...]
    source: int | None
    stream: str = ""
    computed: bool = False
    on_views: tuple[str, ...] = ()
    version: str = ""


@dataclass(frozen=True, kw_only=True)
class Projection:
    """Features of a view. ``keys``: join key to the column that has it. ``features``: None means all."""

    view: str
    alias: str = ""
    keys: Mapping[str, str] = field(default_factory=dict)
    features: tuple[str, ...] | None = None
    version: str = ""


@dataclass(frozen=True, kw_only=True)
class FeastName:
    """What a function may use and does not have itself. ``definition``: a line that gives it; "" if there is none."""

    name: str
    definition: str = ""


@dataclass(frozen=True, kw_only=True)
class FeastOnDemandView(Described):
    """``source``: of its function. ``singleton``: that takes a row, and not columns. ``stored``: it is called when rows are
    written, and not when they are read.
    """

    mode: str
    request: tuple[FeastField, ...]
    inputs: tuple[Projection, ...]
    fields: tuple[FeastField, ...]
    source: str
    names: tuple[FeastName, ...] = ()
    singleton: bool = False
    aggregates: bool = False
    stored: bool = False
    enabled: bool = True


@dataclass(frozen=True, kw_only=True)
class FeastService(Described):
    features: tuple[Projection, ...]
    logged: bool = False


@dataclass(frozen=True, kw_only=True)
class OtherObject:
    kind: str
    name: str


@dataclass(frozen=True, kw_only=True)
class Repository:
    version: str
    online: Mapping[str, str]
    projects: tuple[Described, ...] = ()
    entities: tuple[FeastEntity, ...] = ()
    sources: tuple[FeastSource, ...] = ()
    views: tuple[FeastView, ...] = ()
    on_demand: tuple[FeastOnDemandView, ...] = ()
    services: tuple[FeastService, ...] = ()
    others: tuple[OtherObject, ...] = ()


def read_repository(folder: Path, python: str | None, environ: Mapping[str, str]) -> Repository:
    """What the repository in ``folder`` defines. ``python``: the interpreter that has Feast; else this one.

    Its code is run, as ``feast apply`` does it, and nothing is applied.

    Raises:
        NotFound: there is no such folder, no ``feature_store.yaml`` in it, or no such interpreter.
        CodeError: Feast is not installed there, or the repository's code raised.
        RequestError: Feast does not take its ``feature_store.yaml``.
    """
    _check(folder, environ)
    interpreter = python or sys.executable
    with tempfile.TemporaryDirectory() as scratch:
        output = Path(scratch) / "repository.json"
        command = [interpreter, "-", str(folder.resolve()), str(output)]
        try:
            with _READER.open("rb") as script:
                # Prints of the repository are not ours: answers go to the file.
                ended = subprocess.run(
                    command,
                    stdin=script,
                    capture_output=True,
                    check=False,
                    env=dict(environ),
                )
        except OSError as error:
            raise NotFound(
                "there is no such Python", where="--python", got=f"{interpreter}: {error.strerror}"
            ) from error
        if not output.exists():
            raise Unforeseen(
                "Feast ended while it read the repository",
                where=str(folder),
                got=f"exit code {ended.returncode}: {_last_line(ended.stderr)}",
            )
        answer: dict[str, Any] = json.loads(output.read_text())
    if "failure" in answer:
        raise _failure(answer["failure"], interpreter)
    return TypeAdapter(Repository).validate_python(answer)


def _check(folder: Path, environ: Mapping[str, str]) -> None:
    if not folder.is_dir():
        raise NotFound("there is no such folder", where="REPO", got=str(folder))
    if (folder / _SETTINGS).exists() or "FEAST_FS_YAML_FILE_PATH" in environ:
        return
    below = sorted(path.parent for path in folder.glob(f"*/{_SETTINGS}"))
    raise NotFound(
        "this is not a Feast repository",
        where=str(folder),
        wanted=f"a folder with {_SETTINGS}",
        hint=f"Did you mean {below[0]}?" if below else "",
    )


def _failure(failure: Mapping[str, str], interpreter: str) -> FeatureStoreError:
    match failure["step"]:
        case "feast":
            return CodeError(
                "feast cannot be imported",
                where=interpreter,
                got=failure["error"],
                hint="Name the interpreter of an environment that has it: --python path/to/venv/bin/python",
            )
        case "settings":
            return RequestError(
                "Feast does not take these settings", where=failure["where"], got=failure["error"]
            )
        case _:
            return CodeError(
                "the repository cannot be imported",
                where=failure["where"],
                got=failure["error"],
                hint="`feast plan` in that folder must work first",
            )


def _last_line(text: bytes) -> str:
    lines = text.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "nothing was said"
