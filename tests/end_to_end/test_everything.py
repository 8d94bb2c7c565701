"""The property that matters: whatever arrives, in whatever order, cut and killed however, the result is that of
plain Python over all files at once.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from examples import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from laptop import Laptop
from oracle import (
    EPOCH,
    FeatureRow,
    Row,
    Traced,
    latest_value,
    one_per_key,
    transformed,
    window_value,
)
from scenario import START, Drop, Redefine, Remove, Run, Scenario, scenarios

from featurestore.arrivals.manifest import Action

WINDOWS = {"1h": (timedelta(hours=1), timedelta(minutes=5)), "1d": (timedelta(days=1), timedelta(hours=1))}
AGGREGATES = {"total": ("Sum", "v"), "n": ("Count", "v"), "mean": ("Mean", "w"), "newest": ("Last", "v")}
COLUMNS = ["v", "twice"] + [f"{name}_{window}" for name in AGGREGATES for window in WINDOWS]


@dataclass(frozen=True)
class Expected:
    """Rows of the dataset, and ``(batch, file, row or None, rule)`` of the quarantine.

    ``perhaps``: broken rows of a file that a killed run quarantined before the file was overwritten.
    """

    dataset: list[Traced]
    quarantine: set[tuple[int, int, int | None, str]]
    perhaps: set[tuple[int, int, int | None, str]]


@pytest.mark.slow
@pytest.mark.parametrize("form", ["Parquet", "CSV", "JSON", "Arrow"])
@settings(max_examples=examples(30), deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_the_result_is_that_of_all_files_at_once(
    monkeypatch: pytest.MonkeyPatch, form: Any, data: st.DataObject
) -> None:
    scenario = data.draw(scenarios(form))
    moments = data.draw(st.lists(st.integers(-30, 1100), min_size=3, max_size=8))
    # So that short stories come to checkpoints too.
    monkeypatch.setattr("featurestore.arrivals.ledger.CHECKPOINT_MANIFESTS", 2)
    with tempfile.TemporaryDirectory() as folder:
        laptop = Laptop(Path(folder) / "project", START + timedelta(hours=9))
        laptop.apply(scenario.pipeline(), scenario.view(scenario.view_filter))
        history = play(laptop, scenario)
        expected = work_out(laptop, scenario, history)
        assert canonical(laptop.table("datasets/events")) == canonical(
            [traced.row | identity(traced.at) for traced in expected.dataset]
        )
        assert quarantined(laptop) - expected.perhaps == expected.quarantine
        if laptop.ledger("events").last_batch():
            rows = check_features(laptop, scenario, expected)
            check_answers(laptop, scenario, rows, [START + timedelta(minutes=m) for m in moments])


@dataclass
class History:
    """The rows of every version of every file that ever was, and those versions that were deleted."""

    contents: dict[tuple[str, str], tuple[Row, ...]] = field(default_factory=dict)
    removed: set[tuple[str, str]] = field(default_factory=set)

    @property
    def newest(self) -> dict[str, str]:
        """URI to the last version that was there."""
        return dict(self.contents.keys())


def play(laptop: Laptop, scenario: Scenario) -> History:
    """All events, then a last run."""
    history = History()
    there: dict[int, tuple[str, str]] = {}
    for event in (*scenario.events, Run()):
        match event:
            case Drop(file, rows):
                there[file] = laptop.drop(f"{file}.{scenario.format.lower()}", rows)
                history.contents[there[file]] = rows
            case Remove(file):
                laptop.remove(f"{file}.{scenario.format.lower()}")
                history.removed |= {there.pop(file)} if file in there else set()
            case Redefine(filtered):
                laptop.apply(scenario.view(filtered))
            case Run(None):
                laptop.run()
            case Run(step, times):
                assert step is not None
                with laptop.killed_at(step, times):
                    laptop.run()
    return history


def work_out(laptop: Laptop, scenario: Scenario, history: History) -> Expected:
    """What must be there, given which versions were taken when, which is all that the ledger is asked."""
    ledger = laptop.ledger("events")
    contents, newest = history.contents, history.newest
    taken: dict[tuple[str, str], tuple[int, int]] = {}
    newest_taken: dict[str, str] = {}
    newest_known: dict[str, str] = {}
    standing: dict[tuple[int, int], list[Traced]] = {}
    bad: set[tuple[int, int, int | None, str]] = set()
    perhaps: set[tuple[int, int, int | None, str]] = set()
    gone = {(b, f): rule for b, f, _, rule in quarantined(laptop) if rule in ("file:changed", "file:gone")}
    for number in range(1, ledger.last_batch() + 1):
        manifest = ledger.manifest(number)
        known = EPOCH + timedelta(microseconds=manifest.created_us)
        for file, entry in enumerate(manifest.entries):
            version = (entry.arrival.uri, entry.arrival.version)
            assert version not in taken, "an arrival was taken twice"
            before = [at for (uri, _), at in taken.items() if uri == version[0]]
            taken[version] = (number, file)
            newest_known[version[0]] = repr(contents[version])
            if entry.action is not Action.REJECT:
                newest_taken[version[0]] = repr(contents[version])
            if scenario.on_overwrite == "Replace":
                for at in before:
                    standing.pop(at, None)
            if (number, file) in gone:
                is_there = newest[version[0]] == version[1] and version not in history.removed
                assert not is_there, "a file that did not change was refused"
                bad.add((number, file, None, gone[number, file]))
                perhaps |= broken_rows(scenario, contents[version], number, file)
                continue
            if entry.action is Action.REJECT:
                assert scenario.on_overwrite == "Reject"
                bad.add((number, file, None, "file:overwritten"))
                continue
            assert not (before and scenario.on_overwrite == "Reject"), "an overwritten file was taken"
            good, _ = transformed(contents[version], scenario.steps)
            if scenario.expectation:
                good = [(i, row) for i, row in good if row["v"] is None or row["v"] < scenario.expectation[0]]
            bad |= broken_rows(scenario, contents[version], number, file)
            standing[number, file] = [Traced(row, (number, file, i), known) for i, row in good]
    for uri, version in newest.items():
        # A file of which only the time was changed is no arrival.
        is_same = repr(contents[uri, version]) in (newest_taken.get(uri), newest_known.get(uri))
        assert is_same or (uri, version) in taken or (uri, version) in history.removed, "a file was lost"
    rows = [traced for traceds in standing.values() for traced in traceds]
    if scenario.deduplicate:
        rows = one_per_key(rows, ["k"], "ts" if scenario.deduplicate == "ts" else None)
    return Expected(rows, bad, perhaps)


def broken_rows(
    scenario: Scenario, rows: tuple[Row, ...], number: int, file: int
) -> set[tuple[int, int, int | None, str]]:
    """The rows of a file that are to be quarantined."""
    good, broken = transformed(rows, scenario.steps)
    if scenario.expectation and scenario.expectation[1] == "Quarantine":
        limit = scenario.expectation[0]
        broken += [(i, "small") for i, row in good if row["v"] is not None and row["v"] >= limit]
    return {(number, file, row, rule) for row, rule in broken}


def check_features(laptop: Laptop, scenario: Scenario, expected: Expected) -> list[FeatureRow]:
    """The view's rows are those of the whole dataset, and rows without key or time are in its quarantine."""
    rows, misfits = [], set()
    for traced in expected.dataset:
        value = traced.row["v"]
        if scenario.filtered and value is None:
            continue
        if traced.row["k"] is None or traced.row["ts"] is None:
            misfits.add(traced.at)
            continue
        values = {"v": value, "w": traced.row["w"], "twice": None if value is None else value * 2}
        rows.append(FeatureRow((traced.row["k"],), traced.row["ts"], traced.known, values, traced.at))
    digest = laptop.build("things")
    found = laptop.table(f"features/things/{digest}")
    inputs = {name for row in found for name in row if name.startswith("__in_")}
    assert canonical([{k: v for k, v in row.items() if k not in inputs} for row in found]) == canonical(
        [
            {
                "k": row.keys[0],
                "event_timestamp": row.event,
                "created_timestamp": row.created,
                "v": row.values["v"],
                "twice": row.values["twice"],
            }
            | identity(row.at)
            for row in rows
        ]
    )
    quarantine = laptop.table(f"quarantine/views/things/{digest}")
    assert sorted((r["__batch"], r["__file"], r["__row"]) for r in quarantine) == sorted(misfits)
    return rows


def check_answers(laptop: Laptop, scenario: Scenario, rows: list[FeatureRow], times: list[datetime]) -> None:
    """Offline at any time, and online from now on, the view answers what plain Python does."""
    features = [f"things:{name}" for name in COLUMNS]
    keys = ["a", "b", "c", "d é", "nobody", None]
    labels = [{"k": key, "t": t} for t in times for key in keys]
    store = laptop.store(laptop.now)
    offline = store.get_features(features, labels, timestamp_column="t")
    assert_same(offline, [(row["k"], row["t"]) for row in labels], rows, scenario.ttl)
    for later in (timedelta(), timedelta(minutes=70), timedelta(hours=20)):
        at = laptop.now + later
        online = laptop.store(at).get_features(features, [{"k": key} for key in keys])
        assert_same(online, [(key, at) for key in keys], rows, scenario.ttl)


def assert_same(
    result: Any, asked: list[tuple[str | None, datetime]], rows: list[FeatureRow], ttl: timedelta | None
) -> None:
    values, statuses = result.to_dict(), result.statuses()
    for index, (key, t) in enumerate(asked):
        for name in ("v", "twice"):
            wanted = latest_value(rows, (key,), t, name, ttl)
            assert (values[name][index], statuses[name][index].name) == wanted, (name, key, t)
        for name, (function, column) in AGGREGATES.items():
            for window, (length, hop) in WINDOWS.items():
                wanted = window_value(rows, (key,), t, column, function, length, hop)
                got = (values[f"{name}_{window}"][index], statuses[f"{name}_{window}"][index].name)
                assert got == wanted, (name, window, key, t)


def quarantined(laptop: Laptop) -> set[tuple[int, int, int | None, str]]:
    rows = laptop.table("quarantine/pipelines/events")
    found = [(row["__batch"], row["__file"], row["__row"], row["rule"]) for row in rows]
    assert len(found) == len(set(found)), "something was quarantined twice"
    return set(found)


def identity(at: tuple[int, int, int]) -> Row:
    return dict(zip(("__batch", "__file", "__row"), at, strict=True))


def canonical(rows: list[Row]) -> bytes:
    """All rows, sorted, as bytes: equal if and only if the rows are, whatever their order."""
    return "\n".join(
        sorted(json.dumps(row, sort_keys=True, default=datetime.isoformat) for row in rows)
    ).encode()
