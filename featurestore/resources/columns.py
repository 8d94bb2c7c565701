"""Which columns a pipeline's steps make and lose, as far as its spec alone says."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from featurestore.resources.data_pipeline import DataPipelineSpec
from featurestore.resources.transform import Derive, Drop, Lookup, Python, Rename, Select, Sql


@dataclass(frozen=True, slots=True)
class Shape:
    """``made``: columns that are declared or that steps make. ``lost``: those that steps take away.

    ``kept``: the only ones that a ``select`` lets through; None if there is none.
    """

    made: frozenset[str]
    lost: frozenset[str]
    kept: frozenset[str] | None

    def loses(self, column: str) -> bool:
        return column in self.lost or (self.kept is not None and column not in self.kept | self.made)


def shape(spec: DataPipelineSpec) -> Shape | None:
    """What the steps do to columns; None after ``sql`` and ``python``, which may do anything."""
    made = {column.name for column in spec.columns or ()}
    lost: set[str] = set()
    kept: frozenset[str] | None = None
    for transform in spec.transforms:
        match step := transform.step:
            case Sql() | Python():
                return None
            case Rename():
                made = (made - step.columns.keys()) | set(step.columns.values())
                lost = (lost | step.columns.keys()) - set(step.columns.values())
            case Drop():
                made, lost = made - set(step.columns), lost | set(step.columns)
            case Derive():
                made, lost = made | step.columns.keys(), lost - step.columns.keys()
            case Lookup():
                made, lost = made | set(step.columns.values()), lost - set(step.columns.values())
            case Select():
                kept = frozenset(step.columns)
                made &= kept
            case _:
                pass
    return Shape(frozenset(made), frozenset(lost), kept)


def gone(old: DataPipelineSpec, new: DataPipelineSpec, columns: Iterable[str]) -> tuple[str, ...]:
    """Of the dataset's columns, those that rows under the old spec had and rows under the new one have not."""
    before, after = shape(old), shape(new)
    if before is None or after is None:
        return ()
    return tuple(
        column
        for column in columns
        if not before.loses(column)
        and (after.loses(column) or (column in before.made and column not in after.made))
    )
