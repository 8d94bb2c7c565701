"""Every spec of fixtures/specs: the valid ones are accepted, the invalid ones are refused in the words beside them.

``fixtures/specs/invalid/NAME.expected`` holds the problems of ``NAME.yaml``, one per line, in order.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from featurestore.errors import SpecError
from featurestore.registry.registry import document
from featurestore.resources.document import Loaded, load
from featurestore.resources.kinds import KINDS
from featurestore.resources.reference import KnownResources, check_references

SPECS = Path(__file__).parents[2] / "fixtures" / "specs"
INVALID = sorted((SPECS / "invalid").glob("*.yaml"))
VALID = sorted((SPECS / "valid").glob("*.yaml"))


def problems(loaded: Loaded) -> list[SpecError]:
    return [*loaded.problems, *check_references(loaded.declared, KnownResources((), {}, [Path()]))]


@pytest.mark.parametrize("spec", INVALID, ids=[spec.stem for spec in INVALID])
def test_an_invalid_spec_is_refused_in_the_words_beside_it(
    spec: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(spec.parent)
    expected = spec.with_suffix(".expected").read_text().splitlines()
    assert [str(problem) for problem in problems(load([Path(spec.name)]))] == expected


@pytest.mark.parametrize("spec", INVALID, ids=[spec.stem for spec in INVALID])
def test_each_problem_says_the_file_and_the_line(spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(spec.parent)
    for problem in problems(load([Path(spec.name)])):
        assert problem.where.startswith(spec.name)
        assert problem.where.removeprefix(spec.name)[:2].strip(":0123456789") == ""


@pytest.mark.parametrize("spec", VALID, ids=[spec.stem for spec in VALID])
def test_a_valid_spec_is_accepted_and_what_is_stored_of_it_means_the_same(
    spec: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(spec.parent)
    loaded = load([Path(spec.name)])
    loaded.check(check_references(loaded.declared, KnownResources((), {}, [Path()])))
    assert loaded.resources
    for resource in loaded.resources:
        again = KINDS[resource.kind].model.model_validate(document(resource))
        assert again.spec == resource.spec
        assert document(again) == document(resource)


def test_every_invalid_spec_has_its_words_and_the_other_way_round() -> None:
    expected = {path.stem for path in (SPECS / "invalid").glob("*.expected")}
    assert expected == {path.stem for path in INVALID}
    assert len(expected) >= 60
