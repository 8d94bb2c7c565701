"""What some rows of a build came to: data files that no commit names yet; also as JSON.

A build is one part, unless something in it ends the process that makes it: then its parts are made one by one, each kept in
the record of its trial (:mod:`featurestore.views.build_trials`), and committed together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from featurestore.storage.delta import DataFile


@dataclass(frozen=True, slots=True)
class BuildPart:
    """``files``: with feature rows. ``rejected``: with the ``broken`` rows that broke a rule."""

    files: tuple[DataFile, ...] = ()
    rejected: tuple[DataFile, ...] = ()
    broken: int = 0

    @classmethod
    def joined(cls, parts: Iterable[BuildPart]) -> BuildPart:
        every = tuple(parts)
        return cls(
            tuple(file for part in every for file in part.files),
            tuple(file for part in every for file in part.rejected),
            sum(part.broken for part in every),
        )

    def to_json(self, plan: str) -> dict[str, Any]:
        """``plan``: names the rows that were searched."""
        return {**asdict(self), "plan": plan}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> BuildPart:
        return cls(
            tuple(DataFile(**file) for file in value["files"]),
            tuple(DataFile(**file) for file in value["rejected"]),
            value["broken"],
        )
