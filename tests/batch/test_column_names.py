"""Names of columns that a source file may have."""

from __future__ import annotations

import pytest

from featurestore_transforms.sources.reader import UnreadableFile
from featurestore_transforms.sources.source_file import require_columns


@pytest.mark.parametrize("names", [["a", "B", "_c", "größe", "a b", "^", "$a^"], ["a", "__index_level_0__"]])
def test_names_that_every_engine_tells_apart_are_taken(names: list[str]) -> None:
    require_columns(names)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["a", "a"], "two columns have the name 'a'"),
        (["a", "A"], "differ in upper and lower case only: 'a' and 'A'"),
        (["__row"], "two underscores are ours"),
        (["^a.*$", "ab"], r"pattern of names: '\^a"),
        (["*"], "pattern of names"),
    ],
)
def test_a_file_whose_columns_could_be_mistaken_is_refused(names: list[str], said: str) -> None:
    with pytest.raises(UnreadableFile, match=said) as refused:
        require_columns(names)
    assert refused.value.rule == "file:format"
