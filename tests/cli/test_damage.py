"""One object of a store is damaged: every command goes on with the others, and says what to type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from examples import sample

from featurestore.arrivals.ledger import Ledger
from featurestore.arrivals.manifest import Manifest
from featurestore.registry.project import Project
from featurestore.resources import DataPipeline
from featurestore.storage import paths

EVERY: list[tuple[str, ...]] = [
    ("get", "all"),
    ("get", "pipelines"),
    ("get", "views"),
    ("get", "pipelines", "-o", "json"),
    ("plan", "-f", "."),
    ("quarantine", "ls"),
    ("describe", "view", "aircraft-delays"),
]


def _pointer(project: Project) -> None:
    project.storage.replace(paths.pointer("pipelines", "flights"), b"{")


def _resource(project: Project) -> None:
    accepted = project.registry.current(DataPipeline, "flights")
    assert accepted is not None
    project.storage.replace(paths.accepted("pipelines", "flights", accepted.digest), b"{")


@pytest.mark.parametrize(
    ("damage", "arguments"),
    sample([(damage, arguments) for arguments in EVERY for damage in (_pointer, _resource)], 5),
    ids=lambda given: " ".join(given) if isinstance(given, tuple) else None,
)
def test_a_damaged_registry_entry_stops_no_command(
    featurestore: Any, project: Project, damage: Callable[[Project], None], arguments: tuple[str, ...]
) -> None:
    damage(project)
    said = featurestore(*arguments)
    assert said.code == 0, said.err


@pytest.mark.parametrize("damage", [_pointer, _resource])
def test_what_is_damaged_is_named_and_what_the_hint_says_heals_it(
    featurestore: Any, project: Project, damage: Callable[[Project], None]
) -> None:
    damage(project)
    listed = featurestore("get", "pipelines").out
    assert "✗ pipeline flights: " in listed
    assert "pipelines/flights/" in listed
    said = featurestore("doctor")
    assert said.code == 1
    assert "✗ pipeline flights: " in said.out
    assert "`featurestore apply -f FILE`" in said.out
    assert featurestore("apply", "-f", ".").code == 0
    assert featurestore("doctor").code == 0
    assert "✗" not in featurestore("get", "pipelines").out


@pytest.mark.parametrize("damage", [_pointer, _resource])
def test_a_damaged_registry_entry_can_be_deleted(
    featurestore: Any, project: Project, damage: Callable[[Project], None]
) -> None:
    assert featurestore("delete", "view", "aircraft-delays", "--yes").code == 0
    damage(project)
    said = featurestore("delete", "pipeline", "flights", "--yes")
    assert said.code == 0, said.err
    assert project.registry.names(DataPipeline) == []


def test_a_damaged_manifest_is_named_with_what_to_do_and_stops_no_other_command(
    featurestore: Any, project: Project
) -> None:
    ledger = Ledger(project.storage, "flights")
    accepted = project.registry.current(DataPipeline, "flights")
    assert accepted is not None
    assert ledger.try_append(Manifest("flights", ledger.uid(), 1, accepted.digest, 1, ()))
    project.storage.replace(paths.manifest("flights", 1), b"{")
    said = featurestore("doctor")
    assert said.code == 1
    assert "✗ ledger of pipeline flights: the manifest of a batch cannot be read" in said.out
    assert "manifests/000000000/000000000001.json" in said.out
    assert "`featurestore delete pipeline flights --data`" in said.out
    for arguments in EVERY:
        assert featurestore(*arguments).code == 0
