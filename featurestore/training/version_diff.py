"""What changed between two versions of a training set: what they are made of, columns, rows and statistics."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from featurestore.profiles.column_statistics import ColumnStatistics
from featurestore.training.training_manifest import TrainingManifest

_STATISTICS = ("count", "nulls", "not_finite", "minimum", "maximum", "mean", "deviation", "values")


@dataclass(frozen=True, slots=True)
class VersionChange:
    """``about``: ``Made of``, ``Columns``, ``Rows`` or ``Statistics``. ``what``: which of these; None: it is not there."""

    about: str
    what: str
    old: Any
    new: Any

    @property
    def old_text(self) -> str:
        return _text(self.old)

    @property
    def new_text(self) -> str:
        return _text(self.new)

    def to_dict(self) -> dict[str, Any]:
        return {"about": self.about, "what": self.what, "old": self.old, "new": self.new}


def _text(value: Any) -> str:
    """What people read.

    >>> _text(1234567), _text(None), _text(True)
    ('1,234,567', '-', 'True')
    """
    return "-" if value is None else f"{value:,}" if type(value) is int else str(value)


def version_changes(one: TrainingManifest, other: TrainingManifest) -> Iterator[VersionChange]:
    """All that is not the same, from the older one to the newer one."""
    for about, before, after in (
        ("Made of", dict(_made_of(one)), dict(_made_of(other))),
        ("Columns", _columns(one), _columns(other)),
        ("Rows", dict(_rows(one)), dict(_rows(other))),
        ("Statistics", dict(_statistics(one)), dict(_statistics(other))),
    ):
        for what in dict.fromkeys((*before, *after)):
            if before.get(what) != after.get(what):
                yield VersionChange(about, what, before.get(what), after.get(what))


def _made_of(manifest: TrainingManifest) -> Iterator[tuple[str, Any]]:
    pins = manifest.pins
    for view in pins.views:
        yield f"commit of {view.name}", view.commit
        yield f"build of {view.name}", view.digest
    for one in pins.on_demand:
        yield f"definition of {one.name}", one.spec
    if pins.service is not None:
        yield f"definition of {pins.service.name}", pins.service.spec
    yield "commit of the labels", pins.labels.version
    yield "files of the labels", len(pins.labels.files) or None
    yield from pins.code.items()
    for name, value in manifest.definition.items():
        yield f"spec.{name}", value


def _columns(manifest: TrainingManifest) -> dict[str, Any]:
    return {column.name: f"{column.role.value} {column.type}" for column in manifest.columns}


def _rows(manifest: TrainingManifest) -> Iterator[tuple[str, Any]]:
    yield "all parts", manifest.rows
    for part in manifest.parts:
        yield part.name, part.rows
        yield f"{part.name}, without any feature", part.rows_without_features


def _statistics(manifest: TrainingManifest) -> Iterator[tuple[str, Any]]:
    for part in manifest.parts:
        for column, statistics in part.statistics.items():
            for name in _STATISTICS:
                yield f"{part.name}: {name.replace('_', ' ')} of {column}", _value(statistics, name)


def _value(statistics: ColumnStatistics, name: str) -> Any:
    return getattr(statistics, name)
