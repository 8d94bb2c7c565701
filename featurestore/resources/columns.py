"""What a pipeline's steps do to columns, as far as its spec alone says."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from featurestore.resources.data_pipeline import DataPipelineSpec, DriftPolicy
from featurestore.resources.transform import Derive, Drop, Lookup, Python, Rename, Select, Sql, Step


@dataclass(frozen=True, slots=True)
class Shape:
    """Which columns there are between two steps.

    ``made``: columns that are declared or that steps make: they are there. ``lost``: those that steps took away: they
    are not. ``rest``: of all others, those that are there if the source has them; None if any of them may be.
    ``opaque``: a step may have made or lost any column, as ``sql`` and ``python`` do.
    """

    made: frozenset[str] = frozenset()
    lost: frozenset[str] = frozenset()
    rest: frozenset[str] | None = None
    opaque: bool = False

    @classmethod
    def of_source(cls, spec: DataPipelineSpec, source_columns: Iterable[str] | None = None) -> Shape:
        """Before the first step: what is declared, and anything else unless new columns are not taken.

        ``learned``: the columns that files were seen to have; None if none was seen.
        """
        declared = frozenset(column.name for column in spec.columns or ())
        made = declared | set(spec.source.given)
        if source_columns is not None:
            return cls(made, rest=frozenset(source_columns))
        learned = spec.columns is None or spec.schema_policy.new_column is DriftPolicy.EVOLVE
        return cls(made, rest=None if learned else frozenset())

    @classmethod
    def of_dataset(cls, spec: DataPipelineSpec) -> Shape:
        """After the last step."""
        shape = cls.of_source(spec)
        for transform in spec.transforms:
            shape = shape.after(transform.step)
        return shape

    @property
    def names(self) -> frozenset[str] | None:
        """All columns; None if they cannot be known."""
        return None if self.rest is None else (self.made | self.rest) - self.lost

    def after(self, step: Step) -> Shape:
        """The columns after a step.

        >>> Shape(made=frozenset("ab"), rest=frozenset()).after(Drop(columns=("a",))).names
        frozenset({'b'})
        """
        match step:
            case Sql() | Python():
                return Shape(opaque=True)
            case Select():
                kept = frozenset(step.columns)
                return Shape(self.made & kept, frozenset(), kept)
            case Rename():
                old, new = frozenset(step.columns), frozenset(step.columns.values())
                return replace(self, made=(self.made - old) | new, lost=(self.lost | old) - new)
            case Drop():
                gone = frozenset(step.columns)
                return replace(self, made=self.made - gone, lost=self.lost | gone)
            case Derive():
                return self._with(step.columns)
            case Lookup():
                return self._with(step.columns.values())
        return self

    def _with(self, columns: Iterable[str]) -> Shape:
        new = frozenset(columns)
        return replace(self, made=self.made | new, lost=self.lost - new)

    def loses(self, column: str) -> bool:
        """Whether the column is not there, whatever the source has."""
        return column not in self.made and (
            column in self.lost or (self.rest is not None and column not in self.rest)
        )


def gone(old: DataPipelineSpec, new: DataPipelineSpec, columns: Iterable[str]) -> tuple[str, ...]:
    """The dataset's columns that rows had under the old spec and no longer have under the new one."""
    before, after = Shape.of_dataset(old), Shape.of_dataset(new)
    if before.opaque or after.opaque:
        return ()
    return tuple(
        column
        for column in columns
        if not before.loses(column)
        and (
            after.loses(column)
            or (column in before.made and column not in after.made | (after.rest or set()))
        )
    )
