"""Random specs, files, orders of arrival, batch cuts and kills, for the property that matters most."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, get_args

from hypothesis import strategies as st
from oracle import Row, Step

from featurestore import failpoint

START = datetime(2024, 3, 30, 22, tzinfo=UTC)
KILLS = get_args(failpoint.Step)


@dataclass(frozen=True)
class Drop:
    """A file appears, or is overwritten if it was there."""

    file: int
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Remove:
    """A file is deleted, if it was there."""

    file: int


@dataclass(frozen=True)
class Redefine:
    """From now on the view has another filter, and so another definition."""

    filtered: bool


@dataclass(frozen=True)
class Run:
    """Work until all is done, or until killed at the k-th time that a step is reached."""

    kill_at: str | None = None
    times: int = 1


@dataclass(frozen=True)
class Scenario:
    format: Literal["Parquet", "CSV", "JSON", "Arrow"]
    on_overwrite: Literal["Reject", "Append", "Replace"]
    max_files: int
    steps: tuple[Step, ...]
    expectation: tuple[int, Literal["Quarantine", "Drop"]] | None
    deduplicate: Literal["ts", "arrival"] | None
    view_filter: bool
    ttl: timedelta | None
    events: tuple[Drop | Remove | Redefine | Run, ...]

    @property
    def filtered(self) -> bool:
        """Whether the view has a filter in the end."""
        changes = [event.filtered for event in self.events if isinstance(event, Redefine)]
        return (self.view_filter, *changes)[-1]

    def pipeline(self) -> dict[str, Any]:
        spec: dict[str, Any] = {
            "source": {
                "uri": f"raw/*.{self.format.lower()}",
                "format": self.format,
                "onOverwrite": self.on_overwrite,
            },
            "trigger": {"arrivals": {"maxFiles": self.max_files}},
            "columns": [
                {"name": "k", "type": "string"},
                {"name": "ts", "type": "timestamp"},
                {"name": "v", "type": "int64"},
                {"name": "w", "type": "float64"},
            ],
            "transforms": [step.spec for step in self.steps],
        }
        if self.expectation:
            limit, otherwise = self.expectation
            rule = {"name": "small", "that": f"v IS NULL OR v < {limit}", "otherwise": otherwise}
            spec["expectations"] = [rule]
        if self.deduplicate:
            spec["deduplicate"] = {"keys": ["k"]}
            if self.deduplicate == "ts":
                spec["deduplicate"]["orderBy"] = {"column": "ts"}
        return {"kind": "DataPipeline", "metadata": {"name": "events"}, "spec": spec}

    def view(self, filtered: bool) -> dict[str, Any]:
        spec: dict[str, Any] = {
            "entity": {"name": "thing", "joinKeys": [{"name": "k", "type": "string"}]},
            "source": {"pipeline": "events"},
            "timestampField": "ts",
            # Each story compares all that is read by itself.
            "online": {"sampleEntities": 0},
            "features": [
                {"name": "v", "type": "int64", "column": "v"},
                {"name": "twice", "type": "int64", "expression": "v * 2"},
                _aggregate("total", "int64", "Sum", "v"),
                _aggregate("n", "int64", "Count", "v"),
                _aggregate("mean", "float64", "Mean", "w"),
                _aggregate("newest", "int64", "Last", "v"),
            ],
        }
        if filtered:
            spec["filter"] = "v IS NOT NULL"
        if self.ttl is not None:
            spec["ttl"] = f"{int(self.ttl.total_seconds())}s"
        return {"kind": "FeatureView", "metadata": {"name": "things"}, "spec": spec}


def _aggregate(name: str, kind: str, function: str, column: str) -> dict[str, Any]:
    aggregate = {"function": function, "column": column, "windows": ["1h", "1d"]}
    return {"name": name, "type": kind, "aggregate": aggregate}


def filter_above(limit: int) -> Step:
    def apply(rows: list[tuple[int, Row]]) -> Any:
        return [(i, row) for i, row in rows if row["v"] is not None and row["v"] > limit], []

    return Step({"filter": {"where": f"v > {limit}"}}, apply)


def fill_null(value: int) -> Step:
    def apply(rows: list[tuple[int, Row]]) -> Any:
        return [(i, row | {"v": value if row["v"] is None else row["v"]}) for i, row in rows], []

    return Step({"fillNull": {"columns": {"v": value}}}, apply)


def derive(offset: int) -> Step:
    def apply(rows: list[tuple[int, Row]]) -> Any:
        return [(i, row | {"d": None if row["v"] is None else row["v"] * 3 + offset}) for i, row in rows], []

    return Step({"derive": {"columns": {"d": f"v * 3 + {offset}"}}}, apply)


def cast_to_whole() -> Step:
    def apply(rows: list[tuple[int, Row]]) -> Any:
        good, broken = [], []
        for i, row in rows:
            w = row["w"]
            if w is None or w == int(w):
                good.append((i, row | {"w": None if w is None else int(w)}))
            else:
                broken.append((i, "cast:w"))
        return good, broken

    return Step({"cast": {"columns": {"w": "int64"}}}, apply)


def deduplicate_in_file() -> Step:
    def apply(rows: list[tuple[int, Row]]) -> Any:
        best: dict[str, tuple[tuple[bool, datetime, int], int]] = {}
        for place, (_, row) in enumerate(rows):
            if row["k"] is None:
                continue
            rank = (row["ts"] is not None, row["ts"] or START, place)
            if row["k"] not in best or rank > best[row["k"]][0]:
                best[row["k"]] = (rank, place)
        kept = {place for _, place in best.values()}
        return [r for place, r in enumerate(rows) if r[1]["k"] is None or place in kept], []

    return Step({"deduplicate": {"keys": ["k"], "orderBy": {"column": "ts"}}}, apply)


def sort_by_time() -> Step:
    def apply(rows: list[tuple[int, Row]]) -> Any:
        return rows, []  # rows keep their numbers, and the dataset's order is not promised

    return Step({"sort": {"by": [{"column": "ts"}]}}, apply)


def query() -> Step:
    def apply(rows: list[tuple[int, Row]]) -> Any:
        return [(i, row) for i, row in rows if row["k"] is None or row["k"] != "c"], []

    return Step({"sql": {"query": "SELECT * FROM self WHERE k IS NULL OR k <> 'c'"}}, apply)


moments = st.integers(0, 40).map(lambda n: START + timedelta(minutes=25 * n, microseconds=n % 3))
rows = st.fixed_dictionaries(
    {
        "k": st.sampled_from(["a", "b", "c", "d é", None]),
        "ts": st.one_of(moments, moments, moments, st.none()),
        "v": st.one_of(st.none(), st.integers(-5, 12), st.just(2**53 + 1)),
        "w": st.one_of(st.none(), st.integers(-8, 8).map(lambda n: n / 4)),
    }
)
files = st.lists(rows, min_size=1, max_size=6).map(tuple)
steps = st.lists(
    st.one_of(
        st.integers(-4, 2).map(filter_above),
        st.integers(0, 3).map(fill_null),
        st.integers(-1, 1).map(derive),
        st.just(cast_to_whole()),
        st.just(deduplicate_in_file()),
        st.just(sort_by_time()),
        st.just(query()),
    ),
    max_size=4,
    unique_by=lambda step: next(iter(step.spec)),
).map(tuple)
drops = st.builds(Drop, file=st.integers(0, 4), rows=files)
runs = st.one_of(st.builds(Run), st.builds(Run, kill_at=st.sampled_from(KILLS), times=st.integers(1, 2)))
changes = st.one_of(
    st.builds(Remove, file=st.integers(0, 4)), st.builds(Redefine, filtered=st.booleans()), runs
)


def scenarios(form: Literal["Parquet", "CSV", "JSON", "Arrow"]) -> st.SearchStrategy[Scenario]:
    """Stories in which all files are of this format."""
    return st.builds(
        Scenario,
        format=st.just(form),
        on_overwrite=st.sampled_from(["Reject", "Append", "Replace"]),
        max_files=st.integers(1, 3),
        steps=steps,
        expectation=st.one_of(
            st.none(), st.tuples(st.integers(3, 13), st.sampled_from(["Quarantine", "Drop"]))
        ),
        deduplicate=st.sampled_from([None, None, "ts", "arrival"]),
        view_filter=st.booleans(),
        ttl=st.sampled_from([None, timedelta(hours=2), timedelta(minutes=25)]),
        events=st.lists(st.one_of(drops, drops, runs, changes), min_size=2, max_size=10).map(tuple),
    ).filter(lambda one: not (one.on_overwrite == "Replace" and one.deduplicate))
