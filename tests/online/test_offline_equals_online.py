"""The property that matters most: at every time from publish time on, online answers what the join answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from examples import examples, exhaustive
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

MINUTE = 60_000_000
HOUR, DAY = 60 * MINUTE, 1440 * MINUTE
START = 1_711_836_000_000_000  # 2024-03-30 22:00, in the night before the clocks of Europe change
WINDOWS = ["1h", "1d", "30d"]  # their hops: 5 minutes, 1 hour, 1 day
KEYS = [("a",), ("b",), ("c",), ("never",), (None,)]


def aggregate(name: str, kind: str, function: str, **more: Any) -> dict[str, Any]:
    windows = {"function": function, "column": "v", "windows": WINDOWS, **more}
    return {"name": name, "type": kind, "aggregate": windows}


FEATURES = [
    {"name": "x", "type": "int64", "column": "x"},
    {"name": "words", "type": "list<string>", "column": "words"},
    aggregate("n", "int64", "Count"),
    aggregate("total", "int64", "Sum"),
    aggregate("fsum", "float64", "Sum"),
    aggregate("mean", "float64", "Mean"),
    aggregate("spread", "float64", "StdDev"),
    aggregate("least", "string", "Min"),
    aggregate("most", "float64", "Max"),
    aggregate("first", "timestamp", "First"),
    aggregate("last", "bool", "Last"),
    aggregate("kinds", "int64", "ApproxDistinct"),
    aggregate("median", "float64", "ApproxQuantile", quantile=0.5, windows=["1d"], hop="7h"),
]


@dataclass(frozen=True)
class Add:
    events: tuple[Any, ...]


@dataclass(frozen=True)
class Remove:
    """Every ``step``-th event from ``first`` on."""

    first: int
    step: int


@dataclass(frozen=True)
class Compact:
    pass


@dataclass(frozen=True)
class Publish:
    now: int
    later: tuple[int, ...]


times = st.one_of(
    st.integers(-35 * DAY, 5 * DAY),
    st.integers(-30, 30).map(lambda n: n * HOUR),
    st.integers(-30, 30).map(lambda n: n * 5 * MINUTE - 1),
    st.integers(-30, 30).map(lambda n: n * 5 * MINUTE),
)
events = st.fixed_dictionaries(
    {
        "key": st.sampled_from("abc"),
        "time": times,
        "created": st.integers(0, 1),
        "number": st.one_of(st.none(), st.integers(-9, 9)),
        "float": st.one_of(st.none(), st.floats(-1e9, 1e9), st.sampled_from([float("nan"), -0.0, 1e300])),
        "text": st.one_of(st.none(), st.sampled_from(["", "é", "z", "zz"])),
    }
)
steps = st.one_of(
    st.builds(Add, st.lists(events, min_size=1, max_size=8).map(tuple)),
    st.builds(Add, st.lists(events, min_size=1, max_size=8).map(tuple)),
    st.builds(Remove, first=st.integers(0, 9), step=st.integers(1, 9)),
    st.just(Compact()),
    st.builds(
        Publish,
        now=st.one_of(st.integers(-5 * DAY, 5 * DAY), st.integers(-9, 9).map(lambda n: n * HOUR)),
        later=st.lists(times.map(abs), max_size=4).map(tuple),
    ),
)
histories = st.tuples(
    st.lists(steps, min_size=1, max_size=8).map(tuple),
    st.builds(Publish, now=st.integers(0, 5 * DAY), later=st.just((0, 1, 6 * MINUTE, 2 * HOUR, 31 * DAY))),
    st.sampled_from([None, "1h", "3d"]),
)


class Run:
    """Does the steps, and compares after each publication."""

    def __init__(self, things: Any, make_row: Callable[..., Any]) -> None:
        self.things, self.make_row = things, make_row
        self.batch = 0
        self.published = -(10**18)

    def do(self, step: Add | Remove | Compact | Publish) -> None:
        if isinstance(step, Add):
            self.batch += 1
            self.things.add(*(self.row(event, place) for place, event in enumerate(step.events)))
        elif isinstance(step, Remove):
            gone = self.things.rows[step.first :: step.step]
            self.things.remove(lambda row: row in gone)
        elif isinstance(step, Compact):
            self.things.compact()
        else:
            self.things.publish(START + step.now)
            # A clock may go back between publications; what was published stays so.
            self.published = max(self.published, START + step.now)
            self.compare([self.published + later for later in (0, *step.later)])

    def compare(self, times: list[int]) -> None:
        for at, wanted in zip(times, self.things.join(KEYS, times), strict=True):
            got = self.things.read(KEYS, at)
            assert got.keys() == wanted.keys()
            for name, answers in wanted.items():
                # As text: not a number equals itself, and minus zero is not zero.
                assert repr(got[name]) == repr(answers), (name, at)

    def row(self, event: dict[str, Any], place: int) -> Any:
        number, text = event["number"], event["text"]
        inputs = {
            "n": None if number is None else True,
            "total": number,
            "fsum": event["float"],
            "mean": event["float"],
            "spread": event["float"],
            "least": text,
            "most": event["float"],
            "first": None if number is None else number,
            "last": None if number is None else number > 0,
            "kinds": text,
            "median": event["float"],
        }
        values = {"x": number, "words": None if text is None else [text, None]}
        values |= {f"__in_{name}": value for name, value in inputs.items()}
        at = (self.batch, place % 2, place)
        return self.make_row((event["key"],), START + event["time"], values, event["created"], at)


def prove(history: Any, url: str | None, view_in: Callable[..., Any], make_row: Callable[..., Any]) -> None:
    path, end, ttl = history
    run = Run(view_in(url, FEATURES, ttl=ttl), make_row)
    for step in (*path, end):
        run.do(step)


@settings(max_examples=examples(25), deadline=None, suppress_health_check=list(HealthCheck))
@given(history=histories)
def test_duckdb_answers_what_the_join_answers(
    history: Any, view_in: Callable[..., Any], row: Callable[..., Any]
) -> None:
    prove(history, None, view_in, row)


@settings(max_examples=examples(25), deadline=None, suppress_health_check=list(HealthCheck))
@given(history=histories)
def test_redis_answers_what_the_join_answers(
    history: Any, redis_server: str, view_in: Callable[..., Any], row: Callable[..., Any]
) -> None:
    prove(history, redis_server, view_in, row)


SLIDES = [(store, gap) for gap in (0, 4 * MINUTE, 3 * HOUR, 2 * DAY) for store in ("duckdb", "redis")]


# Each store with a gap of its own, and the longest.
@pytest.mark.parametrize(
    ("online_url", "gap"), SLIDES if exhaustive() else SLIDES[::3], indirect=["online_url"]
)
def test_windows_slide_when_nothing_new_arrives(
    online_url: str | None, view_in: Callable[..., Any], row: Callable[..., Any], gap: int
) -> None:
    run = Run(view_in(online_url, FEATURES), row)
    event = {"key": "a", "created": 0, "number": 1, "float": 0.1, "text": "z"}
    run.do(Add(tuple({**event, "time": -n * 7 * MINUTE} for n in range(200))))
    run.do(Publish(now=gap, later=tuple(n * 11 * MINUTE for n in range(0, 400, 7 if exhaustive() else 37))))


@pytest.mark.parametrize("online_url", ["duckdb", "redis"], indirect=True)
def test_late_events_change_tiles_that_were_made_already(
    online_url: str | None, view_in: Callable[..., Any], row: Callable[..., Any]
) -> None:
    run = Run(view_in(online_url, FEATURES), row)
    event = {"key": "a", "created": 0, "number": 1, "float": 0.1, "text": "z"}
    more = (20 * MINUTE, 3 * HOUR) if exhaustive() else ()
    for late in sorted((0, 21 * MINUTE, *more, 26 * HOUR, 26 * HOUR, 40 * DAY)):
        run.do(Add(({**event, "time": -late}, {**event, "key": "b", "time": -late - 1})))
        run.do(Publish(now=late // 100, later=(0, MINUTE, HOUR, DAY) if exhaustive() else (HOUR, DAY)))


@pytest.mark.parametrize("online_url", ["duckdb", "redis"], indirect=True)
def test_an_output_that_is_asked_for_alone_is_the_one_among_all(
    online_url: str | None, view_in: Callable[..., Any], row: Callable[..., Any]
) -> None:
    run = Run(view_in(online_url, FEATURES), row)
    event = {"key": "a", "created": 0, "number": 1, "float": 0.1, "text": "z"}
    run.do(Add(tuple({**event, "time": -n * 17 * MINUTE} for n in range(40))))
    run.do(Publish(now=0, later=()))
    at = START + 6 * MINUTE
    every = run.things.read(KEYS, at)
    for name in every.keys() - {"event time"}:
        assert run.things.read(KEYS, at, [name]) == {"event time": every["event time"], name: every[name]}
