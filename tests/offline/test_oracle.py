"""Random tables and labels: the join is what plain Python says, whatever the split into files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from examples import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

FEATURES: list[dict[str, Any]] = [
    {"name": "x", "type": "int64", "column": "x"},
    {"name": "text", "type": "string", "column": "text"},
    *(
        {
            "name": function.lower(),
            "type": "int64",
            "aggregate": {
                "function": function,
                "column": "x",
                "windows": ["5us", "17us"],
                "hop": "4us",
            },
        }
        for function in ("Sum", "Count", "Min", "Max", "First", "Last")
    ),
]
KEYS = st.sampled_from(["a", "b", "c", "é", ""])
VALUES = st.none() | st.integers(-9, 9) | st.sampled_from([2**53 + 1, 2**61])


@st.composite
def rows(draw: st.DrawFn, composite: bool) -> dict[str, Any]:
    x = draw(VALUES)
    return {
        "keys": (draw(KEYS), draw(st.integers(0, 1))) if composite else (draw(KEYS),),
        "event": draw(st.integers(-20, 20)),
        "created": draw(st.integers(0, 3)),
        "values": {
            "x": x,
            "text": draw(st.none() | st.text(max_size=2)),
            **{
                f"__in_{f['name']}": (True if x is not None else None) if f["name"] == "count" else x
                for f in FEATURES[2:]
            },
        },
    }


@st.composite
def tables(draw: st.DrawFn) -> dict[str, Any]:
    composite = draw(st.booleans())
    keys = st.none() | KEYS
    key = st.tuples(keys, st.none() | st.integers(0, 2)) if composite else st.tuples(keys)
    return {
        "keys": {"k": "string", "n": "int32"} if composite else {"k": "string"},
        "files": draw(st.lists(st.lists(rows(composite), min_size=1, max_size=8), max_size=4)),
        "labels": draw(st.lists(st.tuples(key, st.none() | st.integers(-30, 50)), max_size=10)),
        "ttl": draw(st.sampled_from([None, "1us", "3us", "20us"])),
        "as_of": draw(st.none() | st.integers(-1, 3)),
        "row_group_rows": draw(st.integers(1, 5)),
        "sorted": draw(st.booleans()),
    }


@settings(
    deadline=None, max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(tables())
def test_the_join_is_what_plain_python_says(
    case: Callable[..., Any], row: Callable[..., Any], table: dict[str, Any]
) -> None:
    view = case(FEATURES, table["keys"], table["ttl"], table["row_group_rows"])
    for batch, file in enumerate(table["files"]):
        found = [row(**r, at=(batch // 2, batch % 2, n)) for n, r in enumerate(file)]
        view.add(*(sorted(found, key=lambda r: (r.keys, r.event)) if table["sorted"] else found))
    labels, as_of = table["labels"], table["as_of"]
    assert view.ask(labels, as_of) == view.wanted(labels, as_of)
