"""What is wrong with one resource is that resource's condition: all others go on."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest
from examples import sample

from featurestore.arrivals.files.file_source import FileSource
from featurestore.errors import Damaged, FeatureStoreError, SpecError
from featurestore.reconcile.conditions import read_status
from featurestore.registry.registry import document
from featurestore.resources import DataPipeline
from featurestore.runner.patience import Patience
from featurestore.storage import paths

GARBAGE = [b"", b"{", b"[]", b'{"digest": 1}']
DAMAGE = [(record, data) for record in ("manifest", "result", "ledger") for data in GARBAGE]


def damage(place: Any, path: str, data: bytes) -> None:
    place.project.storage.replace(path, data)


def drained(place: Any) -> FeatureStoreError:
    with pytest.raises(FeatureStoreError) as caught:
        place.runner().run(draining=True)
    return caught.value


def beside_a_good_one(place: Any) -> None:
    """Pipelines ``bad`` and ``good``, each with a file."""
    place.pipeline("bad")
    place.pipeline("good")
    place.drop("1.csv", pipeline="bad")
    place.drop("1.csv", pipeline="good")


@pytest.mark.parametrize("data", GARBAGE)
def test_a_pointer_that_is_damaged_stops_its_pipeline_alone(place: Any, data: bytes) -> None:
    beside_a_good_one(place)
    damage(place, paths.pointer("pipelines", "bad"), data)
    error = drained(place)
    assert place.ledger("good").committed_batch() == 1
    assert place.ledger("bad").last_batch() == 0
    assert "pipelines/bad/" in error.where
    assert "featurestore apply -f" in error.hint
    status = read_status(place.project.storage, "pipelines", "bad")
    assert status.condition("Degraded").status == "True"
    assert status.condition("Ready").status == "Unknown"


@pytest.mark.parametrize("data", sample(GARBAGE, 2))
def test_a_resource_that_is_damaged_is_healed_by_applying_it_again(place: Any, data: bytes) -> None:
    beside_a_good_one(place)
    registry = place.project.registry
    accepted = registry.current(DataPipeline, "bad")
    damage(place, paths.accepted("pipelines", "bad", accepted.digest), data)
    assert isinstance(drained(place), SpecError)
    assert place.ledger("good").committed_batch() == 1
    registry.accept(accepted.resource)
    place.runner().run(draining=True)
    assert place.ledger("bad").committed_batch() == 1


def test_a_pointer_that_is_damaged_is_healed_by_applying_it_again(place: Any) -> None:
    beside_a_good_one(place)
    registry = place.project.registry
    resource = registry.current(DataPipeline, "bad").resource
    damage(place, paths.pointer("pipelines", "bad"), b"{")
    registry.accept(resource)
    place.runner().run(draining=True)
    assert place.ledger("bad").committed_batch() == 1


@pytest.mark.parametrize(("which", "data"), sample(DAMAGE, 5))
def test_a_ledger_that_is_damaged_stops_its_pipeline_alone(place: Any, which: str, data: bytes) -> None:
    beside_a_good_one(place)
    place.runner().run(draining=True)
    path = {
        "manifest": paths.manifest("bad", 1),
        "result": paths.result("bad", 1),
        "ledger": f"{paths.ledger('bad')}/ledger.json",
    }[which]
    damage(place, path, data)
    place.drop("2.csv", pipeline="bad")
    place.drop("2.csv", pipeline="good")
    error = drained(place)
    assert isinstance(error, Damaged)
    assert place.ledger("good").committed_batch() == 2
    assert error.where.endswith(path)
    assert "Delete" in error.hint or "Restore" in error.hint


def test_a_manifest_of_another_batch_is_not_taken_for_this_one(place: Any) -> None:
    place.pipeline()
    place.drop("1.csv")
    place.runner().run(draining=True)
    place.drop("2.csv")
    place.runner().run(draining=True)
    damage(place, paths.manifest("flights", 2), place.project.storage.read(paths.manifest("flights", 1)))
    with pytest.raises(Damaged, match="it is of batch 1"):
        place.ledger().manifest(2)


def test_a_status_that_is_damaged_is_written_again(place: Any) -> None:
    place.pipeline()
    damage(place, paths.status("pipelines", "flights"), b"{")
    place.drop("1.csv")
    place.runner().run(draining=True)
    assert read_status(place.project.storage, "pipelines", "flights").condition("Ready").status == "True"


@pytest.mark.parametrize("which", ["serving", "build"])
@pytest.mark.parametrize("data", sample(GARBAGE, 2))
def test_a_view_whose_records_are_damaged_stops_no_other_view(place: Any, data: bytes, which: str) -> None:
    place.pipeline()
    place.view("bad")
    place.view("good")
    place.drop("1.csv")
    place.runner().run(draining=True)
    builds = place.project.storage.names(paths.builds("bad"))
    path = paths.serving("bad") if which == "serving" else f"{paths.builds('bad')}/{builds[0]}"
    damage(place, path, data)
    place.drop("2.csv")
    error = drained(place)
    assert error.where.endswith(path)
    assert read_status(place.project.storage, "views", "good").condition("Ready").status == "True"
    assert place.ledger().committed_batch() == 2


@pytest.mark.parametrize(
    "uri",
    [
        "ftp://127.0.0.1:1/a/*.csv",
        "reference://a/b.csv",
        "gs://bucket/*.csv",
        "nonsense://a/b.csv",
        "github://a/*.csv",
    ],
)
def test_a_source_that_cannot_be_opened_stops_its_pipeline_alone(place: Any, uri: str) -> None:
    beside_a_good_one(place)
    # As an older version, or another program, may have left it.
    found = document(place.project.registry.current(DataPipeline, "bad").resource)
    found["spec"]["source"]["uri"] = uri
    damage(place, paths.accepted("pipelines", "bad", "0f"), json.dumps(found).encode())
    damage(place, paths.pointer("pipelines", "bad"), b'{"digest": "0f"}')
    drained(place)
    assert place.ledger("good").committed_batch() == 1
    status = read_status(place.project.storage, "pipelines", "bad")
    assert status.condition("Degraded").status == "True"
    assert status.failure is not None


def test_a_look_that_hangs_keeps_no_other_from_being_taken() -> None:
    patience, answers, done = Patience(patience_s=0.1), socket.socketpair(), []
    hanging, release = answers

    def hang() -> None:
        done.append(hanging.recv(1))

    for _ in range(2):
        with pytest.raises(FeatureStoreError, match="the source does not answer yet"):
            patience.wait("slow", hang, "the source")
    patience.wait("quick", lambda: done.append(b"quick"), "the source")
    assert done == [b"quick"]
    release.send(b"x")
    while b"x" not in done:
        pass
    patience.wait("slow", hang, "the source")
    release.close()
    hanging.close()


def test_what_a_look_raises_is_raised_where_it_is_waited_for() -> None:
    def fail() -> None:
        raise KeyError("a")

    with pytest.raises(KeyError):
        Patience().wait("x", fail, "the source")
    Patience().wait("x", lambda: None, "the source")


def test_an_error_that_nobody_foresaw_is_the_condition_of_the_resource_that_met_it(
    place: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside_a_good_one(place)
    (place.folder / "raw" / "bad").rename(place.folder / "odd")
    listed = FileSource.arrivals

    def odd(source: FileSource) -> Any:
        found = list(listed(source))
        if not found:
            raise ZeroDivisionError("odd")
        return iter(found)

    monkeypatch.setattr(FileSource, "arrivals", odd)
    error = drained(place)
    assert "ZeroDivisionError: odd" in error.got
    assert place.ledger("good").committed_batch() == 1
