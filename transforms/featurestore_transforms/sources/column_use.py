"""Which columns of source files a pipeline uses. What it does not use is never judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from featurestore.errors import SpecError
from featurestore.expressions.check import check_expression
from featurestore.resources.data_pipeline import DataPipelineSpec, DatasetDeduplicate
from featurestore.resources.transform import (
    Cast,
    Deduplicate,
    Derive,
    Drop,
    FillNull,
    Filter,
    Lookup,
    Python,
    Rename,
    Select,
    Sort,
    Sql,
    Transform,
)


@dataclass(frozen=True)
class ColumnUse:
    """``sources``: columns whose name in the files is declared to be another. ``partitions``: those of the path.
    ``judged``: those that expectations and ``deduplicate`` read."""

    sources: Mapping[str, str]
    partitions: frozenset[str]
    steps: tuple[Transform, ...] = ()
    judged: frozenset[str] = frozenset()
    _unused: dict[str, bool] = field(default_factory=dict, init=False, repr=False, compare=False)

    @classmethod
    def of(cls, spec: DataPipelineSpec) -> ColumnUse:
        declared = {one.name: one.source for one in spec.columns or () if one.source is not None}
        read = (_read(one.that) for one in spec.expectations)
        judged = _named(spec.deduplicate).union(*read)
        partitions = frozenset(one.name for one in spec.source.partitions)
        return cls(declared, partitions, spec.transforms, judged)

    def named(self, name: str) -> bool:
        """Whether the spec says this name, or has a step of which that cannot be told."""
        return name in self.judged or any(
            isinstance(step := one.step, Sql | Python)
            or (isinstance(step, Drop | Select) and name in step.columns)
            or name in _named(step)
            for one in self.steps
        )

    def unused(self, name: str) -> bool:
        """Whether a step leaves the column out before any names it. Remembered: it is asked for each column of each file."""
        if name not in self._unused:
            self._unused[name] = self._is_unused(name)
        return self._unused[name]

    def _is_unused(self, name: str) -> bool:
        for transform in self.steps:
            match step := transform.step:
                case Drop() if name in step.columns:
                    return True
                case Select():
                    return name not in step.columns
                case Sql() | Python():
                    return False
                case _ if name in _named(step):
                    return False
        return False


def _named(step: object) -> frozenset[str]:
    """The columns that a step reads."""
    match step:
        case Rename() | Cast() | FillNull():
            return frozenset(step.columns)
        case Derive():
            return frozenset().union(*map(_read, step.columns.values()))
        case Filter():
            return _read(step.where)
        case Deduplicate() | DatasetDeduplicate():
            return frozenset(step.keys) | ({step.order_by.column} if step.order_by else set())
        case Sort():
            return frozenset(key.column for key in step.by)
        case Lookup():
            return frozenset(step.keys)
    return frozenset()


@lru_cache(maxsize=1024)
def _read(expression: str) -> frozenset[str]:
    # It is asked for each column of each file.
    try:
        return frozenset(check_expression(expression, where=""))
    except SpecError:
        # The step says what is wrong with it when it is run.
        return frozenset()
