"""Whatever happens to a dataset, and whenever a build looks: it holds what plain Python makes of the live rows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
from examples import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from featurestore.resources import FeatureView

START = datetime(2013, 1, 1, tzinfo=UTC)
SCHEMA = {"tailnum": pl.String, "at": pl.String, "delay": pl.Int64}

Row = tuple[str | None, str | None, int | None]
ROWS = st.lists(
    st.tuples(
        st.sampled_from(["N1", "N2", None]),
        st.sampled_from(["2013-01-01", "2013-01-02T05:00:00Z", "2013-01-01T23:59:59.5-01:00", "soon", None]),
        st.sampled_from([0, 1, 2, 3, 13, 127, 128, -129, None]),
    ),
    max_size=5,
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.lists(ROWS, min_size=1, max_size=2)),
        st.tuples(st.just("replace"), st.integers(0, 3)),
        st.tuples(st.just("compact"), st.none()),
        st.tuples(st.just("build"), st.none()),
    ),
    min_size=1,
    max_size=8,
)
TIMES = {
    "2013-01-01": START,
    "2013-01-02T05:00:00Z": START + timedelta(days=1, hours=5),
    "2013-01-01T23:59:59.5-01:00": START + timedelta(days=1, minutes=59, seconds=59, microseconds=500_000),
}


def frame(rows: list[Row]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def expected(live: pl.DataFrame) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    """Feature rows and rejected rows of a view with ``filter: delay <> 13``, in the order of arrival."""
    good: list[tuple[Any, ...]] = []
    bad: list[tuple[Any, ...]] = []
    for tailnum, at, delay, *identity in live.iter_rows():
        if delay is None or delay == 13:
            continue
        if tailnum is None:
            bad.append((*identity, "key:tailnum"))
        elif at not in TIMES:
            bad.append((*identity, "timestampField"))
        elif not -128 <= delay <= 127:
            bad.append((*identity, "feature:delay"))
        else:
            created = datetime.fromtimestamp(1_600_000_000 + identity[0], UTC)
            good.append((tailnum, TIMES[at], created, delay, delay + 1, *identity))
    return good, bad


@settings(
    max_examples=examples(30),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=STEPS)
def test_a_build_holds_what_its_definition_makes_of_the_live_rows(
    new_lake: Callable[[], Any], view: Callable[..., FeatureView], steps: list[tuple[str, Any]]
) -> None:
    lake = new_lake()
    features = (
        {"name": "delay", "type": "int8", "column": "delay"},
        {"name": "later", "type": "int64", "expression": "delay + 1"},
    )
    followed = view(*features, name="followed", filter="delay <> 13")
    fresh = view(*features, name="fresh", filter="delay <> 13")
    for each in (followed, fresh):
        lake.accept(each)
    lake.append(frame([]))
    for step, what in steps:
        match step:
            case "append":
                lake.append(*map(frame, what))
            case "replace":
                lake.replace(lambda rows, n=what: rows["__row"] % 3 == n, frame([("N2", "2013-01-01", what)]))
            case "compact":
                lake.compact()
            case "build":
                lake.build(followed)
    good, bad = expected(lake.live())
    for each in (followed, fresh):
        result = lake.build(each)
        assert lake.features(each).rows() == good
        assert lake.rejected_rows(each).select("__batch", "__file", "__row", "rule").rows() == bad
        assert (result.rows, result.rows_quarantined) == (len(good), len(bad))
        newest = max((row[1] for row in good), default=None)
        assert result.watermark_us == (
            newest and (newest - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1)
        )
