"""Names of columns that a source file may have."""

from __future__ import annotations

import pytest

from featurestore_transforms.steps.column_names import ColumnNames


@pytest.mark.parametrize("name", ["a", "B", "_c", "größe", "a b", "^", "$a^"])
def test_a_name_that_plans_can_have_is_kept(name: str) -> None:
    assert ColumnNames.of([name]) == ColumnNames({name: name})


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("__row", "two underscores are reserved"),
        ("^a.*$", r"pattern of names: '^a.*$'"),
        ("*", "pattern of names"),
        ("", "empty name"),
        ("a\0b", "a line break or a zero character"),
        ("a\nb", "a line break or a zero character"),
        ("x" * 140_000, "140,000 characters, at most 255"),
    ],
)
def test_an_odd_name_has_a_substitute_in_plans_and_says_what_is_wrong(name: str, said: str) -> None:
    found = ColumnNames.of(["a", name])
    assert found.originals == {"a": "a", "__source_1": name}
    assert said in found.unusable[name]
    assert len(found.unusable[name]) < 200


def test_of_columns_with_one_name_none_is_meant() -> None:
    assert ColumnNames.of(["a", "b", "a"]) == ColumnNames(
        {"b": "b"}, {}, {"a": "two columns have the name 'a'"}
    )
