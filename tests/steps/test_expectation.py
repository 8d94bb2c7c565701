"""Which rows break which rule, and that nothing depends on how files are put together."""

from __future__ import annotations

from typing import Any

import polars as pl
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from featurestore.resources.data_pipeline import Expectation, Otherwise
from featurestore.resources.transform import Transform
from featurestore.storage.delta import FILE, ROW
from featurestore_transforms.steps.rules import RULE, RowRules
from featurestore_transforms.steps.transforms import apply_transforms, mark_broken

PLAUSIBLE = {"name": "plausible", "that": "distance BETWEEN 1 AND 6000"}


def test_a_row_that_does_not_meet_an_expectation_is_marked_with_its_values(steps: Any) -> None:
    out = steps([], {"distance": [10, 9999]}, expectations=[PLAUSIBLE])
    assert out.broken == {(0, 1): ("plausible", "distance BETWEEN 1 AND 6000, but distance = 9999")}


def test_null_counts_as_not_met(steps: Any) -> None:
    assert list(steps([], {"distance": [None, 5]}, expectations=[PLAUSIBLE]).broken) == [(0, 0)]


def test_the_first_broken_rule_in_declared_order_is_the_one_that_is_named(steps: Any) -> None:
    odd = {"name": "odd", "that": "distance % 2 = 1"}
    out = steps([], {"distance": [-2, -1, 2]}, expectations=[PLAUSIBLE, odd])
    assert [rule for rule, _ in out.broken.values()] == ["plausible", "plausible", "odd"]


def test_an_expectation_says_what_becomes_of_its_rows() -> None:
    rules = RowRules()
    frame = pl.LazyFrame({"distance": [0], ROW: [0], FILE: [0]})
    dropped = Expectation.model_validate({**PLAUSIBLE, "otherwise": "Drop"})
    mark_broken(rules.begin(frame), [dropped], rules)
    assert [rule.otherwise for rule in rules.known] == [Otherwise.DROP]


STEPS = st.lists(
    st.sampled_from(
        [
            {"filter": {"where": "v > 0"}},
            {"derive": {"columns": {"d": "v * 2"}}},
            {"cast": {"columns": {"w": "int64"}}},
            {"fillNull": {"columns": {"v": 1}}},
            {"deduplicate": {"keys": ["k"], "orderBy": {"column": "v"}}},
            {"sort": {"by": [{"column": "v"}]}},
        ]
    ),
    unique_by=lambda step: next(iter(step)),
    max_size=5,
)
ROWS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", None]),
        st.one_of(st.none(), st.integers(-2, 3)),
        st.one_of(st.none(), st.sampled_from([0.0, 1.0, 1.5])),
    ),
    max_size=6,
)


@settings(max_examples=examples(120), deadline=None)
@given(steps=STEPS, files=st.lists(ROWS, min_size=1, max_size=4))
def test_files_give_the_same_rows_together_and_one_by_one(
    steps: list[dict[str, Any]], files: list[list[tuple[Any, ...]]]
) -> None:
    transforms = [Transform.model_validate(step) for step in steps]
    wanted = [Expectation.model_validate({"name": "small", "that": "v IS NULL OR v < 3"})]
    frames = [
        pl.DataFrame(rows, schema={"k": pl.String, "v": pl.Int64, "w": pl.Float64}, orient="row")
        .with_row_index(ROW)
        .with_columns(pl.col(ROW).cast(pl.Int64), pl.lit(index, pl.Int32).alias(FILE))
        for index, rows in enumerate(files)
    ]

    def run(frame: pl.DataFrame) -> pl.DataFrame:
        rules = RowRules()
        out = apply_transforms(rules.begin(frame.lazy()), transforms, {}, rules, 1 << 30)
        return mark_broken(out, wanted, rules).collect()

    together = run(pl.concat(frames))
    one_by_one = pl.concat([run(frame) for frame in frames])
    assert together.sort(FILE, ROW).equals(one_by_one.sort(FILE, ROW))
    if not any("filter" in step or "deduplicate" in step for step in steps):
        assert together.height == sum(map(len, files))
    assert together[RULE].dtype == pl.Int16
