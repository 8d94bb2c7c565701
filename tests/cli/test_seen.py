"""What was refused is visible where people look, until it is run again or dismissed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from examples import sample

from featurestore.reconcile.conditions import read_status
from featurestore.registry.project import open_project

STORE = "kind: FeatureStore\nmetadata: {name: default}\nspec: {offline: {uri: store}, online: {duckdb: {}}}\n"
GOOD = "id,at,v\n1,2024-01-01T00:00:00Z,10\n2,2024-01-01T00:00:00Z,20\n"
REFUSE_ALL = [
    pytest.param("  columns: [{name: idd, type: int64}]\n", "format: CSV", GOOD, id="a typo in a column"),
    pytest.param("", "format: CSV, csv: {delimiter: ';'}", GOOD, id="a wrong delimiter"),
    pytest.param("", "format: Parquet", GOOD, id="a wrong format"),
    pytest.param(
        "  expectations: [{name: r, that: 'v > 1000'}]\n",
        "format: CSV",
        GOOD,
        id="a rule that all rows break",
    ),
]


class Place:
    """A project, its command line, and a runner in a worker process of its own."""

    def __init__(self, folder: Path, call: Any) -> None:
        self.folder, self.call = folder, call
        (folder / "raw").mkdir()
        (folder / "store.yaml").write_text(STORE)

    def apply(self, more: str = "", source: str = "format: CSV") -> None:
        text = (
            "kind: DataPipeline\nmetadata: {name: p}\nspec:\n"
            f"  source: {{uri: 'raw/*', {source}}}\n  trigger: {{arrivals: {{maxWait: 0s}}}}\n{more}"
        )
        (self.folder / "p.yaml").write_text(text)
        said = self.call("apply", "-f", ".")
        assert said.code == 0, said.err

    def drop(self, name: str, text: str) -> None:
        (self.folder / "raw" / name).write_text(text)

    def condition(self, kind: str) -> Any:
        status = read_status(open_project(self.folder, {}, self.folder).storage, "pipelines", "p")
        assert status is not None
        return status.condition(kind)

    def row(self) -> dict[str, str]:
        header, row = self.call("get", "pipelines").out.splitlines()
        starts = [header.index(word) for word in ("NAME", "READY", "FILES REFUSED", "ROWS REFUSED", "ERRORS")]
        ready, files, rows, errors = (row[at:].split("   ")[0].strip() for at in starts[1:])
        return {"READY": ready, "FILES": files, "ROWS": rows, "ERRORS": errors}


@pytest.fixture
def place(tmp_path: Path, featurestore: Any) -> Place:
    return Place(tmp_path, featurestore)


@pytest.mark.parametrize(("more", "source", "text"), sample(REFUSE_ALL, 2))
def test_a_spec_that_refuses_all_is_not_ready_says_so_and_ends_with_its_own_code(
    place: Place, more: str, source: str, text: str
) -> None:
    place.apply(more, source)
    place.drop("a.csv", text)
    said = place.call("run", "--once")
    assert said.code == 4
    assert "✗ pipeline/p: batch 1" in said.out
    assert "featurestore quarantine ls p" in said.out
    assert "some input was refused" in said.err
    ready, degraded = place.condition("Ready"), place.condition("Degraded")
    assert (ready.status, ready.reason) == ("False", "NothingTaken")
    assert (degraded.status, degraded.reason) == ("True", "NothingTaken")
    assert place.condition("QuarantineEmpty").reason == "InQuarantine"
    row = place.row()
    assert row["READY"] == "False"
    assert "NothingTaken" in row["ERRORS"]
    assert (row["FILES"], row["ROWS"]) in {("1", "0"), ("0", "2")}
    assert place.call("doctor").code == 1
    assert place.call("run", "--once").code == 4


def test_an_overwritten_file_under_reject_is_seen(place: Place) -> None:
    place.apply()
    place.drop("a.csv", GOOD)
    assert place.call("run", "--once").code == 0
    assert place.row() == {"READY": "True", "FILES": "0", "ROWS": "0", "ERRORS": "none"}
    place.drop("a.csv", GOOD + "3,2024-01-01T00:00:00Z,30\n")
    assert place.call("run", "--once").code == 4
    assert place.condition("Ready").reason == "NothingTaken"
    assert place.row()["FILES"] == "1"


def test_rows_refused_beside_good_ones_are_counted_and_leave_the_pipeline_ready(place: Place) -> None:
    place.apply("  expectations: [{name: r, that: 'v > 15'}]\n")
    place.drop("a.csv", GOOD)
    said = place.call("run", "--once")
    assert said.code == 0
    assert "! pipeline/p: batch 1" in said.out
    assert place.condition("Ready").status == "True"
    assert place.row() == {"READY": "True", "FILES": "0", "ROWS": "1", "ERRORS": "InQuarantine"}


def test_what_is_dismissed_is_recorded_and_not_open_any_more(place: Place) -> None:
    place.apply("  columns: [{name: idd, type: int64}]\n")
    place.drop("a.csv", GOOD)
    assert place.call("run", "--once").code == 4
    assert place.call("quarantine", "dismiss", "p").code == 2
    assert place.call("quarantine", "dismiss", "p", "--because", " ").code == 2
    said = place.call("quarantine", "dismiss", "p", "--because", "sent by mistake")
    assert said.code == 0
    assert "Dismissed 1 file and 0 rows" in said.out
    assert place.call("quarantine", "dismiss", "p", "--because", "again").out == "Nothing is open.\n"
    assert place.row()["FILES"] == "0"
    assert "sent by mistake" in place.call("quarantine", "ls", "--all").out
    assert "Nothing is in quarantine" in place.call("quarantine", "ls").out
    assert "Nothing to run again" in place.call("quarantine", "replay", "p").out
    assert place.call("run", "--once").code == 0
    assert place.condition("QuarantineEmpty").reason == "Empty"
    assert place.condition("Ready").reason == "UpToDate"
    assert place.call("doctor").code == 0


def test_a_replay_closes_what_it_takes_and_counts_what_is_still_broken_once(place: Place) -> None:
    place.apply("  expectations: [{name: r, that: 'v > 15'}]\n")
    place.drop("a.csv", GOOD)
    place.drop("b.csv", "id,at\n1,2024-01-01T00:00:00Z\n")
    assert place.call("run", "--once").code == 4
    assert (place.row()["FILES"], place.row()["ROWS"]) == ("1", "1")
    place.apply("  expectations: [{name: r, that: 'v > 5'}]\n")
    assert place.call("quarantine", "replay", "p").code == 0
    assert place.call("run", "--once").code == 4
    assert (place.row()["FILES"], place.row()["ROWS"]) == ("1", "0")
    place.apply("  schemaPolicy: {missingColumn: Ignore}\n")
    assert place.call("quarantine", "replay", "p").code == 0
    assert place.call("run", "--once").code == 0
    assert place.row() == {"READY": "True", "FILES": "0", "ROWS": "0", "ERRORS": "none"}


def test_what_is_dismissed_while_its_replay_waits_is_closed_once(place: Place) -> None:
    place.apply("  expectations: [{name: r, that: 'v > 15'}]\n")
    place.drop("a.csv", GOOD)
    place.drop("b.csv", GOOD)
    place.call("run", "--once")
    assert place.row()["ROWS"] == "2"
    assert place.call("quarantine", "dismiss", "p", "--batch", "1", "--file", "0", "--because", "x").code == 0
    place.apply()
    assert place.call("quarantine", "replay", "p").code == 0
    assert place.call("quarantine", "dismiss", "p", "--because", "y").out == "Nothing is open.\n"
    place.call("run", "--once")
    assert place.row()["ROWS"] == "0"


def test_run_once_with_nothing_applied_does_not_look_like_success(place: Place) -> None:
    said = place.call("run", "--once")
    assert said.code == 3
    assert "featurestore apply -f ." in said.err
