"""Rows of files as the steps get them, and what comes out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
import pytest

from featurestore.resources.data_pipeline import Expectation
from featurestore.resources.transform import Transform
from featurestore.storage.delta import FILE, ROW
from featurestore_transforms.steps.rules import REASON, RULE, RowRules
from featurestore_transforms.steps.transforms import apply_transforms, mark_broken


@dataclass(frozen=True)
class Outcome:
    """``good``: the user's columns and ``__row``; ``broken``: ``(file, row) → (rule, reason)``."""

    good: pl.DataFrame
    broken: dict[tuple[int, int], tuple[str, str]]

    def rows(self, *columns: str) -> list[tuple[Any, ...]]:
        return self.good.select(columns).rows()


Steps = Callable[..., Outcome]


@pytest.fixture
def steps() -> Steps:
    """Run steps and expectations over files, all at once."""

    def run(
        transforms: Sequence[Mapping[str, Any]],
        *files: Mapping[str, Sequence[Any]] | pl.DataFrame,
        expectations: Sequence[Mapping[str, Any]] = (),
        lookups: Mapping[str, pl.LazyFrame] | None = None,
    ) -> Outcome:
        rules = RowRules(explain=True)
        frames = [
            pl.DataFrame(file)
            .with_row_index(ROW)
            .with_columns(pl.col(ROW).cast(pl.Int64), pl.lit(index, pl.Int32).alias(FILE))
            for index, file in enumerate(files)
        ]
        frame = apply_transforms(
            rules.begin(pl.concat(frames).lazy()),
            [Transform.model_validate(transform) for transform in transforms],
            lookups or {},
            rules,
            1 << 30,
        )
        wanted = [Expectation.model_validate(expectation) for expectation in expectations]
        marked = mark_broken(frame, wanted, rules).collect()
        bad = marked.filter(pl.col(RULE).is_not_null())
        broken = {
            (file, row): (rules.known[rule].name, reason)
            for file, row, rule, reason in bad.select(FILE, ROW, RULE, REASON).rows()
        }
        return Outcome(marked.filter(pl.col(RULE).is_null()).drop(RULE, REASON), broken)

    return run
