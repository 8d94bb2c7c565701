"""The page of all fields is that of the models."""

from __future__ import annotations

from pathlib import Path

from featurestore.resources.field_docs import all_fields, fields_page
from featurestore.resources.kinds import KINDS

PAGE = Path(__file__).parents[2] / "docs" / "resources.md"


def test_the_page_of_all_fields_is_made_from_the_models() -> None:
    assert PAGE.read_text() == fields_page(), "run `make crds`"


def test_every_field_of_every_kind_stands_there_with_what_it_means() -> None:
    for kind in KINDS.values():
        for field in all_fields(kind):
            assert field.description, field.path
            assert f"| `{field.path.removeprefix('spec.')}` |" in PAGE.read_text()
