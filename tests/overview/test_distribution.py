"""What values look like, whatever they are."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from featurestore.overview.distribution import Distribution, distribution
from featurestore.resources.value import ColumnType
from featurestore.views.schema import arrow_type

GREATEST = 1.7976931348623157e308


def of(values: list[Any], kind: pa.DataType | None = None) -> Distribution:
    return distribution(pa.chunked_array([pa.array(values, kind)]))


@pytest.mark.parametrize("kind", list(ColumnType))
def test_columns_of_every_type_may_be_empty_or_hold_nulls_alone(kind: ColumnType) -> None:
    for values in ([], [None, None]):
        found = of(values, arrow_type(kind))
        assert (found.rows, found.nulls, found.bars) == (len(values), len(values), ())


def test_numbers_are_counted_in_ranges_and_nulls_apart() -> None:
    found = of([0, 1, 1, 16, None])
    assert (found.rows, found.nulls, sum(bar.count for bar in found.bars)) == (5, 1, 4)
    assert found.bars[0].count == 1
    assert found.bars[-1] == type(found.bars[0])("15 to 16", 1)
    assert found.facts == (("least", "0"), ("median", "1"), ("greatest", "16"))


def test_numbers_that_are_none_are_told_and_counted_nowhere() -> None:
    found = of([1.0, float("nan"), float("inf"), float("-inf")])
    assert found.facts == (("least", "1"), ("median", "1"), ("greatest", "1"), ("not finite", "3"))
    assert of([float("nan")]).facts == (("not finite", "1"),)


def test_the_greatest_numbers_have_a_distribution() -> None:
    found = of([-GREATEST, 0.0, GREATEST])
    assert sum(bar.count for bar in found.bars) == 3
    assert of([-(2**63), 2**63 - 1]).facts[0] == ("least", "-9,223,372,036,854,775,808")
    assert sum(bar.count for bar in of([5e-324, 0.0]).bars) == 2


def test_times_of_any_year_have_bounds() -> None:
    kind = arrow_type(ColumnType.TIMESTAMP)
    found = of([-(2**63) + 1, 0, None, 2**62], kind)
    assert [word for word, _ in found.facts] == ["least", "greatest"]
    assert of([0], kind).facts == (("least", "1970-01-01T00:00:00Z"), ("greatest", "1970-01-01T00:00:00Z"))
    assert of([1], arrow_type(ColumnType.DATE)).facts[0] == ("least", "1970-01-02")


def test_of_texts_the_most_frequent_are_told_and_long_ones_are_cut() -> None:
    found = of(["b", "a", "b", "", "x" * 5000])
    assert (found.bars[0].label, found.bars[0].count, found.is_range) == ("b", 2, False)
    assert all(len(bar.label) <= 81 for bar in found.bars)
    assert found.facts == (("distinct", "4"),)
    assert of([b"\x00\xff", None]).bars[0].label == "00ff"
    assert [bar.label for bar in of([True, False, True]).bars] == ["true", "false"]


def test_of_lists_the_lengths_are_told_whichever_width_their_offsets_have() -> None:
    for kind in (pa.list_(pa.string()), pa.large_list(pa.large_string())):
        found = of([["a"], [], None, ["a", "b", "c"]], kind)
        assert found.facts == (("least length", "0"), ("median length", "1"), ("greatest length", "3"))
        assert found.nulls == 1
